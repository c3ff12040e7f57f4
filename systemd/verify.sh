#!/usr/bin/env bash
# Checks the units as they are installed: systemd-analyze verify on a throw-away root, no warning allowed.
set -euo pipefail
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
go build -o "$root/bin/" ./udpsrv ./udpmon ./agents/agentd
for u in udpmon.service agent@.service; do
	sed "s|/usr/local/bin/|$root/bin/|" "systemd/$u" >"$root/$u"
done
ln -s "agent@.service" "$root/agent@gpio.service"
out=$(SYSTEMD_UNIT_PATH="$root:/usr/lib/systemd/system" systemd-analyze verify --man=no "$root/udpmon.service" "$root/agent@gpio.service" 2>&1) || {
	echo "$out" >&2
	exit 1
}
if grep -E "$root|udpmon|agent@" <<<"$out" >&2; then exit 1; fi
for u in udpmon.service agent@gpio.service; do
	systemd-analyze security --offline=yes --threshold=45 "$root/$u" | tail -n 1
done
