package janitoo

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"rollcall/reports"
	"rollcall/reports/janitoo/wire"
)

// bridge is one controller at work.
type bridge struct {
	o          Controller
	others     map[string]bool // services of other controllers
	bus        string          // the controller's uuid
	host       string
	configured int // number of the controller in the configuration
	ctrl       int // the one that holds: one that was set holds from the next start on
	moved      map[string]wire.Hadd
	now        func() time.Time

	mem     memory
	nodes   []*node // the controller first
	built   bool
	beats   map[string]beat      // by node
	gone    []wire.Hadd          // addresses of nodes that went, of which that is to be said
	polls   map[string]time.Time // when a value is told next, by node and uuid
	pending map[string]pending   // sets that a service has not answered yet, by id
	serial  int
	ahead   map[place]ahead
}

// place is a point of a service.
type place struct{ service, path string }

// ahead is what a service has answered to a set while another value stands on the point's topic: the answer came first.
type ahead struct {
	was, is string
	until   time.Time
}

// beat is what was said of a node.
type beat struct {
	hadd wire.Hadd
	said wire.State // "": nothing yet
	next time.Time  // zero: never
}

// New returns the face of a host. Now is the clock.
func New(o Options, h reports.Host, now func() time.Time) (reports.Clocked, error) {
	return newController(o.Controller, h, now, others(o, ""))
}

// others returns the services that other controllers than the one with the name have.
func others(o Options, name string) map[string]bool {
	out := map[string]bool{}
	for other, c := range o.all() {
		if other == name {
			continue
		}
		for _, s := range c.Services {
			out[s] = true
		}
	}
	return out
}

func newController(o Controller, h reports.Host, now func() time.Time, others map[string]bool) (*bridge, error) {
	number, err := wire.ParseController(o.Hadd)
	if err != nil {
		return nil, err
	}
	b := &bridge{o: o, others: others, bus: cmp.Or(o.Bus, h.Name), host: h.Name, configured: number, ctrl: number, now: now,
		beats: map[string]beat{}, polls: map[string]time.Time{}, pending: map[string]pending{}, ahead: map[place]ahead{}}
	return b, b.Recall(nil)
}

// readdress gives the controller and its nodes the addresses that were set before the start.
func (b *bridge) readdress() {
	b.moved = map[string]wire.Hadd{}
	b.ctrl = b.configured
	if h, ok := b.recalledHadd(""); ok {
		b.ctrl = h.Ctrl()
	}
	for key := range b.mem.Set {
		node, found := strings.CutSuffix(key, "/hadd")
		if h, ok := b.recalledHadd(node); found && ok {
			b.moved[node] = h
		}
	}
}

// recalledHadd returns the address that a node was set to, while the configuration says what it said then.
func (b *bridge) recalledHadd(node string) (wire.Hadd, bool) {
	data, ok := b.recalled(node, "hadd", b.configuredHadd(node))
	s, isText := data.(string)
	return wire.Hadd(s), ok && isText && wire.Hadd(s).Valid()
}

// configuredHadd is the address of a node in the configuration, as memory has it.
func (b *bridge) configuredHadd(node string) string {
	if node == "" {
		return b.o.Hadd
	}
	return b.o.Hadd + " " + b.o.Nodes[node].Hadd
}

// Filters returns the topics of requests to all, of requests to the controller's nodes, and of the services' answers.
func (b *bridge) Filters() []string {
	return []string{wire.BroadcastRequest, wire.ControllerFilter(b.ctrl), b.result()}
}

// result is where the answers to what was set through Janitoo go: not below the host's own topics, which no answer may go to.
func (b *bridge) result() string { return fmt.Sprintf("rollcall/%s/janitoo/%04d", b.host, b.ctrl) }

// Stands makes the nodes anew: nothing of Janitoo's stands on the broker, all of it is said.
func (b *bridge) Stands(h reports.Host, _ map[string]string) []reports.Group {
	b.build(h)
	return nil
}

// Said tells of a point that is not polled, since something has happened.
func (b *bridge) Said(s reports.HostService, p reports.Point, payload string) []reports.Message {
	if !b.built {
		return nil
	}
	delete(b.ahead, place{s.Name, p.Path})
	for _, n := range b.nodes {
		if n.service != s.Name {
			continue
		}
		for _, v := range n.values {
			if v.own != ownNot {
				continue
			}
			for i := range v.instances {
				in := &v.instances[i]
				if in.point.Path != p.Path {
					continue
				}
				first := in.payload == ""
				in.payload = payload
				switch {
				case p.Poll == 0 || payload == "":
					return b.tell(v)
				case first && b.pollDelay(v) != "0":
					b.polls[setKey(n.key, v.UUID)] = b.now()
				}
			}
		}
	}
	return nil
}

// tell returns the message of a value: by index where its instances are told apart.
func (b *bridge) tell(v *value) []reports.Message {
	var all []wire.Value
	byIndex := false
	for i, in := range v.instances {
		all = append(all, v.labelled(b, i))
		byIndex = byIndex || v.told && in.config != ""
	}
	return []reports.Message{{Topic: wire.PollTopic(v.Genre, v.node.hadd, v.UUID), Payload: string(wire.MarshalValues(all, byIndex))}}
}

// Ends has all nodes of the controller offline when the host is lost; Janitoo itself says nothing then. What is said at a clean stop, Stops
// says.
func (b *bridge) Ends() (lost, stops []reports.Message) {
	topic, payload := wire.Heartbeat{Ctrl: b.ctrl, Node: wire.AllNodes, State: wire.Offline}.Dispatch()
	return []reports.Message{{Topic: topic, Payload: string(payload)}}, nil
}

// Stops returns OFFLINE of every node, also of one that was told of in an answer and has not beaten yet.
func (b *bridge) Stops() (out []reports.Message) {
	for _, key := range sortedKeys(b.beats) {
		out = append(out, beatOf(b.beats[key].hadd, wire.Offline))
	}
	return out
}

func beatOf(h wire.Hadd, s wire.State) reports.Message {
	return reports.Message{Topic: wire.HeartbeatTopic(h), Payload: string(s)}
}

// Connected has every node beat, and every value be told: who listens may not have heard the last.
func (b *bridge) Connected() {
	now := b.now()
	for key, known := range b.beats {
		if known.said != "" {
			known.next = now
			b.beats[key] = known
		}
	}
}

// reschedule gives new nodes and values their first turn, which is now, and forgets those that are gone.
func (b *bridge) reschedule() {
	now := b.now()
	b.built = true
	beats, polls := map[string]beat{}, map[string]time.Time{}
	for _, n := range b.nodes {
		known, has := b.beats[n.key]
		if moved := has && known.hadd != n.hadd; !has || moved {
			known = beat{hadd: n.hadd, next: now}
		}
		if known.said != n.state && (known.next.IsZero() || known.next.After(now)) {
			known.next = now // what changed is said at once
		}
		beats[n.key] = known
		for _, v := range n.values {
			if v.def == 0 || v.own != ownNot || v.WriteOnly {
				continue
			}
			key := setKey(n.key, v.UUID)
			if polls[key] = b.polls[key]; polls[key].IsZero() && b.pollDelay(v) != "0" {
				polls[key] = now
			}
		}
	}
	for key, known := range b.beats {
		if is, still := beats[key]; known.said != "" && (!still || is.hadd != known.hadd) {
			b.gone = append(b.gone, known.hadd)
		}
	}
	b.beats, b.polls = beats, polls
}

// Next returns when something is due.
func (b *bridge) Next() time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if len(b.gone) > 0 {
		return b.now()
	}
	for _, known := range b.beats {
		sooner(known.next)
	}
	for _, t := range b.polls {
		sooner(t)
	}
	for _, p := range b.pending {
		sooner(p.until)
	}
	return next
}

// Due returns the values and heartbeats whose time has come: values first, as Janitoo does. A value without data is told as soon as it has
// some (Said).
func (b *bridge) Due(h reports.Host, now time.Time) (out []reports.Message) {
	b.build(h)
	for _, hadd := range b.gone {
		if b.at(hadd) == nil {
			out = append(out, beatOf(hadd, wire.Offline))
		}
	}
	b.gone = nil
	for _, n := range b.nodes {
		for _, v := range n.values {
			key := setKey(n.key, v.UUID)
			if at := b.polls[key]; at.IsZero() || at.After(now) {
				continue
			}
			b.polls[key] = after(now, b.pollDelay(v))
			if told := slices.ContainsFunc(v.indexes(), func(i int) bool { return v.data(b, i) != nil }); told {
				out = append(out, b.tell(v)...)
			}
		}
	}
	for _, n := range b.nodes {
		if known := b.beats[n.key]; !known.next.IsZero() && !known.next.After(now) {
			out = append(out, beatOf(n.hadd, n.state))
			b.beats[n.key] = beat{n.hadd, n.state, after(now, n.heartbeat(b))}
		}
	}
	return append(out, b.expire(now)...)
}

// heartbeat returns the node's heartbeat delay in seconds.
func (n *node) heartbeat(b *bridge) json.Number {
	return b.delay(n, "heartbeat", n.conf.Heartbeat, 30)
}

// indexes returns the positions of the instances.
func (v *value) indexes() (out []int) {
	for i := range v.instances {
		out = append(out, i)
	}
	return out
}

// after returns the time so many seconds from now; the zero time for 0: never.
func after(now time.Time, delay json.Number) time.Time {
	s, err := delay.Float64()
	if err != nil || s <= 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(s * float64(time.Second)))
}
