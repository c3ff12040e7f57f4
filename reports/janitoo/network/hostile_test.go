package network

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/reports/janitoo/wire"
)

// check reports a map that has outgrown its limits, or miscounts.
func check(t *testing.T, n *Network) {
	t.Helper()
	values, bytes := 0, 0
	for _, e := range n.store.nodes {
		values += len(e.values)
		bytes += e.size
		for k, raw := range e.values {
			bytes += cost(k, raw)
		}
	}
	l := n.cfg.Limits
	if values != n.store.values || bytes != n.store.bytes {
		t.Errorf("counted %d values, %d bytes, there are %d, %d", n.store.values, n.store.bytes, values, bytes)
	}
	if len(n.store.nodes) > l.Nodes || values > l.Values || bytes > l.Bytes || len(n.ask.ctrls) > maxControllers || len(n.duties.answers) > maxAnswers {
		t.Errorf("%d nodes, %d values, %d bytes, %d controllers, %d answers: more than %+v", len(n.store.nodes), values, bytes, len(n.ask.ctrls), len(n.duties.answers), l)
	}
}

func said(info, data string) Message {
	return Message{wire.BroadcastReplyTopic("0001/0000"), []byte(`{"uuid":"` + info + `","cmd_class":20480,"genre":4,"reply_hadd":"0001/0000","data":` + data + `}`)}
}

// Whoever tells of ever more nodes, values and text fills the map, and nothing more; those who were there first stay.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agents = []agent{fleet(t, 2)}
	c := primary()
	c.Limits = Limits{Nodes: 100, Values: 300, Bytes: 200_000}
	n := w.start("p", c)
	w.run(time.Second, nil)
	for i := range 200 {
		hadd := wire.NewHadd(5000+i, i%3)
		w.publish(said(wire.InfoNodes, fmt.Sprintf(`{"x":{"uuid":"x","hadd":%q,"name":%q}}`, hadd, strings.Repeat("n", i*20))))
		for k := range 5 {
			w.publish(said(wire.InfoUsers, fmt.Sprintf(`{%q:{"v%d":{"0":{"uuid":"v%d","hadd":%q,"data":%q}}}}`, hadd, k, k, hadd, strings.Repeat("x", 2*i))))
		}
		w.publish(Message{wire.ValueTopic(wire.User, hadd, "poll"), fmt.Appendf(nil, `{"uuid":"poll","hadd":%q,"genre":2,"type":8,"data":%q}`, hadd, strings.Repeat("y", i*100))})
	}
	check(t, n)
	i := n.Info()
	if i.Refused == 0 || i.NodesCount < 40 || i.ValuesCount < 100 {
		t.Errorf("%d nodes, %d values, %d refused", i.NodesCount, i.ValuesCount, i.Refused)
	}
	if got := n.nodes(func(w wire.Node) bool { return w.Hadd.Ctrl() == 1000 && !w.Hadd.IsController() }); len(got) != 4 {
		t.Errorf("of the first controller %d nodes are left", len(got))
	}
}

// Heartbeats of controllers that are not there bring a bounded number of questions, and are forgotten.
func TestHostileHeartbeats(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start("p", primary())
	w.run(time.Second, nil)
	for i := range 3000 {
		w.publish(Message{wire.HeartbeatTopic(wire.NewHadd(i, 1)), []byte("ONLINE")})
	}
	check(t, n)
	w.seen = nil
	w.run(10*time.Second, nil)
	if most := 6*maxUnknown*5 + 100; len(w.seen) > most || len(n.ask.ctrls) > maxUnknown {
		t.Errorf("%d questions to %d controllers in 10 s, want %d at most", len(w.seen), len(n.ask.ctrls), most)
	}
	w.run(time.Hour, nil)
	if len(n.ask.ctrls) > 0 || n.ask.unknown != 0 || !n.Info().Complete {
		t.Errorf("%d controllers that never answered are remembered", len(n.ask.ctrls))
	}
}

// Secondaries that ask without end wait for their turn, or are passed over.
func TestHostileSecondaries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agents = []agent{fleet(t, 4)}
	n := w.start("p", primary())
	w.run(time.Second, nil)
	w.seen = nil
	for i := range 200 {
		for _, info := range append(wire.Infos(), "request_info_everything") {
			w.publish(Message{wire.ResolvRequest, wire.Discovery(info, wire.NewHadd(7000+i, 0)).Marshal()})
		}
	}
	check(t, n)
	w.run(time.Minute, nil)
	if len(n.duties.answers) > 0 || len(w.seen) > 1400+300 {
		t.Errorf("%d answers are left, %d messages", len(n.duties.answers), len(w.seen))
	}
}

// FuzzHeard sends what anybody may send.
func FuzzHeard(f *testing.F) {
	for _, m := range []Message{
		said(wire.InfoNodes, `{"x":{"uuid":"x","hadd":"0121/0001","heartbeat":1e308,"state":"ONLINE"}}`),
		said(wire.InfoUsers, `{"1000/0001":{"v":{"0":{"uuid":"v","hadd":"1000/0001","data":[{}]}}}}`),
		{wire.ResolvHeartbeat, []byte(`{"add_ctrl":"0000","add_node":"0000","state":"ONLINE","role":"primary"}`)},
		{wire.ResolvHeartbeat, []byte(`{"add_ctrl":0,"add_node":-1,"role":7}`)},
		{wire.ResolvRequest, []byte(`{"uuid":"request_info_nodes","cmd_class":20480,"reply_hadd":""}`)},
		{wire.ResolvReplyRoot + "0002/0000", []byte(`{"uuid":"request_info_nodes","data":{},"chunk":1e9,"chunks":-1}`)},
		{wire.ResolvBroadcast, []byte(`{"uuid":"request_info_users","data":{},"chunk":0,"chunks":1}`)},
		{wire.HeartbeatAll, []byte(`{"add_ctrl":1000,"add_node":-1,"state":"FAILED"}`)},
		{"/dhcp/heartbeat/1000/0001", []byte("WHATEVER")},
		{"/values/system/1000/0001/heartbeat", []byte(`{"uuid":"heartbeat","hadd":"1000/0001","genre":4,"data":"-1e999","reply_hadd":"x"}`)},
		{"/values/user/1000/0001/value6", []byte(`{"0":{"uuid":"value6","hadd":"1000/0001","genre":2,"type":3,"index":-5,"data":null}}`)},
		{"/values/#", nil},
	} {
		f.Add(m.Topic, m.Payload, true)
		f.Add(m.Topic, m.Payload, false)
	}
	f.Fuzz(func(t *testing.T, topic string, payload []byte, role bool) {
		w := newWorld(t)
		w.agents = []agent{fleet(t, 1)}
		c := secondary()
		if role {
			c = primary()
		}
		n := w.start("n", c)
		w.run(3*time.Second, nil)
		w.publish(Message{topic, payload})
		w.run(10*time.Second, nil)
		check(t, n)
		for _, m := range w.seen {
			if m.Topic != topic && (!json.Valid(m.Payload) || strings.ContainsAny(m.Topic, "+#")) {
				t.Errorf("%s %s", m.Topic, m.Payload)
			}
		}
	})
}
