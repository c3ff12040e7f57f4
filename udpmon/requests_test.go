package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rollcall/config"
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

// A host with authorized_operators answers nobody who has not signed, until legacy says otherwise: no byte and no message.
func TestClosedHost(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for name, tt := range map[string]struct {
		file          bool
		legacy        *bool
		open, answers bool
	}{
		"open":                         {false, nil, true, true},
		"open, original form off":      {false, &no, true, false},
		"closed":                       {true, nil, false, false},
		"closed, original form on":     {true, &yes, false, true},
		"closed, original form is off": {true, &no, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBed(t, func(c *config.Config) {
				c.Discovery.Legacy = tt.legacy
				if tt.file {
					write(t, c.Discovery.AuthorizedOperators, "")
				}
			})
			b.answers(tt.open, tt.answers)
			if got := len(b.log.having("host is open")); (got == 1) != tt.open {
				t.Errorf("log says %d times that the host is open", got)
			}
		})
	}
}

// answers checks who is answered.
func (b *bed) answers(open, legacy bool) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watch := bustest.Dial(b.t, b.m.at.url)
	got := make(chan bus.Message, 100)
	if err := watch.Subscribe(ctx, 1, func(m bus.Message) { got <- m }, reports.ReportTopic, "/end"); err != nil {
		b.t.Fatal(err)
	}
	before := b.m.responder.Stats()
	h := sweepOne(b.t, b.port, 150*time.Millisecond)
	if (h != nil) != open || (h != nil && !h.Open) {
		b.t.Errorf("sealed request: answer %+v, want one: %v", h, open)
	}
	id := fmt.Sprint(time.Now().UnixNano())
	ask(b.t, "127.0.0.1", b.port, `{"cmd":"status","replyto":"127.0.0.1:1","topic":"/x","id":"`+id+`"}`)
	want := 0
	if open {
		want++
	}
	if legacy {
		want++
	}
	eventually(b.t, "published and refused requests", true, func() bool {
		s := b.m.responder.Stats()
		refused := s["legacy_off"] > before["legacy_off"]
		return s["published"] == before["published"]+uint64(want) && (legacy || refused)
	})
	n := 0
	for range want {
		if next(b.t, got, "request").Topic == "/udp/report" {
			n++
		}
	}
	b.publish("/end", "")
	for next(b.t, got, "end").Topic != "/end" {
		n++
	}
	if n != want {
		b.t.Errorf("%d requests were published, want %d", n, want)
	}
}

// The file of operators counts from the next minute on, without a signal.
func TestOperatorsComeAndGo(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	b.answers(true, true)
	file := write(t, b.cfg.Discovery.AuthorizedOperators, "")
	b.tick(time.Minute)
	eventually(t, "line about operators", 1, func() int { return len(b.log.having("unsigned requests are not answered")) })
	b.answers(false, false)
	remove(t, file)
	b.tick(time.Minute)
	eventually(t, "lines about the open host", 2, func() int { return len(b.log.having("host is open")) })
	b.answers(true, true)
	b.tick(time.Minute)
	b.tick(time.Minute)
	if got := len(b.log.having("host is open")); got != 2 {
		t.Errorf("log says %d times that the host is open, want once for each change", got)
	}
}

// The public address is asked for in the background, told, and forgotten when it is not known any more.
func TestExtAddr(t *testing.T) {
	t.Parallel()
	answers := make(chan string, 1)
	answers <- " 203.0.113.7\n"
	asked := make(chan struct{}, 100)
	last := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case last = <-answers: // one request at a time
		default:
		}
		switch last {
		case "500":
			w.WriteHeader(http.StatusInternalServerError)
		case "loop":
			asked <- struct{}{}
			http.Redirect(w, r, "/", http.StatusFound)
		default:
			fmt.Fprint(w, last)
		}
	}))
	t.Cleanup(srv.Close)
	b := startBed(t, func(c *config.Config) {
		c.Discovery.ExtAddr = config.ExtAddr{URL: srv.URL, Every: reports.Duration(5 * time.Millisecond)}
	})
	told := func(want string) {
		t.Helper()
		eventually(t, "public address", want, func() string { return b.sweep().ExtAddr })
	}
	told("203.0.113.7")
	got := listen(t, b.dial(), reports.ReportTopic)
	ask(t, "127.0.0.1", b.port, `{"cmd":"status","replyto":"127.0.0.1:1","topic":"/x","id":"with"}`)
	for r := (map[string]any{}); r["id"] != "with"; {
		if r = fields(t, next(t, got, "request").Payload); r["extaddr"] != "203.0.113.7" {
			t.Errorf("published %v", r)
		}
	}
	for i, tt := range [][2]string{
		{"garbage", ""}, {"2001:db8::1", "2001:db8::1"}, {"500", ""}, {"::ffff:198.51.100.1", "198.51.100.1"}, {"fe80::1%<script>", ""},
		{"203.0.113.8", "203.0.113.8"}, {"0.0.0.0", ""}, {"203.0.113.9", "203.0.113.9"}, {strings.Repeat("1", 1<<20), ""}, {"203.0.113.10", "203.0.113.10"},
		{"127.0.0.1", ""}, {"203.0.113.11", "203.0.113.11"}, {"loop", ""},
	} {
		answers <- tt[0]
		told(tt[1])
		if want := i/2 + 1; tt[1] == "" {
			eventually(t, "lines about the address", want, func() int { return len(b.log.having("public address unknown")) })
		}
	}
	if b.log.having("\n\n") != nil || strings.Contains(b.log.String(), strings.Repeat("1", 100)) {
		t.Error("the log repeats a long answer")
	}
	for range extAddrRedirects + 1 {
		select {
		case <-asked:
		case <-time.After(limit):
			t.Fatal("redirects are not followed")
		}
	}
}

// A look-up that hangs keeps neither a request nor the end of the daemon waiting.
func TestExtAddrThatHangs(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := startBed(t, func(c *config.Config) { c.Discovery.ExtAddr.URL = "http://" + l.Addr().String() })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if h := b.sweep(); h.ExtAddr != "" {
		t.Errorf("public address is %q", h.ExtAddr)
	}
	start := time.Now()
	if err := b.stop(); err != nil || time.Since(start) > 3*time.Second {
		t.Errorf("stop took %v: %v", time.Since(start), err)
	}
}

func TestExtAddrIsOffByDefault(t *testing.T) {
	t.Parallel()
	var e extAddr
	if err := e.run(context.Background(), config.Default().Discovery.ExtAddr, quiet(), func() { t.Error("it asks") }); err != nil {
		t.Error(err)
	}
}

// Where the broker is, for this machine and for others.
func TestBrokerAt(t *testing.T) {
	t.Parallel()
	addrs := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.168.1.5"), netip.MustParseAddr("fd00::1")}
	for _, tt := range []struct{ url, listen, local, replyTo, told, kind string }{
		{"", "127.0.0.1:1883", "tcp://127.0.0.1:1883", "127.0.0.1:1883", "tcp://127.0.0.1:1883", "loopback"},
		{"", "[::1]:1883", "tcp://[::1]:1883", "[::1]:1883", "tcp://[::1]:1883", "loopback"},
		{"", "0.0.0.0:1884", "tcp://127.0.0.1:1884", "127.0.0.1:1884", "tcp://10.0.0.1:1884 tcp://192.168.1.5:1884", "open"},
		{"", "[::]:1883", "tcp://127.0.0.1:1883", "127.0.0.1:1883", "tcp://10.0.0.1:1883 tcp://192.168.1.5:1883 tcp://[fd00::1]:1883", "open"},
		{"", "10.0.0.1:1883", "tcp://10.0.0.1:1883", "10.0.0.1:1883", "tcp://10.0.0.1:1883", "open"},
		{"tcp://127.0.0.1:1883", "", "tcp://127.0.0.1:1883", "127.0.0.1:1883", "tcp://127.0.0.1:1883", "loopback"},
		{"mqtt://localhost:1883", "", "mqtt://localhost:1883", "localhost:1883", "mqtt://localhost:1883", "loopback"},
		{"mqtts://hub.lan:8883", "", "mqtts://hub.lan:8883", "mqtts://hub.lan:8883", "mqtts://hub.lan:8883", ""},
		{"ssl://hub.lan:8883", "", "ssl://hub.lan:8883", "mqtts://hub.lan:8883", "ssl://hub.lan:8883", ""},
	} {
		var a brokerAt
		if tt.url == "" {
			a = embeddedBroker(netip.MustParseAddrPort(tt.listen))
		} else {
			var err error
			if a, err = externalBroker(tt.url); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(a.told(addrs), " "); a.url != tt.local || a.replyTo != tt.replyTo || got != tt.told ||
			a.loopback != (tt.kind == "loopback") || a.open != (tt.kind == "open") {
			t.Errorf("broker at %s%s: %+v, told %q", tt.url, tt.listen, a, got)
		}
	}
}
