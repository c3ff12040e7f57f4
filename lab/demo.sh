#!/usr/bin/env bash
# make demo, make run: a host on this machine, on the loopback interface only, with its state in a folder of its own.
# --keep: until Ctrl-C; otherwise sweep it, switch a pin, and stop it.
set -euo pipefail
cd "$(dirname "$0")/.."
keep=${1:-}
dir=$(mktemp -d)
pids=()
stop() {
	trap - EXIT INT TERM
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
	wait 2>/dev/null || true
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 0' INT TERM

free() { # a port that nothing on this machine uses, tcp or udp
	local p
	while :; do
		p=$((20000 + RANDOM % 12000))
		grep -qi ":$(printf %04X $p) " /proc/net/tcp /proc/net/udp /proc/net/tcp6 /proc/net/udp6 2>/dev/null || break
	done
	echo $p
}
udp=$(free) tcp=$(free)
host=$(hostname | cut -d. -f1 | tr -c 'A-Za-z0-9_\n-' -)
gpio='{chip: sim, outputs: {led: {pin: 17}, pump: {pin: 25}}, inputs: {door: {pin: 22, pull: up}}}'
if compgen -G '/dev/gpiochip*' >/dev/null; then
	gpio='{}' # real pins: none is touched until you set it up
else
	echo "no /dev/gpiochip* here: the demo's gpio is the simulated chip (chip: sim)"
fi
cat >"$dir/rollcall.yaml" <<YAML
host: $host
state_dir: $dir/state
discovery: {port: $udp, interfaces: [lo]}
broker: {listen: "127.0.0.1:$tcp"}
agents:
  hostsensor: {}
  gpio: $gpio
YAML
bin/udpmon --config "$dir/rollcall.yaml" 2>"$dir/udpmon.log" & pids+=($!)
bin/agentd --config "$dir/rollcall.yaml" 2>"$dir/agentd.log" & pids+=($!)
export XDG_CACHE_HOME=$dir/cache XDG_CONFIG_HOME=$dir/config

for _ in $(seq 50); do # until both services have said that they are online
	if bin/udpsrv sweep --json --wait 200ms --to "127.0.0.1:$udp" 2>/dev/null | grep -o '"status":"online"' | wc -l | grep -q '^2$'; then break; fi
	if ! kill -0 "${pids[@]}" 2>/dev/null; then cat "$dir"/*.log >&2; exit 1; fi
done
say() { printf '\n$ %s\n' "$*"; "bin/$1" "${@:2}"; }
say udpsrv sweep --to "127.0.0.1:$udp"
if [ "$keep" = --keep ]; then
	printf '\nThe host runs until Ctrl-C. In another terminal:\n'
	printf '  bin/udpsrv --broker tcp://127.0.0.1:%s get %s/hostsensor\n' "$tcp" "$host"
	wait
	exit
fi
broker=(--broker "tcp://127.0.0.1:$tcp")
say udpsrv "${broker[@]}" get "$host/hostsensor/load/1m"
if [ "$gpio" != '{}' ]; then
	say udpsrv "${broker[@]}" get "$host/gpio/input/door"
	say udpsrv "${broker[@]}" set "$host/gpio/output/led" ON
	say udpsrv "${broker[@]}" get "$host/gpio"
fi
printf '\nStopped. `make run` keeps such a host running.\n'
