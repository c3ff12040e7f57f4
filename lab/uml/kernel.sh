#!/bin/sh
# Builds the lab's user-mode Linux kernel once a machine, and prints its path. What it says beside goes to stderr.
#   kernel.sh           build it unless it is cached (6-9 minutes on two cores)
#   kernel.sh --path    print where it is or would be; build nothing
set -eu

here=$(cd "$(dirname "$0")" && pwd)
source=/usr/src/linux-source-6.1.tar.xz
packages="linux-source-6.1 flex bison bc libelf-dev libssl-dev gcc make patch xz-utils"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rollcall-lab
kernel=$cache/linux-$(cat "$here/kernel.config" "$here/kernel.patch" | sha256sum | cut -c1-16)

say() { echo "kernel.sh: $*" >&2; }

# missing prints those of the packages that are not installed.
missing() {
	for p in $packages; do
		dpkg-query -W -f='${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || printf '%s ' "$p"
	done
}

need() {
	want=$(missing)
	[ -n "$want" ] || return 0
	if [ "$(id -u)" != 0 ]; then
		say "packages are missing; run: sudo apt-get install -y --no-install-recommends $want"
		exit 1
	fi
	say "installing $want"
	# shellcheck disable=SC2086 # a list of names
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $want >&2
}

# options turns kernel.config into arguments of the kernel's scripts/config.
options() {
	sed -n 's/^\([A-Z][A-Z0-9_]*\)$/-e \1/p; s/^!\([A-Z][A-Z0-9_]*\)$/-d \1/p' "$here/kernel.config"
}

# check fails when the kernel's own dependencies took away an option that kernel.config asks for.
check() {
	lost=$(sed -n 's/^\([A-Z][A-Z0-9_]*\)$/\1/p' "$here/kernel.config" | while read -r o; do
		grep -qx "CONFIG_$o=y" .config || printf '%s ' "$o"
	done)
	[ -z "$lost" ] || { say "the kernel has no $lost"; exit 1; }
}

build() {
	rm -rf "$cache"/build.* # of a build that was killed; the lock is ours
	work=$(mktemp -d "$cache/build.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM
	say "unpacking $source in $work"
	tar -C "$work" --strip-components=1 -xf "$source"
	cd "$work"
	patch -s -p1 <"$here/kernel.patch"
	say "building $kernel; this takes some minutes"
	make -s ARCH=um defconfig >&2
	# shellcheck disable=SC2046 # a list of words
	scripts/config $(options)
	make -s ARCH=um olddefconfig >&2
	check
	nice make -s ARCH=um -j"${JOBS:-2}" linux >&2
	strip linux
	cp .config "$kernel.config"
	cp linux "$kernel.new"
	mv "$kernel.new" "$kernel" # in one step: a test that looks now sees all of it or nothing
}

case ${1:-} in
--path) echo "$kernel"; exit 0 ;;
"") ;;
*) say "usage: kernel.sh [--path]"; exit 2 ;;
esac

if [ ! -x "$kernel" ]; then
	[ "$(uname -m)" = x86_64 ] || { say "user-mode Linux is for x86_64 only, this is $(uname -m)"; exit 1; }
	mkdir -p "$cache"
	exec 9>"$cache/lock"
	flock 9 # one build at a time; who waited finds it made
	if [ ! -x "$kernel" ]; then
		need
		start=$(date +%s)
		build
		say "built in $(($(date +%s) - start)) s: $(du -h "$kernel" | cut -f1)"
	fi
fi
echo "$kernel"
