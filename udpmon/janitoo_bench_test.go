package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports/janitoo/network"
	"rollcall/reports/janitoo/wire"
)

// janitooFleet plays so many controllers on a broker, with five nodes each and eight values a node: each answers what all are asked with a
// message of its own.
func janitooFleet(b testing.TB, url string, controllers int) {
	b.Helper()
	client := bustest.Run(b, bus.Config{URL: url})
	replies := map[string][][]byte{}
	for _, info := range wire.Infos() {
		genre, _ := wire.InfoGenre(info)
		r := wire.Discovery(info, "0001/0000")
		for i := range controllers {
			var nodes []wire.Node
			var values []wire.Value
			for k := range 5 {
				h, uuid := wire.NewHadd(1000+i, k), fmt.Sprintf("host%d__n%d", i, k)
				nodes = append(nodes, wire.Node{UUID: uuid, OID: "hostsensor.load", Hadd: h, Name: wire.Ptr("Load"), ProductName: "Load statistics", ProductType: "Software component",
					ProductManufacturer: "Janitoo", Capabilities: []int{}, CmdClasses: []int{112, 49}, Heartbeat: "30", ConfigTimeout: "3", State: wire.Online})
				for v, g := range []wire.Genre{wire.System, wire.System, wire.System, wire.Config, wire.Config, wire.Basic, wire.User, wire.User} {
					if g == genre {
						values = append(values, wire.Value{UUID: fmt.Sprintf("value%d", v), NodeUUID: uuid, Hadd: h, Label: wire.Ptr("Load"), Help: wire.Ptr("The load average"),
							Data: json.Number("0.31"), Type: 3, Genre: g, CmdClass: 49, ReadOnly: true, Polled: true, PollDelay: "60", EntryName: "sensor_float"})
					}
				}
			}
			replies[info] = append(replies[info], wire.MarshalReply(r, nodes, values))
		}
	}
	err := client.Subscribe(context.Background(), 0, func(m bus.Message) {
		r, err := wire.ParseRequest(m.Payload)
		if err != nil || r.ReplyHadd != "0001/0000" {
			return // of a secondary, which is to have it from its primary
		}
		for _, p := range replies[r.UUID] {
			client.Send(bus.Message{Topic: wire.BroadcastReplyTopic(r.ReplyHadd), Payload: p})
		}
	}, wire.BroadcastRequest)
	if err != nil {
		b.Fatal(err)
	}
}

// complete waits until a host's map has so many nodes and is complete, and returns when that was.
func (b *bed) complete(nodes int) time.Time {
	b.t.Helper()
	deadline := time.NewTimer(3 * limit)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		info := b.info()
		if info.Complete && info.NodesCount == nodes {
			return time.Now()
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			b.t.Fatalf("map is %+v, want %d nodes; its log:\n%s", info, nodes, b.log)
		}
	}
}

// info returns how a host's map is.
func (b *bed) info() network.Info {
	b.m.janitoo.mu.Lock()
	defer b.m.janitoo.mu.Unlock()
	return b.m.janitoo.net.Info()
}

// mapping starts a host that keeps a map, and returns it with when it began to.
func mapping(t testing.TB, url, host string, j config.Janitoo) (*bed, time.Time) {
	t.Helper()
	cfg := testConfig(t)
	cfg.Host, cfg.Janitoo, cfg.Broker = host, j, config.Broker{URL: url}
	start := time.Now()
	return startWith(t, cfg), start
}

// BenchmarkJanitooMap measures from the start of a host to its complete map of 1,000 nodes and 8,000 values, over a broker: of a
// primary, and of a secondary that has it from there.
func BenchmarkJanitooMap(b *testing.B) {
	const controllers = 200
	var first, second []time.Duration
	for b.Loop() {
		url := bustest.Start(b)
		janitooFleet(b, url, controllers)
		p, start := mapping(b, url, "pi1", config.Janitoo{Network: config.JanitooPrimary, Hadd: "0001"})
		first = append(first, p.complete(5*controllers).Sub(start))
		s, start := mapping(b, url, "pi2", config.Janitoo{Network: config.JanitooSecondary, Hadd: "0002"})
		second = append(second, s.complete(5*controllers).Sub(start))
		_, _ = s.stop(), p.stop()
	}
	b.ReportMetric(float64(slices.Max(first).Milliseconds()), "ms-primary-max")
	b.ReportMetric(float64(slices.Max(second).Milliseconds()), "ms-secondary-max")
}

// A host has a map of more nodes than a Janitoo network ever had, whole, over a real broker, from a primary and as one.
func TestJanitooMany(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	const controllers = 40
	janitooFleet(t, url, controllers)
	p, _ := mapping(t, url, "pi1", config.Janitoo{Network: config.JanitooPrimary, Hadd: "0001"})
	p.complete(5 * controllers)
	s, _ := mapping(t, url, "pi2", config.Janitoo{Network: config.JanitooSecondary, Hadd: "0002"})
	s.complete(5 * controllers)
	if i := s.info(); i.ValuesCount != 40*controllers || i.Refused > 0 {
		t.Errorf("secondary has %+v", i)
	}
}
