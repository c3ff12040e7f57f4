package main

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// fields reads a JSON object.
func fields(t *testing.T, payload []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(payload)))
	d.UseNumber()
	var out map[string]any
	if err := d.Decode(&out); err != nil {
		t.Fatalf("%s: %v", payload, err)
	}
	return out
}

// A request in the original form is on /udp/report once, enriched by what is true and not by what the sender says.
func TestRequestIsPublished(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	got := listen(t, b.dial(), reports.ReportTopic)
	question := `{"cmd":"status","replyto":"127.0.0.1:1","topic":"/stat/data","id":1241,"seq":"s7","colour":{"a":[1.50,"ü"]},"Hostname":"kept",` +
		`"hostname":"evil","ipaddr":"6.6.6.6","extaddr":"6.6.6.6","pass":"AAAA"}`
	for range 5 {
		ask(t, "127.0.0.1", b.port, question)
	}
	m := next(t, got, "request on "+reports.ReportTopic)
	r := fields(t, m.Payload)
	pass, _ := r["pass"].(string)
	delete(r, "pass")
	want := fields(t, []byte(`{"cmd":"status","replyto":"127.0.0.1:1","topic":"/stat/data","id":1241,"seq":"s7","colour":{"a":[1.50,"ü"]},"Hostname":"kept",`+
		`"hostname":"pi1","ipaddr":"127.0.0.1"}`))
	if fmt.Sprint(r) != fmt.Sprint(want) {
		t.Errorf("published %v, want %v", r, want)
	}
	if m.QoS != 1 || m.Retained {
		t.Errorf("published with QoS %d, retained %v; want 1, false", m.QoS, m.Retained)
	}
	req, err := reports.ParseRequest(m.Payload)
	if err != nil || req.Pass != pass {
		t.Fatalf("%v, pass %q", err, pass)
	}
	if e, err := b.m.passes.Open(req, time.Now()); err != nil || e.Addr.String() != "127.0.0.1:1" || e.TLS {
		t.Errorf("pass means %+v, %v; want 127.0.0.1:1", e, err)
	}
	// The end of the queue: all before it has been handled.
	ask(t, "127.0.0.1", b.port, `{"cmd":"getinputs","replyto":"127.0.0.1:1","topic":"/stat/data","id":"end"}`)
	if r := fields(t, next(t, got, "last request").Payload); r["id"] != "end" {
		t.Errorf("published a second time: %v", r)
	}
	late := bustest.Dial(t, b.m.at.url)
	ghosts := listen(t, late, "/udp/#", "/end")
	b.publish("/end", "")
	if m := next(t, ghosts, "end"); m.Topic != "/end" {
		t.Errorf("a late subscriber gets %s", m.Topic)
	}
}

// A sealed request reaches the host's old programs as well, without a pass: they answer here, and are found by the next sweep.
func TestSweepAsksOriginalPrograms(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	answered := make(chan struct{}, 10)
	client := b.dial()
	err := client.Subscribe(within(t), 1, func(m bus.Message) {
		r := fields(t, m.Payload)
		if r["pass"] != nil || r["replyto"] != b.m.at.replyTo || r["topic"] != "/pi1/report" || r["hostname"] != "pi1" || r["extaddr"] != nil {
			t.Errorf("a sealed request is published as %s", m.Payload)
		}
		r["function"], r["outputs"] = "weather", "/pi1/roof"
		payload, err := json.Marshal(r)
		if err != nil {
			t.Error(err)
		}
		client.Send(bus.Message{Topic: r["topic"].(string), Payload: payload, QoS: 1})
		answered <- struct{}{}
	}, reports.ReportTopic)
	if err != nil {
		t.Fatal(err)
	}
	b.sweep()
	select {
	case <-answered:
	case <-time.After(limit):
		t.Fatal("the request was not published")
	}
	b.services("roof weather  0")
}

// getapps is answered at the requester's broker by one report, with the services that there are.
func TestGetApps(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	theirs := bustest.Start(t)
	got := listen(t, bustest.Dial(t, theirs), "#")
	b.retain("/pi1/gpio/description", description("gpio", 1))
	b.retain("/pi1/ain/description", description("ain", 1))
	b.services("ain f-ain  1", "gpio f-gpio  1")
	replyto := strings.TrimPrefix(theirs, "tcp://")
	for range 3 {
		ask(t, "127.0.0.1", b.port, `{"cmd":"getapps","replyto":"`+replyto+`","topic":"/apps","id":7,"x":1}`)
	}
	m := next(t, got, "answer to getapps")
	want := fmt.Sprintf("map[apps:[ain gpio] cmd:getapps hostname:pi1 id:7 ipaddr:127.0.0.1 replyto:%s topic:/apps x:1]", replyto)
	if r := fields(t, m.Payload); fmt.Sprint(r) != want || m.Topic != "/apps" || m.QoS != 1 || m.Retained {
		t.Errorf("got %s %v, want /apps %s", m.Topic, r, want)
	}
	b.retain("/pi1/gpio/description", "")
	b.services("ain f-ain  1")
	ask(t, "127.0.0.1", b.port, `{"cmd":"getapps","replyto":"`+replyto+`","topic":"/apps","id":8}`)
	if r := fields(t, next(t, got, "second answer").Payload); fmt.Sprintf("%v %v", r["apps"], r["id"]) != "[ain] 8" {
		t.Errorf("got %v; want one answer to each id", r)
	}
}

// A requester whose broker never says a word does not keep the others waiting.
func TestGetAppsDespiteSilentBrokers(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	silent, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for i := range answersAtOnce - 1 {
		ask(t, "127.0.0.1", b.port, fmt.Sprintf(`{"cmd":"getapps","replyto":%q,"topic":"/x","id":%d}`, silent.Addr(), i))
	}
	for range answersAtOnce - 1 { // all are stuck
		if c, err := silent.Accept(); err != nil {
			t.Fatal(err)
		} else {
			defer c.Close()
		}
	}
	theirs := bustest.Start(t)
	got := listen(t, bustest.Dial(t, theirs), "#")
	start := time.Now()
	ask(t, "127.0.0.1", b.port, `{"cmd":"getapps","replyto":"`+strings.TrimPrefix(theirs, "tcp://")+`","topic":"/apps","id":"x"}`)
	next(t, got, "answer")
	if d := time.Since(start); d > b.m.patience.answer/2 {
		t.Errorf("answered after %v", d)
	}
	eventually(t, "lines about brokers that do not answer", 1, func() int { return len(b.log.having("getapps not answered")) })
}

// What the guard refuses is published nowhere and connected to nowhere.
func TestGuardedRequests(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	got := listen(t, b.dial(), reports.ReportTopic)
	for i, q := range []string{
		`{"cmd":"status","replyto":"192.0.2.1","topic":"/x","id":%d}`,
		`{"cmd":"getapps","replyto":"192.0.2.1","topic":"/x","id":%d}`,
		`{"cmd":"status","replyto":"mqtt://user:pw@127.0.0.1","topic":"/x","id":%d}`,
		`{"cmd":"status","replyto":"http://127.0.0.1","topic":"/x","id":%d}`,
		`{"cmd":"status","replyto":"2130706433","topic":"/x","id":%d}`,
		`{"cmd":"status","topic":"/x","id":%d}`,
		`{"cmd":"status","replyto":"127.0.0.1","topic":"/x/#","id":%d}`,
		`{"cmd":"status","replyto":"127.0.0.1","topic":"$SYS/x","id":%d}`,
		`{"cmd":"status","replyto":"127.0.0.1","topic":"/a\u0000b","id":%d}`,
		`{"cmd":"status","replyto":"127.0.0.1","topic":"` + strings.Repeat("t", 3000) + `","id":%d}`,
		`{"cmd":"status","replyto":"127.0.0.1","id":%d}`,
		`{"cmd":"reboot","replyto":"127.0.0.1","topic":"/x","id":%d}`,
		`{"cmd":"status","replyto":"127.0.0.1","topic":"/x","id":{"x":%d}}`,
	} {
		ask(t, "127.0.0.1", b.port, fmt.Sprintf(q, i))
	}
	ask(t, "127.0.0.1", b.port, `{"cmd":"status","replyto":"127.0.0.1","topic":"/x","id":"end"}`)
	if r := fields(t, next(t, got, "last request").Payload); r["id"] != "end" {
		t.Errorf("%v was published", r)
	}
}

// Below the names of hosts that it knows a host has nothing published.
func TestTopicsOfOtherHosts(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	b.publish("/pi1/heard", `[{"hostname":"pi2","ipaddr":"10.0.0.2"}]`)
	eventually(t, "pi2 on the map", true, func() bool { return b.m.hosts.has("pi2") })
	got := listen(t, b.dial(), reports.ReportTopic)
	ask(t, "127.0.0.1", b.port, `{"cmd":"status","replyto":"127.0.0.1","topic":"/pi2/gpio/set/output/led","id":1}`)
	ask(t, "127.0.0.1", b.port, `{"cmd":"status","replyto":"127.0.0.1","topic":"/pi3/x","id":2}`)
	if r := fields(t, next(t, got, "request").Payload); r["topic"] != "/pi3/x" {
		t.Errorf("%v was published", r)
	}
}
