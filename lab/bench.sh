#!/usr/bin/env bash
# make bench: the figures of docs/benchmarks.md. As root it measures whole hosts in namespaces and in virtual Pis; otherwise the
# packages alone.
set -euo pipefail
printf 'date: %s  commit: %s  machine: %s cores, %s, %s\n' "$(date +%F)" "$(git describe --always --dirty)" "$(nproc)" \
	"$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(uname -sr)"
go version
echo "== sizes (arm64, stripped)"
lab/cross.sh '-s -w' | grep arm64
echo "== packages"
go test -run '^$' -bench . -benchmem ./internal/... ./agents/... ./reports ./config
echo "== 13,000 simulated sweeps: how many say complete and are not"
ROLLCALL_LONG=100 go test -run TestCompleteMeansComplete -v ./internal/census | grep -E "sweeps:|^(ok|FAIL)"
echo "== simulated fleet on the loopback network"
lab/fleet/bench.sh
if [ "$(id -u)" = 0 ]; then
	echo "== hosts in namespaces and virtual Pis"
	ROLLCALL_UML=$(lab/uml/kernel.sh)
	ROLLCALL_UML=$ROLLCALL_UML ROLLCALL_LAB=1 go test -run '^$' -bench . -benchtime 1x -timeout 30m ./lab
else
	echo "== hosts in namespaces and virtual Pis: not measured, needs root (sudo make bench)"
fi
