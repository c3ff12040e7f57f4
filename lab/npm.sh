#!/usr/bin/env bash
# Installs the validators of lab/npm into a cache outside of the checkout, once, and prints where: ROLLCALL_NPM, or
# rollcall-npm in the user's cache folder.
set -euo pipefail
cd "$(dirname "$0")/npm"
dir=${ROLLCALL_NPM:-${XDG_CACHE_HOME:-$HOME/.cache}/rollcall-npm}
if ! cmp -s package-lock.json "$dir/installed.json"; then
	mkdir -p "$dir"
	cp package.json package-lock.json "$dir/"
	(cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund) >&2
	cp package-lock.json "$dir/installed.json"
fi
echo "$dir"
