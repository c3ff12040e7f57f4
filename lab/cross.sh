#!/usr/bin/env bash
# make cross: every platform we promise, without cgo. $1 = linker flags.
set -euo pipefail
build() { # GOOS GOARCH GOARM packages…
	local os=$1 arch=$2 arm=$3 out
	shift 3
	out=dist/$os-$arch${arm:+v$arm}
	mkdir -p "$out"
	CGO_ENABLED=0 GOOS=$os GOARCH=$arch GOARM=$arm go build -trimpath -ldflags "$flags" -o "$out/" "$@"
	(cd "$out" && ls -l | awk -v d="$out" 'NR>1 {printf "%-20s %-12s %.1f MB\n", d, $9, $5/1e6}')
}
flags=$1
build linux arm 6 ./udpsrv ./udpmon ./agents/agentd
build linux arm64 '' ./udpsrv ./udpmon ./agents/agentd
build linux amd64 '' ./udpsrv ./udpmon ./agents/agentd
for os in darwin windows; do
	build $os amd64 '' ./udpsrv
	build $os arm64 '' ./udpsrv
done
