#!/usr/bin/env bash
# Makes a small Debian that systemd boots, once a machine, and prints its path. As root; needs debootstrap (installed if missing).
set -euo pipefail
packages=systemd,systemd-sysv,dbus,iproute2,udev,procps
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rollcall-lab
root=$cache/rootfs-$(sha256sum <"$0" | cut -c1-16)
[ -e "$root/ready" ] && { echo "$root" && exit; }
command -v debootstrap >/dev/null || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq debootstrap; } >&2
mkdir -p "$cache"
exec 9>"$cache/rootfs.lock"
flock 9
[ -e "$root/ready" ] && { echo "$root" && exit; }
rm -rf "$root"
echo "rootfs.sh: debootstrap into $root (about a minute)" >&2
debootstrap --variant=minbase --include=$packages bookworm "$root" >"$cache/debootstrap.log" 2>&1 || { tail -5 "$cache/debootstrap.log" >&2; exit 1; }
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
: >"$root/etc/machine-id"
touch "$root/ready"
echo "$root"
