package network

import (
	"testing"
	"time"

	"rollcall/reports/janitoo/wire"
)

// BenchmarkMap measures what a map of 1,000 nodes and 4,000 values costs a primary, from its start on, without a broker.
func BenchmarkMap(b *testing.B) {
	w := newWorld(b)
	w.agents = []agent{fleet(b, 200)}
	w.start("p", primary())
	w.run(time.Second, nil) // the answers are made now
	var replies []Message
	for _, m := range w.seen {
		if m.Topic == wire.BroadcastReplyTopic("0001/0000") {
			replies = append(replies, m.Message)
		}
	}
	for b.Loop() {
		n, err := New(primary())
		if err != nil {
			b.Fatal(err)
		}
		n.Start(epoch)
		for _, m := range replies {
			n.Heard(epoch, m.Topic, m.Payload)
		}
		n.Tick(epoch.Add(time.Second))
		if i := n.Info(); i.NodesCount != 1000 || i.ValuesCount != 4000 {
			b.Fatalf("map is %+v", i)
		}
	}
}
