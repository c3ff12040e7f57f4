package network

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rollcall/reports/janitoo/wire"
)

func primary() Config   { return Config{Role: Primary, Own: "0001/0000"} }
func secondary() Config { return Config{Role: Secondary, Own: "0002/0000"} }

// capturedStates returns the machine's states as the real one printed them, up to a time.
func capturedStates(t *testing.T, file string, until string) (out []string) {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(doc)) {
		f := strings.Fields(line)
		if len(f) > 3 && strings.HasPrefix(f[1], "state=") {
			s := strings.TrimPrefix(f[1], "state=") + " " + strings.ToLower(strings.TrimPrefix(f[2], "failed="))
			if s != "STOPPED false" {
				out = append(out, s)
			}
		}
		if f[0] == until {
			return out
		}
	}
	t.Fatalf("%s has nothing at %s", file, until)
	return nil
}

// A primary goes through the states of the real one, and has the same map, in less than a second.
func TestPrimary(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agents = []agent{realControllers(t)}
	n := w.start("p", primary())
	if !w.run(time.Second, func() bool { return n.Info().Complete }) {
		t.Fatalf("not complete after a second: %+v", n.Info())
	}
	if diff := cmp.Diff(w.machine("p"), capturedStates(t, "net_primary.txt", "19.22")); diff != "" {
		t.Errorf("states (-got +captured):\n%s", diff)
	}
	got := fmt.Sprintf("nodes=%d", len(n.Nodes()))
	for _, info := range []string{wire.InfoUsers, wire.InfoConfigs, wire.InfoBasics, wire.InfoSystems, wire.InfoCommands} {
		nodes, values, instances := n.Count(info)
		got += fmt.Sprintf(" (%d, %d, %d)", nodes, values, instances)
	}
	// users, configs, basics and commands as net_primary.txt counts them; of systems it counts the nodes.
	if want := "nodes=17 (9, 37, 37) (17, 109, 116) (6, 12, 19) (17, 51, 51) (1, 1, 1)"; got != want {
		t.Errorf("map has %s, want %s", got, want)
	}
	for _, node := range n.Nodes() {
		states, _ := w.states("p", node.Hadd)
		want := "[PENDING ONLINE]"
		if node.Hadd == "0021/0002" {
			want = "[PENDING OFFLINE]" // and not ONLINE, as the real one had it
		}
		if got := fmt.Sprint(states); got != want {
			t.Errorf("node %s was %s, want %s", node.Hadd, got, want)
		}
	}
	info := n.Info()
	if !info.IsPrimary || info.IsSecondary || info.IsFailed || info.HomeID != "Unknown" || info.StateStr != "Network is started" || info.Primary != "0001/0000" {
		t.Errorf("info %+v", info)
	}
}

// replayBeats feeds the heartbeats that real nodes sent, at their times, from the first on.
func replayBeats(t *testing.T, w *world, stop func(m capturedLine) bool) {
	for _, m := range capture(t, sigkill) {
		if !strings.HasPrefix(m.Topic, wire.HeartbeatAll) || m.Topic == wire.HeartbeatAll {
			continue
		}
		if stop(m) {
			return
		}
		if m.at.After(w.now) {
			w.run(m.at.Sub(w.now), nil)
		}
		w.publish(m.Message)
	}
}

// The nodes of a server that was killed are PENDING and FAILED as the real primary had the one of them, both at the times of that
// one; nobody else's state changes while they beat, and in the end all say OFFLINE themselves.
func TestSigkill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agents = []agent{realControllers(t)}
	n := w.start("p", primary())
	replayBeats(t, w, func(capturedLine) bool { return false })
	const lastBeat = 1795335141.8 - 1795335118 // of 1118
	for _, hadd := range []wire.Hadd{"1118/0000", "1118/0001"} {
		states, at := w.states("p", hadd)
		if got := fmt.Sprint(states); got != "[PENDING ONLINE PENDING FAILED]" {
			t.Fatalf("node %s was %s", hadd, got)
		}
		for i, want := range []float64{18.9, 37.9} { // measured, JANITOO.md §4
			if d := at[i+2] - lastBeat; d < want-2 || d > want+2 {
				t.Errorf("node %s was %s %.1f s after its last beat, the real one after %.1f s", hadd, states[i+2], d, want)
			}
		}
	}
	var dispatched []string
	for _, m := range w.seen {
		if m.Topic == wire.HeartbeatAll {
			dispatched = append(dispatched, string(m.Payload))
		}
	}
	slices.Sort(dispatched)
	want := []string{`{"add_ctrl":1118,"add_node":0,"state":"FAILED"}`, `{"add_ctrl":1118,"add_node":0,"state":"PENDING"}`,
		`{"add_ctrl":1118,"add_node":1,"state":"FAILED"}`, `{"add_ctrl":1118,"add_node":1,"state":"PENDING"}`}
	if diff := cmp.Diff(dispatched, want); diff != "" {
		t.Errorf("dispatched (-got +want):\n%s", diff)
	}
	for _, node := range n.Nodes() {
		want := wire.Offline
		if node.Hadd.Ctrl() == 1118 {
			want = wire.Failed
		}
		if node.State != want {
			t.Errorf("node %s is %s at the end, want %s", node.Hadd, node.State, want)
		}
	}
}

// A week later a node is DEAD, a day more and it is gone, with all that it had.
func TestDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agents = []agent{fleet(t, 1)}
	n := w.start("p", primary())
	w.run(5*time.Minute, nil)
	all := func(s wire.State) bool {
		return !slices.ContainsFunc(n.Nodes(), func(x wire.Node) bool { return x.State != s })
	}
	w.now = epoch.Add(deadAfter - time.Minute)
	if w.publish(n.Tick(w.now)...); !all(wire.Failed) {
		t.Errorf("after less than a week: %v", n.Nodes())
	}
	w.run(2*time.Minute, func() bool { return all(wire.Dead) })
	if d := w.now.Sub(epoch); d < deadAfter || d > deadAfter+time.Minute {
		t.Errorf("all are dead after %v", d)
	}
	states, _ := w.states("p", "1000/0001")
	if got := fmt.Sprint(states); got != "[PENDING ONLINE PENDING FAILED DEAD]" {
		t.Errorf("the node was %s", got)
	}
	w.now = epoch.Add(forgetAfter - time.Minute)
	if w.publish(n.Tick(w.now)...); n.Info().NodesCount != 5 {
		t.Error("they are dropped at once")
	}
	w.run(2*time.Minute, func() bool { return n.Info().NodesCount == 0 })
	if i := n.Info(); i.NodesCount != 0 || i.ValuesCount != 0 || n.store.bytes != 0 {
		t.Errorf("in the end there are %d nodes, %d values, %d bytes", i.NodesCount, i.ValuesCount, n.store.bytes)
	}
}

// Without a primary a secondary goes the way of the real one, and stands in for it at the end; 1,000 nodes are there in less than
// five seconds.
func TestSecondaryAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agents = []agent{fleet(t, 200)}
	n := w.start("s", secondary())
	if !w.run(5*time.Second, func() bool { return n.Info().Complete }) {
		t.Fatalf("not complete after 5 s: %+v", n.Info())
	}
	t.Logf("1,000 nodes without a primary: %v", w.now.Sub(epoch))
	want := capturedStates(t, "net_secondary.txt", "23.79")
	want = slices.Insert(want, len(want)-1, "DISPATCH true") // ours: it stands in
	if diff := cmp.Diff(w.machine("s"), want); diff != "" {
		t.Errorf("states (-got +captured):\n%s", diff)
	}
	if i := n.Info(); i.NodesCount != 1000 || i.ValuesCount != 4000 || !i.IsFailed || i.Primary != "0002/0000" {
		t.Errorf("info %+v", i)
	}
}

// With a primary, a secondary has 1,000 nodes and all six kinds of values in less than a second, and all of it alike.
func TestSecondaryWithPrimary(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agents = []agent{fleet(t, 200)}
	p := w.start("p", primary())
	if !w.run(time.Second, func() bool { return p.Info().Complete }) {
		t.Fatalf("primary is not complete after a second: %+v", p.Info())
	}
	w.agents = nil // from here on nobody but the primary answers
	start := w.now
	s := w.start("s", secondary())
	if !w.run(time.Second, func() bool { return s.Info().Complete }) {
		t.Fatalf("secondary is not complete after a second: %+v", s.Info())
	}
	t.Logf("1,000 nodes with a primary: primary %v, secondary %v", start.Sub(epoch), w.now.Sub(start))
	if !reflect.DeepEqual(s.Nodes(), p.Nodes()) {
		t.Error("the secondary's nodes are not the primary's")
	}
	for hadd, e := range p.store.nodes {
		if !reflect.DeepEqual(s.store.nodes[hadd].values, e.values) || len(e.values) != 4 {
			t.Errorf("of %s the secondary has %v, the primary %v", hadd, s.store.nodes[hadd].values, e.values)
		}
	}
	if diff := cmp.Diff(w.machine("s"), []string{"RESOLV false", "HEARTBEAT false", "STARTED false"}); diff != "" {
		t.Errorf("states (-got +want):\n%s", diff)
	}
	for i, m := range w.seen {
		if !strings.HasPrefix(m.Topic, wire.ResolvReplyRoot) || i%20 > 0 {
			continue
		}
		r, err := wire.ParseReply(m.Payload)
		if err != nil {
			t.Fatal(err)
		}
		hadds := map[wire.Hadd]bool{}
		for _, v := range r.Values {
			hadds[v.Hadd] = true
		}
		if len(r.Nodes) > maxEntries || len(hadds) > maxEntries || m.Topic != "/dhcp/resolv/reply/0002/0000" {
			t.Fatalf("a piece on %s has %d nodes and values of %d", m.Topic, len(r.Nodes), len(hadds))
		}
	}
}

// A secondary that starts while its primary does not know all yet, such as after a power cut, asks for the rest itself.
func TestSecondaryOfIncompletePrimary(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := fleet(t, 3)
	late := true
	w.agents = []agent{func(m Message) []Message {
		if late && m.Topic != wire.BroadcastRequest {
			return nil // it still starts
		}
		var out []Message
		for _, a := range all(m) {
			if !late || strings.Contains(string(a.Payload), `"request_info_nodes"`) {
				out = append(out, a)
			}
		}
		return out
	}}
	p := w.start("p", primary())
	w.run(20*time.Second, func() bool { return p.Info().State == Started })
	s := w.start("s", secondary())
	w.run(time.Second, nil)
	late = false
	w.run(30*time.Second, nil)
	_, got, _ := s.Count(wire.InfoBasics)
	if _, want, _ := p.Count(wire.InfoBasics); got != want || want == 0 || !s.Info().Complete {
		t.Errorf("the secondary has %d values, the primary %d; %+v", got, want, s.Info())
	}
}

// beats publishes what the real primary sent of itself, as seldom as its secondaries' timeout.
func beats(w *world, from string, every time.Duration, times int) {
	for range times {
		w.publish(Message{wire.ResolvHeartbeat, []byte(`{"add_node": "0000", "state": "ONLINE", "add_ctrl": "` + from + `"}`)})
		w.run(every, nil)
	}
}

// The real primary, which beats every 5 s and answers nothing, does not make a secondary flap, whose timeout is 5 s too.
func TestNoFlapping(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agents = []agent{realControllers(t)}
	n := w.start("s", secondary())
	beats(w, "0001", 5010*time.Millisecond, 200)
	if diff := cmp.Diff(w.machine("s"), []string{"RESOLV false", "HEARTBEAT false", "STARTED false"}); diff != "" {
		t.Errorf("states in %v (-got +want):\n%s", w.now.Sub(epoch), diff)
	}
	if i := n.Info(); i.NodesCount != 17 || i.Primary != "0001/0000" {
		t.Errorf("info %+v", i)
	}
	w.run(time.Minute, func() bool { return n.Info().IsFailed })
	if d := w.now.Sub(epoch) - 200*5010*time.Millisecond; d > 15*time.Second {
		t.Errorf("its end is noticed after %v", d)
	}
}

// A secondary takes the place of a primary that is gone, and gives it back: states as the real one's, the map kept all the while.
func TestPromotion(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		will bool
		most time.Duration
	}{"last will": {true, 0}, "silence": {false, 5 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.agents = []agent{fleet(t, 2)}
			w.start("p", primary())
			w.run(time.Second, nil)
			s := w.start("s", secondary())
			w.run(10*time.Second, nil)
			w.log = nil
			gone := w.now
			w.kill("p", tt.will)
			w.run(time.Minute, func() bool { return s.Info().IsFailed })
			if d := w.now.Sub(gone); d > tt.most {
				t.Errorf("the end of the primary is noticed after %v, want %v at most", d, tt.most)
			}
			if s.Info().NodesCount != 10 {
				t.Errorf("%d nodes are left", s.Info().NodesCount)
			}
			w.run(5*time.Second, nil)
			want := capturedStates(t, "net_secondary.txt", "62.12")
			want = want[slices.Index(want, "STARTED true")+5 : len(want)-1] // from its second failure to its second STARTED
			want = slices.Insert(want, len(want)-1, "DISPATCH true")        // ours: it stands in
			if diff := cmp.Diff(w.machine("s"), want); diff != "" {
				t.Errorf("states (-got +captured):\n%s", diff)
			}
			// It does a primary's work: another secondary has the map of it, and learns who it is.
			other := w.start("o", Config{Role: Secondary, Own: "0003/0000"})
			w.run(3*time.Second, nil)
			if i := other.Info(); i.IsFailed || !i.Complete || i.NodesCount != 10 || i.Primary != "0002/0000" {
				t.Errorf("a secondary of the one that stands in: %+v", i)
			}
			// The primary is back.
			w.log = nil
			p := w.start("p", primary())
			w.run(3*time.Second, nil)
			if diff := cmp.Diff(w.machine("s"), []string{"STARTED false", "RESOLV false", "HEARTBEAT false", "STARTED false"}); diff != "" {
				t.Errorf("states when the primary is back (-got +captured):\n%s", diff)
			}
			for name, n := range map[string]*Network{"s": s, "o": other, "p": p} {
				if i := n.Info(); i.Primary != "0001/0000" || !i.Complete || i.IsFailed {
					t.Errorf("%s in the end: %+v", name, i)
				}
			}
			w.run(10*time.Minute, nil)
			if got := w.machine("s"); len(got) != 4 {
				t.Errorf("it does not stay so: %q", got)
			}
		})
	}
}

// Of several secondaries one stands in.
func TestOneStandsIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agents = []agent{fleet(t, 2)}
	w.start("p", primary())
	nets := map[string]*Network{}
	for i := range 5 {
		name := fmt.Sprint("s", i)
		nets[name] = w.start(name, Config{Role: Secondary, Own: wire.NewHadd(9-i, 0)})
	}
	w.run(10*time.Second, nil)
	w.kill("p", true)
	w.run(10*time.Second, nil)
	for name, n := range nets {
		if i := n.Info(); i.Primary != "0005/0000" || i.IsFailed != (name == "s4") || !i.Complete {
			t.Errorf("%s: %+v", name, i)
		}
	}
	w.log = nil
	w.run(10*time.Minute, nil)
	for name := range nets {
		if got := w.machine(name); len(got) > 0 {
			t.Errorf("%s changes: %q", name, got)
		}
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{{}, {Role: "x", Own: "0001/0000"}, {Role: Primary}, {Role: Primary, Own: "1/0"}, {Role: Primary, Own: "0001/0000", ResolvTimeout: -1},
		{Role: Primary, Own: "0001/0000", Limits: Limits{Nodes: -1}}} {
		if n, err := New(c); err == nil || n != nil {
			t.Errorf("New(%+v) has no error", c)
		}
	}
}

// A network that is stopped does nothing, says that it goes, and begins anew with the map that it has.
func TestStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agents = []agent{fleet(t, 1)}
	n := w.start("p", primary())
	w.run(time.Second, nil)
	out := n.Stop(w.now)
	if len(out) != 1 || out[0].Topic != wire.ResolvHeartbeat || !strings.Contains(string(out[0].Payload), `"OFFLINE"`) {
		t.Errorf("Stop says %q", out)
	}
	if !n.Next().IsZero() || n.Tick(w.now.Add(time.Hour)) != nil || n.Heard(w.now, wire.ResolvRequest, wire.Discovery(wire.InfoNodes, "0002/0000").Marshal()) != nil {
		t.Error("a stopped network goes on")
	}
	if i := n.Info(); i.State != Stopped || i.StateStr != "Network is stopped" || i.NodesCount != 5 || i.Primary != "" {
		t.Errorf("info %+v", i)
	}
	w.publish(n.Start(w.now)...)
	if !w.run(time.Second, func() bool { return n.Info().Complete }) {
		t.Errorf("after a new start: %+v", n.Info())
	}
}
