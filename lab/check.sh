#!/usr/bin/env bash
# make check: everything that is said about the code without running it. $1 = the staticcheck command.
set -euo pipefail
step() { printf '== %s\n' "$*"; }

step gofmt
test -z "$(gofmt -l . | tee /dev/stderr)"
step vet
go vet ./...
for os in darwin windows; do # where udpsrv runs too
	GOOS=$os CGO_ENABLED=0 go vet ./internal/census ./internal/discover ./udpsrv
done
if command -v gcc >/dev/null; then
	CGO_ENABLED=1 go vet -tags godht ./agents/...
else
	step 'the go-dht driver: not built, a C compiler is missing (apt-get install gcc libc6-dev)'
fi
step staticcheck
$1 -checks=all,-ST1000 ./...
step layers
go test -count=1 ./internal/layers
step cross builds
lab/cross.sh "-s -w" >/dev/null
step go.mod is tidy
go mod tidy -diff
step shell scripts parse
for f in .ci/run lab/*.sh lab/uml/*.sh systemd/*.sh; do bash -n "$f"; done
if command -v systemd-analyze >/dev/null; then
	step systemd units
	systemd/verify.sh
else
	step 'systemd units: not checked, systemd-analyze is missing (apt-get install systemd)'
fi
