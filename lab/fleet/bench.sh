#!/usr/bin/env bash
# Sweeps simulated fleets of 10 to 10,000 hosts over a lossy link, and the floor: a fleet that answers at once with bare datagrams.
# lab/fleet/bench.sh [SWEEPS [HOSTS...]]
set -euo pipefail
cd "$(dirname "$0")/../.."
sweeps=${1:-15}
shift || true
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/" ./lab/fleet/fleetctl
for hosts in "${@:-10 100 1000 10000}"; do
	for n in $hosts; do
		for lost in 0 0.1 0.3; do
			"$dir/fleetctl" serve --listen 0.0.0.0:47030 --hosts "$n" --loss "$lost" >"$dir/serve" &
			until grep -q "hosts at" "$dir/serve"; do :; done
			for known in "" --known; do
				printf '%s hosts, loss %s%s: ' "$n" "$lost" "${known:+, known}"
				"$dir/fleetctl" measure --port 47030 --hosts "$n" --sweeps "$sweeps" --every 600ms $known
			done
			kill %% && wait
		done
	done
done
