// Package network keeps the map of a Janitoo network: its nodes, their values and states, as a primary or a secondary network
// controller does (JANITOO.md §4, §5). It is a state machine without goroutines, clock or I/O: messages and the time go in, messages
// come out.
//
// What it does better than the original: the map is complete within a second, because a step ends when every known controller has
// answered; all six requests of a secondary are answered; every node ages alike, by what was heard of it alone; a primary whose beats
// come as seldom as the timeout keeps its secondaries calm; a secondary takes the primary's place when that is gone, and gives it back.
package network

import (
	"fmt"
	"strings"
	"time"

	"rollcall/reports/janitoo/wire"
)

// Role is what a network controller does for others.
type Role string

// The roles.
const (
	Primary   Role = "primary"   // asks all, tells of states, answers secondaries
	Secondary Role = "secondary" // asks the primary, and takes its place when it is gone
)

// State is the state of the machine, in the original's words.
type State string

// The states (JANITOO.md §5.1).
const (
	Stopped           State = "STOPPED"
	BroadcastNodes    State = "BROADCAST_NODES"
	BroadcastSystems  State = "BROADCAST_SYSTEMS"
	BroadcastCommands State = "BROADCAST_COMMANDS"
	BroadcastConfigs  State = "BROADCAST_CONFIGS"
	BroadcastBasics   State = "BROADCAST_BASICS"
	BroadcastUsers    State = "BROADCAST_USERS"
	Resolv            State = "RESOLV"
	HeartbeatDiscover State = "HEARTBEAT_DISCOVER"
	Heartbeat         State = "HEARTBEAT"
	Dispatch          State = "DISPATCH"
	Started           State = "STARTED"
)

// Text returns the original's sentence for the state.
func (s State) Text() string {
	switch s {
	case Started:
		return "Network is started"
	case BroadcastNodes:
		return "Broadcasting nodes"
	case BroadcastSystems:
		return "Broadcasting system values"
	case BroadcastCommands:
		return "Broadcasting command values"
	case BroadcastConfigs:
		return "Broadcasting config values"
	case BroadcastBasics:
		return "Broadcasting basic values"
	case BroadcastUsers:
		return "Broadcasting user values"
	case Resolv:
		return "Resolving nodes"
	case HeartbeatDiscover:
		return "Start headbeart discovering" // sic
	case Heartbeat:
		return "Start headbeart listening"
	case Dispatch:
		return "Start headbeart dispatch"
	}
	return "Network is stopped"
}

// Times.
const (
	DefaultResolvTimeout = 5 * time.Second        // the original's resolv_timeout
	quietNodes           = 300 * time.Millisecond // after the last answer with nodes, nobody else is waited for; measured: 60 ms
	quietValues          = 300 * time.Millisecond // the same for values, where a known controller says nothing
	firstSign            = 2 * time.Second        // at the start, for a sign of a primary: it answers within milliseconds
	look                 = time.Second            // how often ages are looked at
	overdue              = 1.1                    // times the heartbeat
	looks                = 3                      // that a node may be overdue before it is PENDING, then FAILED
	deadAfter            = 7 * 24 * time.Hour
	forgetAfter          = 8 * 24 * time.Hour // a dead node is dropped then
	beatsPerTimeout      = 3
	missedBeats          = 3 // of a primary, before it is gone
	longestPeriod        = time.Minute
)

// Config says what a network controller is.
type Config struct {
	Role          Role
	Own           wire.Hadd     // its address; answers come to it
	HomeID        string        // "" is Unknown
	ResolvTimeout time.Duration // how long a primary may be silent; 0: DefaultResolvTimeout
	Limits        Limits
}

// Limits bound the map. 0 is the default.
type Limits struct {
	Nodes  int // 4,096
	Values int // 65,536, instances counted
	Bytes  int // of nodes and values, 32 MiB
}

func (l *Limits) fill() {
	for _, f := range []struct {
		v   *int
		def int
	}{{&l.Nodes, 4096}, {&l.Values, 65_536}, {&l.Bytes, 32 << 20}} {
		if *f.v == 0 {
			*f.v = f.def
		}
	}
}

// Message is what is to be published: QoS 0, not retained.
type Message struct {
	Topic   string
	Payload []byte
}

// Change is something that has happened: Machine, where the machine itself has changed, else the node and its new state.
type Change struct {
	Machine bool
	State   State // of the machine
	Failed  bool
	Hadd    wire.Hadd
	Node    wire.State // "" where the node is dropped
}

// Network is the map and the machine that keeps it. It is not safe for concurrent use.
type Network struct {
	cfg     Config
	state   State
	failed  bool
	store   store
	ask     ask
	primary peer
	step    step
	duties  duties

	now     time.Time // of the call that is worked off
	out     []Message
	changes []Change
}

// step is the state that is waited in.
type step struct {
	info  string    // what was asked for
	until time.Time // it ends then at the latest; zero: it does not end by itself
}

// New returns a stopped network.
func New(c Config) (*Network, error) {
	if c.Role != Primary && c.Role != Secondary {
		return nil, fmt.Errorf("network role %q: primary or secondary", c.Role)
	}
	if !c.Own.Valid() {
		return nil, fmt.Errorf("network address %.40q is no CCCC/NNNN", c.Own)
	}
	if c.ResolvTimeout < 0 || c.Limits.Nodes < 0 || c.Limits.Values < 0 || c.Limits.Bytes < 0 {
		return nil, fmt.Errorf("network timeout %s and limits %+v: must not be negative", c.ResolvTimeout, c.Limits)
	}
	if c.ResolvTimeout == 0 {
		c.ResolvTimeout = DefaultResolvTimeout
	}
	if c.HomeID == "" {
		c.HomeID = "Unknown"
	}
	c.Limits.fill()
	return &Network{cfg: c, state: Stopped, store: newStore(c.Limits), ask: newAsk()}, nil
}

// Filters returns the topics that the network listens to.
func (n *Network) Filters() []string {
	own := string(n.cfg.Own)
	return []string{wire.BroadcastReplyTopic(own), wire.ReplyTopic(own), wire.HeartbeatFilter, wire.ResolvFilter, wire.ValuesFilter}
}

// Will returns what the broker is to publish when the connection of a network controller is lost: secondaries take its place at
// once. It comes from a secondary too, of which nobody heeds it unless it stands in for the primary.
func (n *Network) Will() Message { return n.resolvBeat(wire.Offline) }

// begin starts a call.
func (n *Network) begin(now time.Time) { n.now, n.out = now, nil }

// Start begins to map, from STOPPED.
func (n *Network) Start(now time.Time) []Message {
	n.begin(now)
	n.duties.look = now.Add(look)
	if n.cfg.Role == Primary {
		n.beat() // secondaries must not stand in meanwhile
		n.broadcast(wire.InfoNodes)
	} else {
		n.resolve(firstSign)
	}
	return n.out
}

// Stop ends all. The map stays; Start begins anew.
func (n *Network) Stop(now time.Time) []Message {
	n.begin(now)
	if n.state != Stopped && n.acting() {
		n.send(n.resolvBeat(wire.Offline))
	}
	n.failed, n.step, n.duties, n.primary = false, step{}, duties{}, peer{}
	n.enter(Stopped)
	return n.out
}

// Next returns when Tick is to be called at the latest; zero: not before something is heard.
func (n *Network) Next() time.Time {
	if n.state == Stopped {
		return time.Time{}
	}
	next := n.duties.look
	var ask time.Time
	if n.state == Started { // nobody is asked alone before
		ask = n.ask.soonest
	}
	for _, t := range []time.Time{n.step.until, n.duties.beat, n.duties.pace, n.lostAt(), ask} {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	return next
}

// Tick does what is due.
func (n *Network) Tick(now time.Time) []Message {
	n.begin(now)
	if n.state == Stopped {
		return nil
	}
	if due(n.step.until, now) {
		n.stepEnds()
	}
	if due(n.lostAt(), now) {
		n.fail()
	}
	if due(n.duties.beat, now) {
		n.beat()
	}
	if due(n.duties.pace, now) {
		n.answerOn()
	}
	if due(n.duties.look, now) {
		n.duties.look = now.Add(look)
		n.age()
	}
	n.askOn()
	return n.out
}

// due reports whether a moment has come; zero never does.
func due(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// Heard takes a message on one of Filters. What can't be read is passed over.
func (n *Network) Heard(now time.Time, topic string, payload []byte) []Message {
	n.begin(now)
	if n.state == Stopped {
		return nil
	}
	own := string(n.cfg.Own)
	switch {
	case topic == wire.BroadcastReplyTopic(own), topic == wire.ReplyTopic(own):
		n.heardReply(payload, false)
	case topic == wire.ResolvReplyRoot+own, topic == wire.ResolvBroadcast:
		n.heardReply(payload, true)
	case topic == wire.ResolvHeartbeat:
		n.heardPrimary(topic, payload)
	case topic == wire.ResolvRequest:
		n.heardResolv(payload)
	case strings.HasPrefix(topic, wire.HeartbeatAll):
		n.heardHeartbeat(topic, payload)
	default:
		n.heardValue(topic, payload)
	}
	return n.out
}

func (n *Network) send(m Message) { n.out = append(n.out, m) }

// request publishes a discovery request.
func (n *Network) request(topic, info string) {
	n.send(Message{topic, wire.Discovery(info, n.cfg.Own).Marshal()})
}

// enter changes the state.
func (n *Network) enter(s State) {
	n.state = s
	n.say()
}

// say notes a change of the machine.
func (n *Network) say() { n.note(Change{Machine: true, State: n.state, Failed: n.failed}) }

// maxChanges bounds what nobody fetches.
const maxChanges = 65_536

func (n *Network) note(c Change) {
	if len(n.changes) < maxChanges {
		n.changes = append(n.changes, c)
	}
}

// Changes returns what has happened since the last call.
func (n *Network) Changes() []Change {
	out := n.changes
	n.changes = nil
	return out
}
