package network

import (
	"encoding/json"
	"math"
	"time"

	"rollcall/reports/janitoo/wire"
)

// heartbeat bounds, in seconds (JANITOO.md §3.4).
const (
	defaultHeartbeat = 30
	maxHeartbeat     = 24 * 3600
)

// seconds reads the data of a heartbeat value, a number or its text.
func seconds(data any) (json.Number, bool) {
	num, ok := data.(json.Number)
	if s, isText := data.(string); isText {
		num, ok = json.Number(s), true
	}
	f, err := num.Float64()
	return num, ok && err == nil && f >= 0 && f <= maxHeartbeat
}

// period returns how often a node beats; 0: never.
func period(w wire.Node) time.Duration {
	f, err := w.Heartbeat.Float64()
	if err != nil || math.IsNaN(f) || f < 0 || f > maxHeartbeat {
		f = defaultHeartbeat
	}
	return time.Duration(f * float64(time.Second))
}

// limit returns how long a node may be silent; ok is false where it never beats.
func (e *entry) limit() (d time.Duration, ok bool) {
	p := period(e.Node)
	return time.Duration(float64(p) * overdue), p > 0
}

// heardHeartbeat takes a node's own heartbeat, or what a primary says of others.
func (n *Network) heardHeartbeat(topic string, payload []byte) {
	h, err := wire.ParseHeartbeat(topic, payload)
	if err != nil {
		return
	}
	if topic == wire.HeartbeatAll {
		n.heardDispatch(h)
		return
	}
	s := h.State
	switch {
	case s == "SYSTEM", s == "INIT": // of a node manager that starts
		s = wire.Configs
	case s.Rank() < 0:
		s = wire.Unknown
	}
	if h.Hadd() != "" && n.store.nodes[h.Hadd()] == nil {
		if s != wire.Offline {
			n.ask.wants(h.Ctrl, n.now)
		}
		return
	}
	if s != wire.Offline {
		n.ask.alive(h.Ctrl, n.now)
	}
	for _, e := range n.store.of(h) {
		e.seen, e.heard, e.count = n.now, n.now, 0
		n.put(e, s)
	}
}

// heardDispatch takes what is said of others. OFFLINE is a host's last will, or what it says of all its nodes. The rest is a primary's;
// what was heard of a node itself goes before it, and one who is the primary has said it, or another has who is none.
func (n *Network) heardDispatch(h wire.Heartbeat) {
	if h.State == wire.Offline {
		for _, e := range n.store.of(h) {
			e.seen, e.count = n.now, 0
			n.put(e, h.State)
		}
		return
	}
	if n.acting() || h.State.Rank() < 0 {
		return
	}
	for _, e := range n.store.of(h) {
		if limit, beats := e.limit(); beats && !e.heard.IsZero() && n.now.Sub(e.heard) <= limit {
			continue
		}
		n.put(e, h.State)
	}
}

// age looks at every node alike.
func (n *Network) age() {
	for hadd, e := range n.store.nodes {
		silent := n.now.Sub(e.seen)
		switch e.State {
		case wire.Dead:
			if silent > forgetAfter {
				n.store.drop(hadd)
				n.note(Change{Hadd: hadd})
			}
		case wire.Failed, wire.Offline:
			if silent > deadAfter {
				n.dispatch(e, wire.Dead)
			}
		case wire.Pending:
			n.count(e, wire.Failed)
		default:
			n.count(e, wire.Pending)
		}
	}
}

// count counts that a node is overdue, and steps its state when that is so for long enough. The next step takes as long again.
func (n *Network) count(e *entry, next wire.State) {
	since := e.seen
	if e.stepped.After(since) {
		since = e.stepped
	}
	limit, beats := e.limit()
	if !beats || n.now.Sub(since) <= limit {
		e.count = 0
		return
	}
	if e.count++; e.count >= looks {
		e.count, e.stepped = 0, n.now
		n.dispatch(e, next)
	}
}

// dispatch sets a node's state, and tells all if that is this one's to do.
func (n *Network) dispatch(e *entry, s wire.State) {
	n.put(e, s)
	if !n.acting() {
		return
	}
	topic, payload := wire.Heartbeat{Ctrl: e.Hadd.Ctrl(), Node: e.Hadd.Node(), State: s}.Dispatch()
	n.send(Message{topic, payload})
}
