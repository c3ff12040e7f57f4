package network

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/reports/janitoo/wire"
)

var epoch = time.Unix(1_795_335_118, 0)

// world is a broker, its clients and a clock, all in one goroutine.
type world struct {
	t       testing.TB
	now     time.Time
	nets    map[string]*Network
	order   []string
	agents  []agent
	log     []string // what the networks have done, "time name event"
	seen    []sent   // every message
	filters map[string][]string
}

type sent struct {
	at time.Time
	Message
}

// agent answers a message.
type agent func(m Message) []Message

func newWorld(t testing.TB) *world {
	return &world{t: t, now: epoch, nets: map[string]*Network{}, filters: map[string][]string{}}
}

// start adds a network and starts it.
func (w *world) start(name string, c Config) *Network {
	w.t.Helper()
	n, err := New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.nets[name] = n
	w.order = append(w.order, name)
	w.filters[name] = n.Filters()
	w.publish(n.Start(w.now)...)
	return n
}

// kill takes a network away; with its last will, the broker says so.
func (w *world) kill(name string, will bool) {
	n := w.nets[name]
	delete(w.nets, name)
	w.order = slices.DeleteFunc(w.order, func(s string) bool { return s == name })
	if will {
		w.publish(n.Will())
	}
}

// publish delivers messages and all that they bring about, at one moment.
func (w *world) publish(queue ...Message) {
	for i := 0; len(queue) > 0; i++ {
		if i > 1_000_000 {
			w.t.Fatal("the messages do not end")
		}
		m := queue[0]
		queue = queue[1:]
		w.seen = append(w.seen, sent{w.now, m})
		for _, name := range w.order {
			if slices.ContainsFunc(w.filters[name], func(f string) bool { return matches(f, m.Topic) }) {
				queue = append(queue, w.nets[name].Heard(w.now, m.Topic, m.Payload)...)
			}
		}
		for _, a := range w.agents {
			queue = append(queue, a(m)...)
		}
		w.collect()
	}
	w.collect()
}

func matches(filter, topic string) bool {
	if root, all := strings.CutSuffix(filter, "/#"); all {
		return topic == root || strings.HasPrefix(topic, root+"/")
	}
	return filter == topic
}

func (w *world) collect() {
	for _, name := range w.order {
		for _, c := range w.nets[name].Changes() {
			event := fmt.Sprintf("%s %s", c.Hadd, c.Node)
			if c.Machine {
				event = fmt.Sprintf("%s %v", c.State, c.Failed)
			}
			w.log = append(w.log, fmt.Sprintf("%.2f %s %s", w.now.Sub(epoch).Seconds(), name, event))
		}
	}
}

// run lets the time pass until a moment, or until done.
func (w *world) run(d time.Duration, done func() bool) bool {
	end := w.now.Add(d)
	for i := 0; ; i++ {
		if done != nil && done() {
			return true
		}
		next := end
		for _, name := range w.order {
			if t := w.nets[name].Next(); !t.IsZero() && t.Before(next) {
				next = t
			}
		}
		if i > 5_000_000 || next.Before(w.now) {
			w.t.Fatalf("the clock stands still at %v (%v)", w.now.Sub(epoch), next.Sub(w.now))
		}
		w.now = next
		for _, name := range slices.Clone(w.order) {
			if t := w.nets[name].Next(); !t.IsZero() && !t.After(w.now) {
				w.publish(w.nets[name].Tick(w.now)...)
			}
		}
		if !w.now.Before(end) {
			return done != nil && done()
		}
	}
}

// machine returns the states of a network's machine, in order.
func (w *world) machine(name string) (out []string) {
	for _, line := range w.log {
		f := strings.Fields(line)
		if f[1] == name && !strings.Contains(f[2], "/") {
			out = append(out, f[2]+" "+f[3])
		}
	}
	return out
}

// states returns the states of a node in a network, in order, with their times.
func (w *world) states(name string, hadd wire.Hadd) (states []string, at []float64) {
	for _, line := range w.log {
		f := strings.Fields(line + " -")
		if f[1] == name && f[2] == string(hadd) {
			t, err := strconv.ParseFloat(f[0], 64)
			if err != nil {
				w.t.Fatal(err)
			}
			states, at = append(states, f[3]), append(at, t)
		}
	}
	return states, at
}

// capturedLine is a message of a capture.
type capturedLine struct {
	at time.Time
	Message
}

func capture(t testing.TB, file string) (out []capturedLine) {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(doc)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 5)
		if len(f) != 5 {
			continue
		}
		s, err := strconv.ParseFloat(f[0], 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, capturedLine{time.UnixMicro(int64(s * 1e6)), Message{f[3], []byte(f[4])}})
	}
	return out
}

const sigkill = "wire_all_primary_and_sigkill.txt"

// realControllers answer as the real servers did, to whoever asks: byte for byte but for the address of the reply.
func realControllers(t testing.TB) agent {
	const asker = "0001/0000"
	replies := map[string][][]byte{}
	for _, m := range capture(t, sigkill) {
		if m.Topic != wire.BroadcastReplyTopic(asker) {
			continue
		}
		r, err := wire.ParseReply(m.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if r.UUID == wire.InfoNodes && len(replies[r.UUID]) == 5 || len(replies[r.UUID]) == 5 {
			continue // of the second time that the primary has asked
		}
		replies[r.UUID] = append(replies[r.UUID], m.Payload)
	}
	if len(replies) != 6 {
		t.Fatalf("the capture has replies to %d requests", len(replies))
	}
	return func(m Message) (out []Message) {
		if m.Topic != wire.BroadcastRequest {
			return nil
		}
		r, err := wire.ParseRequest(m.Payload)
		if err != nil {
			t.Errorf("request %s: %v", m.Payload, err)
		}
		for _, p := range replies[r.UUID] {
			p = bytes.ReplaceAll(p, []byte(`"reply_hadd": "`+asker), []byte(`"reply_hadd": "`+r.ReplyHadd))
			out = append(out, Message{wire.BroadcastReplyTopic(r.ReplyHadd), p})
		}
		return out
	}
}

// fleet answers as so many controllers of ours, with five nodes each, and four values a node.
func fleet(t testing.TB, controllers int) agent {
	type ctrl struct {
		nodes  []wire.Node
		values []wire.Value
	}
	all := map[int]ctrl{}
	for i := range controllers {
		var c ctrl
		for k := range 5 {
			h := wire.NewHadd(1000+i, k)
			uuid := fmt.Sprintf("host%d__n%d", i, k)
			c.nodes = append(c.nodes, wire.Node{UUID: uuid, OID: "hostsensor.load", Hadd: h, Name: wire.Ptr("Load"), ProductName: "Load statistics", ProductType: "Software component",
				ProductManufacturer: "Janitoo", Capabilities: []int{}, CmdClasses: []int{112, 49}, Heartbeat: "30", ConfigTimeout: "3", State: wire.Online})
			for v, g := range []wire.Genre{wire.System, wire.Config, wire.Basic, wire.User} {
				c.values = append(c.values, wire.Value{UUID: fmt.Sprintf("value%d", v), NodeUUID: uuid, Hadd: h, Label: wire.Ptr("Load"), Help: wire.Ptr("The load average"),
					Data: json.Number("0.31"), Type: 3, Genre: g, CmdClass: 49, ReadOnly: true, Polled: true, PollDelay: "60", EntryName: "sensor_float"})
			}
		}
		all[1000+i] = c
	}
	order := make([]int, 0, controllers)
	for i := range controllers {
		order = append(order, 1000+i)
	}
	made := map[string][]byte{} // answers by controller, request and asker
	return func(m Message) (out []Message) {
		asked := order
		if hadd, ok := wire.ParseRequestTopic(m.Topic); ok {
			if _, mine := all[hadd.Ctrl()]; !mine {
				return nil
			}
			asked = []int{hadd.Ctrl()}
		} else if m.Topic != wire.BroadcastRequest {
			return nil
		}
		r, err := wire.ParseRequest(m.Payload)
		if err != nil {
			t.Errorf("request %s: %v", m.Payload, err)
		}
		genre, _ := wire.InfoGenre(r.UUID)
		topic := wire.BroadcastReplyTopic(r.ReplyHadd)
		if m.Topic != wire.BroadcastRequest {
			topic = wire.ReplyTopic(r.ReplyHadd)
		}
		for _, i := range asked {
			key := fmt.Sprint(i, string(m.Payload))
			if made[key] != nil {
				out = append(out, Message{topic, made[key]})
				continue
			}
			c := all[i]
			values := slices.DeleteFunc(slices.Clone(c.values), func(v wire.Value) bool { return v.Genre != genre })
			made[key] = wire.MarshalReply(r, c.nodes, values)
			out = append(out, Message{topic, made[key]})
		}
		return out
	}
}
