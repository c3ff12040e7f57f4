package janitoo

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/reports"
	"rollcall/reports/janitoo/wire"
)

// request is a get, or with data a set, as jnt_query sends it.
func request(h wire.Hadd, genre wire.Genre, uuid string, class int, data any) (topic, payload string) {
	r := wire.Request{UUID: uuid, Genre: genre, CmdClass: &class, Hadd: h, ReplyHadd: "9999/9990", Data: data, WriteOnly: data != nil, ReadOnly: true}
	return wire.RequestTopic(h), string(r.Marshal())
}

// one returns the only value of an answer on the value's topic.
func one(t testing.TB, out []reports.Message) wire.Value {
	t.Helper()
	if len(out) == 0 || !strings.HasPrefix(out[len(out)-1].Topic, "/values/") {
		t.Fatalf("answers %+v", out)
	}
	all, err := wire.ParseValues([]byte(out[len(out)-1].Payload))
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	return all[0]
}

// set asks for a set of an own value and returns the answer.
func (w world) set(t testing.TB, b *bridge, h wire.Hadd, genre wire.Genre, uuid string, data any) wire.Value {
	t.Helper()
	topic, payload := request(h, genre, uuid, wire.CmdConfiguration, data)
	return one(t, w.ask(t, b, topic, payload))
}

// due moves the clock to the next thing that is due, and returns it.
func (w world) due(t testing.TB, b *bridge, c *clock) []reports.Message {
	t.Helper()
	next := b.Next()
	if next.IsZero() {
		t.Fatal("nothing is due")
	}
	if next.After(c.at) {
		c.at = next
	}
	out := b.Due(w.host, c.at)
	check(t, out...)
	return out
}

// during returns what is said within a time, by topic, with when.
func (w world) during(t testing.TB, b *bridge, c *clock, d time.Duration) map[string][]time.Duration {
	t.Helper()
	from, out := c.at, map[string][]time.Duration{}
	for !b.Next().IsZero() && b.Next().Before(from.Add(d)) {
		for _, m := range w.due(t, b, c) {
			out[m.Topic] = append(out[m.Topic], c.at.Sub(from))
		}
	}
	c.at = from.Add(d)
	return out
}

// TestHeartbeatsFromTheStart: every node beats at once and then as the configuration says, not every 30 s as Janitoo's do until they are
// asked; one that is set beats anew from that moment.
func TestHeartbeatsFromTheStart(t *testing.T) {
	t.Parallel()
	w := worlds()["0121"]
	b, c := w.start(t, nil)
	b.Stands(w.host, nil)
	got := w.during(t, b, c, 61*time.Second)
	for topic, want := range map[string]string{"/dhcp/heartbeat/0121/0000": "[0s 1m0s]", "/dhcp/heartbeat/0121/0001": "[0s 20s 40s 1m0s]", "/dhcp/heartbeat/0121/0003": "[0s 1m0s]",
		"/values/basic/0121/0001/load": "[0s 1m0s]", "/values/basic/0121/0003/uptime": "[0s]"} {
		if fmt.Sprint(got[topic]) != want {
			t.Errorf("%s at %v, want %s", topic, got[topic], want)
		}
	}
	if got := got["/values/user/0121/0004/voltage"]; got != nil {
		t.Errorf("a value without data is told at %v", got)
	}
	w.set(t, b, "0121/0001", wire.System, "heartbeat", "7")
	w.set(t, b, "0121/0001", wire.Config, "load_poll", "5")
	got = w.during(t, b, c, 15*time.Second)
	if fmt.Sprint(got["/dhcp/heartbeat/0121/0001"]) != "[7s 14s]" || fmt.Sprint(got["/values/basic/0121/0001/load"]) != "[5s 10s]" {
		t.Errorf("after the sets %v", got)
	}
	w.set(t, b, "0121/0001", wire.System, "heartbeat", "0")
	w.set(t, b, "0121/0001", wire.Config, "load_poll", "0")
	if got := w.during(t, b, c, time.Hour); got["/dhcp/heartbeat/0121/0001"] != nil || got["/values/basic/0121/0001/load"] != nil || len(got) < 5 {
		t.Errorf("what was switched off is said: %v", got)
	}
	w.set(t, b, "0121/0001", wire.Config, "load_poll", "5")
	if got := w.during(t, b, c, 6*time.Second); fmt.Sprint(got["/values/basic/0121/0001/load"]) != "[5s]" {
		t.Errorf("raised from 0: %v", got)
	}
}

// TestStates: a service that is offline, or ails, beats OFFLINE at once and goes on to; one that goes says so once; a stop says it for all.
func TestStates(t *testing.T) {
	t.Parallel()
	w := worlds()["0120"]
	b, c := w.start(t, nil)
	b.Stands(w.host, nil)
	w.during(t, b, c, time.Second)
	states := func(out []reports.Message) (said []string) {
		for _, m := range out {
			if rest, ok := strings.CutPrefix(m.Topic, "/dhcp/heartbeat/"); ok {
				said = append(said, rest+" "+m.Payload)
			}
		}
		return said
	}
	w.host.Services = slices.Clone(w.host.Services)
	w.host.Services[0].Error = "the UPS does not answer"
	b.Stands(w.host, nil)
	for range 2 {
		var said []string
		for until := c.at.Add(time.Minute); b.Next().Before(until); {
			said = append(said, states(w.due(t, b, c))...)
		}
		if !slices.Contains(said, "0120/0001 OFFLINE") || !slices.Contains(said, "0120/0000 ONLINE") {
			t.Errorf("ails: %v", said)
		}
		c.at = c.at.Add(time.Minute)
	}
	if got := states(b.Stops()); fmt.Sprint(got) != "[0120/0000 OFFLINE 0120/0001 OFFLINE]" {
		t.Errorf("stops with %v", got)
	}
	check(t, b.Stops()...)
	lost, stops := b.Ends()
	if check(t, lost...); len(lost) != 1 || lost[0].Topic != "/dhcp/heartbeat/" || lost[0].Payload != `{"add_ctrl":120,"add_node":-1,"state":"OFFLINE"}` || stops != nil {
		t.Errorf("Ends = %+v, %+v", lost, stops)
	}
	w.host.Services[0].Error = ""
	b.Stands(w.host, nil)
	if got := states(w.due(t, b, c)); !slices.Contains(got, "0120/0001 ONLINE") {
		t.Errorf("cured: %v", got)
	}
	b.Connected()
	if got := states(w.due(t, b, c)); fmt.Sprint(got) != "[0120/0000 ONLINE 0120/0001 ONLINE]" {
		t.Errorf("connected again: %v", got)
	}
	w.host.Services = nil
	b.Stands(w.host, nil)
	if got := states(w.due(t, b, c)); fmt.Sprint(got) != "[0120/0001 OFFLINE]" {
		t.Errorf("gone: %v", got)
	}
	if got := w.during(t, b, c, time.Hour); got["/dhcp/heartbeat/0120/0001"] != nil || got["/dhcp/heartbeat/0120/0000"] == nil {
		t.Errorf("after it is gone: %v", got)
	}
}

// TestSetsLast: what was set holds after a restart, until the configuration says something else; an address holds from then on only.
func TestSetsLast(t *testing.T) {
	t.Parallel()
	w := worlds()["0121"]
	b, _ := w.start(t, nil)
	for _, s := range []struct {
		h     wire.Hadd
		genre wire.Genre
		uuid  string
		data  any
		want  any
	}{
		{"0121/0001", wire.Config, "name", "testname", "testname"}, {"0121/0000", wire.Config, "location", "My computer", "My computer"},
		{"0121/0001", wire.System, "heartbeat", json.Number("15"), json.Number("15")}, {"0121/0002", wire.System, "heartbeat", "20", "20"},
		{"0121/0001", wire.System, "config_timeout", json.Number("5"), json.Number("5")}, {"0121/0001", wire.Config, "load_poll", "10", json.Number("10")},
		{"0121/0003", wire.System, "hadd", "0121/0033", "0121/0033"},
	} {
		if got := w.set(t, b, s.h, s.genre, s.uuid, s.data); got.Data != s.want || !strings.Contains(wire.Text(got.Help), " ") || got.Extra != nil {
			t.Errorf("set %s to %v: %+v", s.uuid, s.data, got)
		}
	}
	if b.at("0121/0003") == nil {
		t.Error("an address that was set acts before the restart")
	}
	holds := func(w world, memory []byte, want string) {
		t.Helper()
		b, _ := w.start(t, memory)
		out := w.ask(t, b, wire.BroadcastRequest, string(wire.Discovery(wire.InfoNodes, "9999/9990").Marshal()))
		r, err := wire.ParseReply([]byte(out[0].Payload))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range r.Nodes {
			got = append(got, fmt.Sprintf("%s %s, %s, %s, %s", n.Hadd, wire.Text(n.Name), wire.Text(n.Location), n.Heartbeat, n.ConfigTimeout))
		}
		if s := strings.Join(got, "; "); s != want {
			t.Errorf("holds %s\nwant  %s", s, want)
		}
		load := b.at("0121/0001").find("load")
		if got := b.pollDelay(load); got != "10" {
			t.Errorf("load is told every %s s", got)
		}
	}
	const rest = "; 0121/0002 Disks, Docker, 20.0, 3; 0121/0004 lm-sensors, Docker, 60.0, 3; 0121/0033 Uptime, Docker, 60.0, 3"
	holds(w, b.Memory(), "0121/0000 Docker sensors, My computer, 60.0, 3; 0121/0001 testname, Docker, 15.0, 5.0"+rest)
	load := w.o.Nodes["load"]
	load.Name = "Last"
	w.o.Nodes["load"] = load
	holds(w, b.Memory(), "0121/0000 Docker sensors, My computer, 60.0, 3; 0121/0001 Last, Docker, 15.0, 5.0"+rest)
	for _, bad := range []string{"{", `{"numbers":null}`, "[]"} {
		if err := b.Recall([]byte(bad)); err == nil {
			t.Errorf("Recall(%s) is taken", bad)
		}
	}
}

// TestRefusals: where Janitoo is silent we are, and a set that can't be done is answered with what holds and why.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		world, name string
		h           wire.Hadd
		genre       wire.Genre
		uuid        string
		class       int
		data        any
		want        string // in the help; "" for silence
	}{
		{"0121", "unknown node", "0121/0009", wire.Basic, "load", 49, nil, ""},
		{"0121", "unknown value", "0121/0001", wire.Basic, "lode", 49, nil, ""},
		{"0121", "another class", "0121/0001", wire.Basic, "load", 48, nil, ""},
		{"1118", "a config value by its own class", "1118/0001", wire.Config, "test_config", 0, "x", ""},
		{"0121", "another genre", "0121/0001", wire.User, "load", 49, nil, ""},
		{"0121", "read only", "0121/0001", wire.Basic, "load", 49, "3", "error: load can't be set"},
		{"0121", "no number", "0121/0001", wire.System, "heartbeat", 112, "soon", `error: heartbeat: "soon" is no number of seconds`},
		{"0121", "too much", "0121/0001", wire.System, "heartbeat", 112, "3001", "error: heartbeat: 3001 is not from 0 to 3000 seconds"},
		{"0121", "nan", "0121/0001", wire.System, "heartbeat", 112, "nan", "error: heartbeat: \"nan\" is no number of seconds"},
		{"0121", "negative", "0121/0001", wire.Config, "load_poll", 112, "-1", "error: load_poll: -1 is not from 0 to 86400 seconds"},
		{"0121", "an instance's name", "0121/0001", wire.Config, "load_config", 112, "x", "error: load_config is what the service says"},
		{"0121", "long name", "0121/0001", wire.Config, "name", 112, strings.Repeat("x", 2000), "error: name has 2000 bytes"},
		{"0121", "no address", "0121/0001", wire.System, "hadd", 112, "121/1", "error: \"121/1\" is no address CCCC/NNNN"},
		{"0121", "another's address", "0121/0001", wire.System, "hadd", 112, "0121/0002", "error: 0121/0002 is the address of hostsensor__disks"},
		{"0121", "another controller", "0121/0001", wire.System, "hadd", 112, "0122/0002", "error: 0122/0002 is of another controller"},
		{"0121", "a controller as node", "0121/0001", wire.System, "hadd", 112, "0121/0000", "error: 0121/0000: the controller"},
		{"0225", "a pin", "0225/0004", wire.Config, "pin", 112, "5", "error: pin is set in the host's configuration"},
		{"0225", "no option", "0225/0004", wire.Basic, "blink", 12803, "wild", "error: blink/led: \"wild\" is none of"},
		{"0225", "no bool", "0225/0004", wire.Basic, "switch", 37, "maybe", "error: output/led: \"maybe\" is not a value of type bool"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := worlds()[c.world]
			b, _ := w.start(t, nil)
			memory := string(b.Memory())
			topic, payload := request(c.h, c.genre, c.uuid, c.class, c.data)
			out := w.serve(t, b, w.ask(t, b, topic, payload))
			if c.want == "" {
				if len(out) != 0 {
					t.Errorf("answers %+v", out)
				}
				return
			}
			got := one(t, out)
			if !strings.Contains(wire.Text(got.Help), c.want) || len(got.Extra["error"]) == 0 || len(got.Extra["status"]) == 0 || got.Data == c.data {
				t.Errorf("answers %+v, help %s", got, wire.Text(got.Help))
			}
			b2, _ := w.start(t, nil)
			b2.build(w.host)
			if want := string(b2.Memory()); string(b.Memory()) != want && memory != want {
				t.Errorf("keeps %s, want %s", b.Memory(), want)
			}
		})
	}
}

// TestSetsAreCommands: a set of a point is a command to its service, whose result is the answer; a service that is offline, or says
// nothing, is told of in time for jnt_query.
func TestSetsAreCommands(t *testing.T) {
	t.Parallel()
	w := worlds()["0225"]
	b, c := w.start(t, nil)
	topic, payload := request("0225/0004", wire.Basic, "switch", 37, "on")
	out := w.ask(t, b, topic, payload)
	if len(out) != 1 || out[0].Topic != "/pi1/gpio/set/output/led" || out[0].QoS != 1 || out[0].Retained {
		t.Fatalf("a set is %+v", out)
	}
	c.at = c.at.Add(2400 * time.Millisecond)
	got := one(t, w.serve(t, b, out))
	if got.Data != "on" || got.Extra != nil || w.host.Services[3].Values["output/led"] != "ON" {
		t.Errorf("answers %+v", got)
	}
	late, _ := b.Heard(w.host, reports.Message{Topic: b.result(), Payload: `{"id":"1","ok":true}`})
	if len(late) != 0 {
		t.Errorf("a second result is answered: %+v", late)
	}

	w.ask(t, b, topic, payload) // nobody answers
	c.at = c.at.Add(3 * time.Second)
	var said []reports.Message
	for _, m := range b.Due(w.host, c.at) {
		if strings.HasSuffix(m.Topic, "/switch") && strings.Contains(m.Payload, "error") {
			said = append(said, m)
		}
	}
	if check(t, said...); len(said) != 1 || !strings.Contains(said[0].Payload, `"status":503`) {
		t.Errorf("no answer: %+v", said)
	}

	w.host.Services = slices.Clone(w.host.Services)
	w.host.Services[3].Status = reports.Offline
	if got := one(t, w.ask(t, b, topic, payload)); wire.Text(got.Help) != "error: service gpio is offline" {
		t.Errorf("offline: %+v", got)
	}
	if out, _ := b.Heard(w.host, reports.Message{Topic: topic, Payload: payload, Retained: true}); out != nil {
		t.Errorf("a retained request is answered: %+v", out)
	}
}

// TestSetHoldsAtOnce: what a service has answered to a set holds, also where what it publishes comes later; and a node that was told of
// in an answer is OFFLINE at the end even if it has not beaten yet.
func TestSetHoldsAtOnce(t *testing.T) {
	t.Parallel()
	w := worlds()["0225"]
	b, c := w.start(t, nil)
	topic, on := request("0225/0004", wire.Basic, "switch", 37, "on")
	w.ask(t, b, topic, on)
	b.Heard(w.host, reports.Message{Topic: b.result(), Payload: `{"id":"1","ok":true,"data":{"value":true}}`})
	_, get := request("0225/0004", wire.Basic, "switch", 37, nil)
	if got := one(t, w.ask(t, b, topic, get)); got.Data != "on" {
		t.Errorf("after a set to on it is %v", got.Data)
	}
	if w.host.Services[3].Values["output/led"] == "ON" {
		t.Error("the host's own values are changed")
	}
	if n := len(b.Stops()); n != len(b.nodes) {
		t.Errorf("%d of %d nodes are OFFLINE at the end", n, len(b.nodes))
	}
	point, _ := w.host.Services[3].Point("output/led")
	b.Said(w.host.Services[3], point, "OFF") // somebody else has switched it off
	if got := one(t, w.ask(t, b, topic, get)); got.Data != "off" {
		t.Errorf("after a state of OFF it is %v", got.Data)
	}
	w.ask(t, b, topic, on)
	b.Heard(w.host, reports.Message{Topic: b.result(), Payload: `{"id":"2","ok":true,"data":{"value":true}}`})
	c.at = c.at.Add(patience)
	if got := one(t, w.ask(t, b, topic, get)); got.Data != "off" {
		t.Errorf("of a service that never publishes it is %v", got.Data)
	}
}

// TestIndex: an index that a client sends names the instance.
func TestIndex(t *testing.T) {
	t.Parallel()
	w := worlds()["0121"]
	b, _ := w.start(t, nil)
	class := 49
	for i, want := range []string{"Load (1 minutes) 5.058", "Load (5 minutes) 5.6479", "Load (15 minutes) 4.2832"} {
		r := wire.Request{UUID: "load", Genre: wire.Basic, CmdClass: &class, Hadd: "0121/0001", ReplyHadd: "9999/9990", ReadOnly: true, Index: &i}
		got := one(t, w.ask(t, b, wire.RequestTopic("0121/0001"), string(r.Marshal())))
		if s := fmt.Sprint(wire.Text(got.Label), " ", got.Data); s != want || got.Index != i {
			t.Errorf("index %d is %s, index %d; want %s", i, s, got.Index, want)
		}
	}
	far := 7
	r := wire.Request{UUID: "load", Genre: wire.Basic, CmdClass: &class, Hadd: "0121/0001", ReplyHadd: "9999/9990", ReadOnly: true, Index: &far}
	if got := one(t, w.ask(t, b, wire.RequestTopic("0121/0001"), string(r.Marshal()))); wire.Text(got.Help) != "error: there is no instance 7" {
		t.Errorf("index 7 is %+v", got)
	}
}

// TestToldOnChange: a point that is not polled is told of when it changes.
func TestToldOnChange(t *testing.T) {
	t.Parallel()
	w := worlds()["0225"]
	b, _ := w.start(t, nil)
	b.Stands(w.host, nil)
	s := w.host.Services[3]
	p, _ := s.Point("output/led")
	if out := b.Said(s, p, "ON"); len(out) != 0 {
		t.Errorf("a polled point is told at once: %+v", out)
	}
	p.Poll = 0
	out := b.Said(s, p, "ON")
	if check(t, out...); len(out) != 1 || out[0].Topic != "/values/basic/0225/0004/switch" || !strings.Contains(out[0].Payload, `"data":"on"`) {
		t.Errorf("a change is told as %+v", out)
	}
	if out := b.Said(s, p, ""); len(out) != 1 || !strings.Contains(out[0].Payload, `"data":null`) {
		t.Errorf("a point that has no value any more is told as %+v", out)
	}
}

// TestConfigClass: config values are asked for as configuration, of whatever class they are (JANITOO.md §0, 10).
func TestConfigClass(t *testing.T) {
	t.Parallel()
	w := worlds()["1118"]
	b, _ := w.start(t, nil)
	if got := w.set(t, b, "1118/0001", wire.Config, "test_config", "x"); got.Data != "x" || got.CmdClass != wire.CmdConfiguration {
		t.Errorf("answers %+v", got)
	}
}
