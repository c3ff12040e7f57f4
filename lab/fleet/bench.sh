#!/usr/bin/env bash
# Sweeps simulated fleets over a lossy link, beside the floor: closed hosts, which seal what they say, whom the laptop has never met,
# and whom it expects; and open ones.
# lab/fleet/bench.sh [SWEEPS [HOSTS...]]
set -euo pipefail
cd "$(dirname "$0")/../.."
sweeps=${1:-30}
shift || true
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/" ./lab/fleet/fleetctl
port=47030

# measure HOSTS LOSS WHAT FLAG...
measure() {
	local hosts=$1 lost=$2 what=$3
	shift 3
	printf '%s hosts, loss %s, %s: ' "$hosts" "$lost" "$what"
	"$dir/fleetctl" measure --port $port --hosts "$hosts" --sweeps "$sweeps" --every 500ms "$@"
}

# serve HOSTS LOSS FLAG...
serve() {
	local hosts=$1 lost=$2
	shift 2
	: >"$dir/serve"
	"$dir/fleetctl" serve --listen 0.0.0.0:$port --hosts "$hosts" --loss "$lost" "$@" >"$dir/serve" &
	until grep -q "hosts at" "$dir/serve"; do :; done
}

for n in "${@:-100 10000}"; do
	for hosts in $n; do
		serve "$hosts" 0 --bare
		printf '%s hosts, bare: ' "$hosts"
		"$dir/fleetctl" floor --port $port --hosts "$hosts"
		kill %% && wait
		for lost in 0 0.1 0.3; do
			serve "$hosts" "$lost" --operator "$dir/key"
			measure "$hosts" "$lost" "sealed, never met" --key "$dir/key"
			measure "$hosts" "$lost" "sealed, known" --key "$dir/key" --known
			if [ "$lost" = 0 ] && [ "$hosts" -le 100 ]; then
				measure "$hosts" "$lost" "sealed, known, 20 laptops at once" --key "$dir/key" --known --laptops 20
			fi
			kill %% && wait
			serve "$hosts" "$lost"
			measure "$hosts" "$lost" open
			measure "$hosts" "$lost" "open, known" --known
			kill %% && wait
		done
	done
done
