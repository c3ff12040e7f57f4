#!/usr/bin/env bash
# make install, make uninstall: [--remove] DESTDIR PREFIX SYSCONF UDEVDIR. Run from the top of the checkout.
set -euo pipefail
remove=
if [ "${1:-}" = --remove ]; then remove=1 && shift; fi
dest=$1 prefix=$2 sysconf=$3 udev=$4
bin=$dest$prefix/bin lib=$dest$prefix/lib
config=$dest$sysconf/rollcall/rollcall.yaml
share=$dest$prefix/share
bash=$share/bash-completion/completions zsh=$share/zsh/site-functions fish=$share/fish/vendor_completions.d

live() { [ -z "$dest" ] && [ -d /run/systemd/system ]; } # this very system runs systemd

units() { # a unit names where the binaries and the configuration are
	sed -e "s|/usr/local/bin/|$prefix/bin/|" -e "s|/etc/rollcall/|$sysconf/rollcall/|" "$1"
}

if [ -n "$remove" ]; then
	if live; then systemctl disable --now udpmon.service 'agent@*.service' 2>/dev/null || true; fi
	rm -f "$bin"/{udpsrv,udpmon,agentd} "$lib"/systemd/system/{udpmon,agent@}.service \
		"$lib"/sysusers.d/rollcall.conf "$lib"/tmpfiles.d/rollcall.conf "$dest$udev/60-rollcall.rules" \
		"$share"/man/man1/udpsrv{,-*}.1 "$share"/man/man8/{udpmon,agentd}{,-*}.8 "$bash/udpsrv" "$zsh/_udpsrv" "$fish/udpsrv.fish"
	if [ -e "$config" ] && cmp -s config/example.yaml "$config"; then rm -f "$config"; fi
	rmdir "$dest$sysconf/rollcall" 2>/dev/null || [ ! -e "$config" ] || echo "kept: $config (it was changed)"
	[ ! -d "$dest/var/lib/rollcall" ] || echo "kept: $dest/var/lib/rollcall (set-ups and the host's id)"
	if live; then systemctl daemon-reload; fi
	exit 0
fi

for b in udpsrv udpmon agentd; do
	[ -x "bin/$b" ] || { echo "bin/$b is not built: run make build first" >&2; exit 1; }
done
install -d "$bin" "$lib"/systemd/system "$lib"/sysusers.d "$lib"/tmpfiles.d "$dest$udev" "$dest$sysconf/rollcall"
install -m 0755 bin/udpsrv bin/udpmon bin/agentd "$bin/"
for u in udpmon.service agent@.service; do
	units "systemd/$u" >"$lib/systemd/system/$u"
	chmod 0644 "$lib/systemd/system/$u"
done
install -m 0644 systemd/rollcall-sysusers.conf "$lib/sysusers.d/rollcall.conf"
install -m 0644 systemd/rollcall-tmpfiles.conf "$lib/tmpfiles.d/rollcall.conf"
install -m 0644 systemd/60-rollcall.rules "$dest$udev/"
if bin/udpsrv version >/dev/null 2>&1; then # else it is for another machine
	umask 022
	bin/udpsrv man "$share/man/man1" && bin/udpmon man "$share/man/man8" && bin/agentd man "$share/man/man8"
	install -d "$bash" "$zsh" "$fish"
	bin/udpsrv completion bash >"$bash/udpsrv"
	bin/udpsrv completion zsh >"$zsh/_udpsrv"
	bin/udpsrv completion fish >"$fish/udpsrv.fish"
else
	echo "not installed: manual pages and completion, as bin/udpsrv does not run here"
fi
if [ -e "$config" ]; then
	echo "kept: $config"
else
	install -m 0644 config/example.yaml "$config"
fi
if live; then
	systemd-sysusers "$lib/sysusers.d/rollcall.conf"
	systemd-tmpfiles --create "$lib/tmpfiles.d/rollcall.conf"
	udevadm control --reload 2>/dev/null && udevadm trigger --subsystem-match=gpio --subsystem-match=iio || true
	systemctl daemon-reload
	echo "installed; start it: systemctl enable --now udpmon agent@hostsensor"
else
	echo "installed below ${dest:-/}"
fi
