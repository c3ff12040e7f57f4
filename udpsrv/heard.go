package main

import (
	"context"
	"encoding/json"
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

// tellHeard tells the monitor of this very machine, if it is among the hosts, who was heard: it keeps the map of hosts
// (PROTOCOL.md §1). It is a courtesy: that it did not work is said to the log only.
func tellHeard(ctx context.Context, a *app, hosts []*host) {
	list := []heard{}
	for _, h := range hosts {
		list = append(list, heard{h.Hostname, h.IPAddr})
	}
	payload, err := json.Marshal(list)
	if err != nil {
		return // strings always marshal
	}
	ctx, cancel := context.WithTimeout(ctx, heardWait)
	defer cancel()
	for _, h := range hosts {
		if !h.own || len(h.Brokers) == 0 || ctx.Err() != nil {
			continue
		}
		b, err := parseBroker(h.Brokers[0])
		if err == nil {
			err = withBroker(ctx, a, b.stranger(), heardWait, func(ctx context.Context, l *link) error {
				return l.Publish(ctx, bus.Message{Topic: "/" + h.Hostname + "/heard", Payload: payload, QoS: 1})
			})
		}
		if err != nil {
			a.log().Debug("tell who was heard", "host", h.Hostname, "err", err)
		}
	}
}
