#!/usr/bin/env bash
# make fuzz: every Fuzz function for $1 each, one after the other.
set -euo pipefail
grep -rhoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' -H . | sed 's|^\(.*\)/[^/]*:func |\1 |' | sort -u |
	while read -r dir name; do
		printf '== %s %s\n' "$dir" "$name"
		go test "$dir" -run '^$' -fuzz "^$name\$" -fuzztime "$1"
	done
