#!/usr/bin/env bash
# make bench: the figures of docs/benchmarks.md. As root it measures whole hosts in namespaces and in virtual Pis; otherwise the
# packages alone. lab/bench.sh WORD... measures some of it: sizes packages miss fleet hosts many laptops peers others
set -euo pipefail
cd "$(dirname "$0")/.."

# in_lab EXPRESSION [FLAG...]: benchmarks of lab, as root.
in_lab() {
	if [ "$(id -u)" != 0 ]; then
		echo "not measured, needs root (sudo make bench)"
		return
	fi
	ROLLCALL_LAB=1 go test -run '^$' -bench "$1" -benchtime 1x -timeout 60m ./lab "${@:2}"
}

# need PROGRAM=PACKAGE...: installs what is missing, as root.
need() {
	local missing=()
	for p in "$@"; do command -v "${p%=*}" >/dev/null || missing+=("${p#*=}"); done
	if [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" = 0 ]; then
		apt-get update -q >/dev/null
		DEBIAN_FRONTEND=noninteractive apt-get install -yq "${missing[@]}" >/dev/null
	fi
}

measure() {
	echo "== $1"
	case $1 in
	sizes) lab/cross.sh '-s -w' | grep arm64 ;; # stripped
	packages) go test -run '^$' -bench . -benchmem ./internal/... ./agents/... ./reports ./config ;;
	miss) # 39,000 simulated sweeps: how many say that they are complete and are not
		ROLLCALL_LONG=150 go test -timeout 30m -run TestCompleteMeansComplete -v ./internal/census | grep -E "sweeps:|^(ok|FAIL)" ;;
	fleet) # virtual hosts on the loopback network
		lab/fleet/bench.sh ;;
	hosts) # real ones, signed and sealed, known and unknown, over lossy links
		need nft=nftables && in_lab 'BenchmarkRealHosts$' ;;
	many) # 1,000 namespaces, without ARP
		in_lab 'BenchmarkManyHosts$' ;;
	laptops) in_lab 'BenchmarkLaptops$' ;; # 20 at once
	peers) # hashicorp/mdns, avahi-browse, serf and NATS on the same hosts; writes docs/peers.md and docs/peers.svg
		need nft=nftables avahi-daemon=avahi-daemon avahi-browse=avahi-utils dbus-daemon=dbus-daemon serf=serf nats-server=nats-server
		in_lab 'BenchmarkPeers$' -peer-docs "$PWD/docs" ;;
	others) # agents, sets, virtual Pis, hosts that are open
		if [ "$(id -u)" = 0 ]; then
			ROLLCALL_UML=$(lab/uml/kernel.sh)
			export ROLLCALL_UML
		fi
		in_lab . -skip 'Benchmark(RealHosts|ManyHosts|Laptops|Peers)$' ;;
	*)
		echo "lab/bench.sh: what is $1? There are sizes packages miss fleet hosts many laptops peers others" >&2
		exit 2
		;;
	esac
}

printf 'date: %s  commit: %s  machine: %s cores, %s, %s\n' "$(date +%F)" "$(git describe --always --dirty)" "$(nproc)" \
	"$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(uname -sr)"
go version
[ $# -gt 0 ] || set -- sizes packages miss fleet hosts many laptops peers others
for what; do measure "$what"; done
