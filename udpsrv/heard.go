package main

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"rollcall/internal/bus"
)

// heardWait bounds how long a sweep takes to tell this machine's monitor who was heard.
const heardWait = 300 * time.Millisecond

// heard is an element of what is published on /<host>/heard.
type heard struct {
	Hostname string `json:"hostname"`
	IPAddr   string `json:"ipaddr"`
}

// heardMost is how many hosts one message tells of: with the longest names 64 KiB, half of what brokers take.
const heardMost = 500

// heardParts returns the payloads that tell of the hosts.
func heardParts(hosts []*host) (parts [][]byte) {
	for some := range slices.Chunk(hosts, heardMost) {
		list := make([]heard, len(some))
		for i, h := range some {
			list[i] = heard{h.Hostname, h.IPAddr}
		}
		part, err := json.Marshal(list)
		if err != nil {
			return nil // strings always marshal
		}
		parts = append(parts, part)
	}
	return parts
}

// tellHeard tells the monitor of this very machine, if it is among the hosts, who was heard: it keeps the map of hosts
// (PROTOCOL.md §1). It is a courtesy: that it did not work is said to the log only.
func tellHeard(ctx context.Context, a *app, hosts []*host) {
	parts := heardParts(hosts)
	ctx, cancel := context.WithTimeout(ctx, heardWait)
	defer cancel()
	for _, h := range hosts {
		if !h.own || ctx.Err() != nil {
			continue
		}
		brokers, err := entry{Hostname: h.Hostname, IPAddr: h.IPAddr, Brokers: h.Brokers}.usable()
		if err == nil {
			err = withBroker(ctx, a, brokers[0], heardWait, func(ctx context.Context, l *link) error {
				for _, part := range parts {
					if err := l.Publish(ctx, bus.Message{Topic: "/" + h.Hostname + "/heard", Payload: part, QoS: 1}); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err != nil {
			a.log().Debug("tell who was heard", "host", h.Hostname, "err", err)
		}
	}
}
