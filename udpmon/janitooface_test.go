package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports/janitoo/janitootest"
	"rollcall/reports/janitoo/wire"
)

// jntClient is a program of Janitoo's at a broker: it asks as jnt_query does, and hears all.
type jntClient struct {
	t    testing.TB
	c    *bus.Client
	said chan bus.Message
}

func newJntClient(t testing.TB, url string) *jntClient {
	t.Helper()
	c := bustest.Dial(t, url)
	j := &jntClient{t, c, make(chan bus.Message, 4096)}
	for _, filter := range []string{"/values/#", wire.HeartbeatFilter, "/nodes/9999/9990/reply", "/broadcast/reply/9999/9990"} {
		if err := c.Subscribe(within(t), 0, func(m bus.Message) { j.said <- m }, filter); err != nil {
			t.Fatal(err)
		}
	}
	return j
}

// hear waits for a message, and holds all that is said until then to Janitoo's rules.
func (j *jntClient) hear(what string, is func(bus.Message) bool) bus.Message {
	j.t.Helper()
	for {
		m := next(j.t, j.said, what)
		if err := janitootest.Check(m.Topic, m.Payload); err != nil || m.Retained {
			j.t.Errorf("%s, retained %v: %v\n%s", m.Topic, m.Retained, err, m.Payload)
		}
		if is(m) {
			return m
		}
	}
}

// ask publishes a request.
func (j *jntClient) ask(topic string, r wire.Request) {
	j.t.Helper()
	if err := j.c.Publish(within(j.t), bus.Message{Topic: topic, Payload: r.Marshal()}); err != nil {
		j.t.Fatal(err)
	}
}

// nodes asks for the nodes until there are so many, and returns them as "hadd uuid name state".
func (j *jntClient) nodes(n int) (out []string) {
	j.t.Helper()
	eventually(j.t, "nodes", n, func() int {
		j.ask(wire.BroadcastRequest, wire.Discovery(wire.InfoNodes, wire.DefaultReplyHadd))
		m := j.hear("nodes", func(m bus.Message) bool { return m.Topic == "/broadcast/reply/9999/9990" })
		r, err := wire.ParseReply(m.Payload)
		if err != nil {
			j.t.Fatal(err)
		}
		out = nil
		for _, n := range r.Nodes {
			out = append(out, fmt.Sprintf("%s %s %s %s", n.Hadd, n.UUID, wire.Text(n.Name), n.State))
		}
		return len(out)
	})
	return out
}

// set sets a value, and returns the data and the help of the answer.
func (j *jntClient) set(h wire.Hadd, genre wire.Genre, uuid string, class int, data any) string {
	j.t.Helper()
	j.ask(wire.RequestTopic(h), wire.Request{UUID: uuid, Genre: genre, CmdClass: &class, Hadd: h, ReplyHadd: "9999/9990", Data: data, WriteOnly: true, ReadOnly: true})
	m := j.hear("answer of "+uuid, func(m bus.Message) bool {
		return m.Topic == wire.ValueTopic(genre, h, uuid) && strings.Contains(string(m.Payload), `"reply_hadd":"9999/9990"`)
	})
	all, err := wire.ParseValues(m.Payload)
	if err != nil {
		j.t.Fatal(err)
	}
	return fmt.Sprint(all[0].Data, ", ", wire.Text(all[0].Help))
}

// beat waits for a heartbeat.
func (j *jntClient) beat(h wire.Hadd, s wire.State) {
	j.t.Helper()
	j.hear(fmt.Sprint(h, " ", s), func(m bus.Message) bool { return m.Topic == wire.HeartbeatTopic(h) && string(m.Payload) == string(s) })
}

// all waits for a heartbeat of each, in any order.
func (j *jntClient) all(s wire.State, want ...wire.Hadd) {
	j.t.Helper()
	said := map[string]bool{}
	j.hear(fmt.Sprint(want, " ", s), func(m bus.Message) bool {
		if string(m.Payload) == string(s) {
			said[m.Topic] = true
		}
		return !slices.ContainsFunc(want, func(h wire.Hadd) bool { return !said[wire.HeartbeatTopic(h)] })
	})
}

// TestJanitoo follows a host with a real service as Janitoo's programs see it: nodes, a switch that is set, a heartbeat that is set, a
// clean stop, and a start after which all that was set holds.
func TestJanitoo(t *testing.T) {
	t.Parallel()
	broker := bustest.Start(t)
	with := withFaces(t, "{janitoo: {hadd: 0121, bus: pi, location: Attic, nodes: {lamp: {of: gpio/led, name: Lamp}}}}")
	cfg := testConfig(t)
	change := func(c *config.Config) { with(c); c.Broker = config.Broker{URL: broker} }
	change(&cfg)
	j := newJntClient(t, broker)
	b := startWith(t, cfg)
	j.beat("0121/0000", wire.Online)
	chip := b.gpio()
	if got, want := fmt.Sprint(j.nodes(2)), "[0121/0000 pi Default bus name controller ONLINE 0121/0001 pi__lamp Lamp ONLINE]"; got != want {
		t.Errorf("nodes are %s, want %s", got, want)
	}
	if got, want := j.set("0121/0001", wire.User, "switch", wire.CmdSwitchBinary, "on"), "on, A switch. Valid values are : ['on', 'off']"; got != want {
		t.Errorf("set of the switch: %s, want %s", got, want)
	}
	if chip.Level(3) != 1 {
		t.Error("the line is low")
	}
	if got := j.set("0121/0001", wire.User, "switch", wire.CmdSwitchBinary, "maybe"); !strings.HasPrefix(got, "on, error: ") {
		t.Errorf("a bad set: %s", got)
	}
	if got := j.set("0121/0001", wire.System, "heartbeat", wire.CmdConfiguration, json.Number("1")); got != "1, The heartbeat delay in seconds" {
		t.Errorf("set of the heartbeat: %s", got)
	}
	j.beat("0121/0001", wire.Online)
	j.beat("0121/0001", wire.Online)
	if got := j.set("0121/0001", wire.Config, "name", wire.CmdConfiguration, "Pins"); got != "Pins, The name of the node" {
		t.Errorf("set of the name: %s", got)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	j.all(wire.Offline, "0121/0000", "0121/0001")

	b = startWith(t, cfg)
	j.beat("0121/0000", wire.Online) // it hears requests from then on
	if got, want := fmt.Sprint(j.nodes(2)), "[0121/0000 pi Default bus name controller ONLINE 0121/0001 pi__lamp Pins ONLINE]"; got != want {
		t.Errorf("after a restart nodes are %s, want %s", got, want)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	j.all(wire.Offline, "0121/0000", "0121/0001")
}

// TestJanitooControllers: services can be nodes of a controller of their own, which has a connection and a last will of its own.
func TestJanitooControllers(t *testing.T) {
	t.Parallel()
	broker := bustest.Start(t)
	with := withFaces(t, "{janitoo: {hadd: 0121, controllers: {tutorial: {hadd: 0225, bus: tutorial3, services: [gpio]}}}}")
	cfg := testConfig(t)
	with(&cfg)
	cfg.Broker = config.Broker{URL: broker}
	j := newJntClient(t, broker)
	b := startWith(t, cfg)
	b.retain("/pi1/gpio/description", door)
	every := []wire.Hadd{"0121/0000", "0225/0000", "0225/0001"}
	j.all(wire.Online, every...)
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	j.all(wire.Offline, every...)
}
