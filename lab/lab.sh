#!/usr/bin/env bash
# make lab: the tests that need root: many hosts in network namespaces, the original's programs, and a real kernel's GPIO in
# user-mode Linux. Installs what it needs; the kernel is built once and cached outside the checkout.
set -euo pipefail
if [ "$(id -u)" != 0 ]; then
	echo 'make lab makes network namespaces: run it as root (sudo make lab)' >&2
	exit 1
fi
need() { command -v "$1" >/dev/null || missing+=("$2"); }
missing=()
need ip iproute2
need mosquitto mosquitto
need mosquitto_sub mosquitto-clients
need nc netcat-openbsd
need nft nftables
need gcc gcc
need systemd-analyze systemd
need debootstrap debootstrap
need mkfs.ext4 e2fsprogs
need script bsdutils
need npm npm
need jq jq
need node nodejs
/usr/bin/python3 -c 'import paho.mqtt.client' 2>/dev/null || missing+=(python3-paho-mqtt)
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -yq "${missing[@]}"
fi
ROLLCALL_UML=$(lab/uml/kernel.sh)
ROLLCALL_NPM=$(lab/npm.sh)
export ROLLCALL_UML ROLLCALL_LAB=1 ROLLCALL_NPM
exec go test -count=1 -timeout 20m -p 1 "$@" ./lab/... ./docs/...
