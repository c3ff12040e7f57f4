package discover

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rollcall/reports"
)

func TestSealedRequestIsAnswered(t *testing.T) {
	t.Parallel()
	b := startBed(t, "127.0.0.1:0", testHost(1, "pizero2", Service{Name: "gpio", Function: "gpio"}), nil)
	conn := b.dial("127.0.0.1")
	for i, seq := range []uint32{3, 5} {
		q := question(77, seq)
		raw := mustMarshal(t, q)
		send(t, conn, raw)
		back := receive(t, conn, patience)
		r, err := ParseReply(back)
		if err != nil {
			t.Fatalf("reply %x: %v", back, err)
		}
		if r.Sweep != 77 || r.Round != uint16(seq) || r.Seq != seq || r.First != 3 || int(r.Tx) != i+1 || r.Host != testHost(1, "").ID || r.Body.Hostname != "pizero2" {
			t.Errorf("reply = %+v, want sweep 77, round and seq %d, first 3, tx %d", r, seq, i+1)
		}
		if r.Delay <= 0 || r.Delay > time.Second || r.Age < time.Hour || r.Age > time.Hour+time.Minute || r.Flags != FlagOpen|FlagLoopbackOnly {
			t.Errorf("delay = %v, age = %v, flags = %b", r.Delay, r.Age, r.Flags)
		}
		if len(back) > len(raw) {
			t.Errorf("reply has %d bytes, the request %d", len(back), len(raw))
		}
	}
	p := b.next()
	want := reports.Request{Cmd: "status", ReplyTo: "127.0.0.1:1883", Topic: "/rollcall/original", ID: "77",
		Monitor: reports.Monitor{Hostname: "pizero2", IPAddr: "127.0.0.1"}}
	if got, w := fmt.Sprint(p.request), fmt.Sprint(want); got != w || !p.own {
		t.Errorf("published %s (own %v), want %s", got, p.own, w)
	}
	b.await(answered, 2)
	b.await(published, 1) // it is counted after it was given away
	if n := b.r.Stats()["published"]; n != 1 {
		t.Errorf("published %d times, want once a sweep", n)
	}
}

func TestReplyGoesToReplyPort(t *testing.T) {
	t.Parallel()
	b := startBed(t, "127.0.0.1:0", testHost(1, "pi"), nil)
	asks, hears := b.dial("127.0.0.1"), b.dial("127.0.0.1")
	q := question(1, 1)
	q.ReplyPort = netip.MustParseAddrPort(hears.LocalAddr().String()).Port()
	send(t, asks, mustMarshal(t, q))
	if r, err := ParseReply(receive(t, hears, patience)); err != nil || r.Sweep != 1 {
		t.Errorf("reply at the reply port = %+v, %v", r, err)
	}
}

func TestSealedRequestNamesItsBroker(t *testing.T) {
	t.Parallel()
	start := time.Now()
	b := startBed(t, "127.0.0.1:0", testHost(1, "pi"), func(c *ResponderConfig) {
		c.ExtAddr = func() string { return "173.95.174.120" }
		c.KnownHost = func(name string) bool { return name == "pibot02" }
	})
	conn := b.dial("127.0.0.1")
	q := question(1, 1)
	q.BrokerPort, q.Topic = 1884, "/pibot02/x"
	send(t, conn, mustMarshal(t, q)) // answered, but not published: the topic is another host's
	b.await(badTopic, 1)
	b.await(answered, 1)
	q = question(2, 1)
	q.BrokerPort, q.Topic = 1884, "/stat/data"
	send(t, conn, mustMarshal(t, q))
	p := b.next()
	if p.request.ReplyTo != "127.0.0.1:1884" || p.request.Topic != "/stat/data" || p.request.ID != "2" || p.request.ExtAddr != "173.95.174.120" {
		t.Errorf("published %+v", p.request)
	}
	if e, err := b.passes.Open(p.request, time.Now()); err != nil || e != (Endpoint{Addr: netip.MustParseAddrPort("127.0.0.1:1884")}) {
		t.Errorf("Open(pass) = %v, %v", e, err)
	}
	if took := time.Since(start); took < 20*time.Millisecond {
		t.Errorf("published after %v, want at least 20ms so that replies go first", took)
	}
}

func TestOriginalRequest(t *testing.T) {
	t.Parallel()
	b := startBed(t, "127.0.0.1:0", testHost(1, "pizero2"), nil)
	conn := b.dial("127.0.0.1")
	send(t, conn, []byte(" \r\n"+`{"cmd":"status","replyto":"pibot01","topic":"/stat/data","id":1241,"seq":"s","colour":[1, {"a":null}],
		"hostname":"forged","ipaddr":"6.6.6.6","extaddr":"7.7.7.7","pass":"forged"}`+"\n"))
	p := b.next()
	raw, err := json.Marshal(p.request)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "pass")
	want := "map[cmd:status colour:[1 map[a:<nil>]] hostname:pizero2 id:1241 ipaddr:127.0.0.1 replyto:pibot01 seq:s topic:/stat/data]"
	if fmt.Sprint(got) != want {
		t.Errorf("published %v\nwant %s", got, want)
	}
	if !p.own || p.from.String() != conn.LocalAddr().String() {
		t.Errorf("from %v, own %v, want %v, true", p.from, p.own, conn.LocalAddr())
	}
	if e, err := b.passes.Open(p.request, time.Now()); err != nil || e != (Endpoint{Addr: netip.MustParseAddrPort("127.0.0.1:1883")}) {
		t.Errorf("Open(pass) = %v, %v", e, err)
	}
	if back := receive(t, conn, 50*time.Millisecond); back != nil {
		t.Errorf("a request in the original form got %q back by UDP", back)
	}
}

// TestIPAddrIsTheOneAsked sends to another of this machine's addresses than the first.
func TestIPAddrIsTheOneAsked(t *testing.T) {
	t.Parallel()
	b := startBed(t, "127.0.0.9:0", testHost(1, "pi"), nil)
	send(t, b.dial("127.0.0.4"), []byte(`{"cmd":"getapps","replyto":"127.0.0.4:9","topic":"/t"}`))
	if p := b.next(); p.request.IPAddr != "127.0.0.9" || p.from.Addr().String() != "127.0.0.4" {
		t.Errorf("ipaddr = %s from %v, want 127.0.0.9 from 127.0.0.4", p.request.IPAddr, p.from)
	}
}

func TestOneIDIsPublishedOnce(t *testing.T) {
	t.Parallel()
	b := newBed(t, "127.0.0.1:0", nil)
	b.r.jsonRate = newLimiter(pace{1e6, 1e6}, pace{1e6, 1e6})
	b.r.Update(testHost(1, "pi"))
	b.start()
	const times = 1000
	for _, form := range []string{
		`{"cmd":"status","replyto":"127.0.0.1","topic":"/t","id":1241}`,
		`{"cmd":"status","replyto":"pibot01","topic":"/t","id":"1241"}`,
		`{"cmd":"status","replyto":"pibot01","topic":"/no/id"}`,
	} {
		seen := b.r.Stats()
		conn := b.dial("127.0.0.1")
		for range times {
			send(t, conn, []byte(form))
		}
		b.await(duplicate, seen["duplicate"]+times-1)
		if p := b.next(); !strings.Contains(form, p.request.Topic) {
			t.Errorf("published %v for %s", p.request, form)
		}
		b.await(published, seen["published"]+1)
		select {
		case p := <-b.published:
			t.Errorf("%s was published again: %v", form, p.request)
		default:
		}
	}
	// Another requester may use the same id.
	send(t, b.dial("127.0.0.2"), []byte(`{"cmd":"status","replyto":"127.0.0.2","topic":"/t","id":1241}`))
	if p := b.next(); p.from.Addr().String() != "127.0.0.2" {
		t.Errorf("published %v", p)
	}
}

func TestBothFormsArePublishedOnce(t *testing.T) {
	t.Parallel()
	b := startBed(t, "127.0.0.1:0", testHost(1, "pi"), nil)
	conn := b.dial("127.0.0.1")
	sealed := mustMarshal(t, question(1241, 1))
	original := []byte(`{"cmd":"status","replyto":"127.0.0.1:1999","topic":"/t","id":1241}`)
	for _, raw := range [][]byte{sealed, original} {
		send(t, conn, raw)
	}
	if p := b.next(); p.request.ReplyTo != "127.0.0.1:1999" {
		t.Errorf("published %v, want the original form, which says more", p.request)
	}
	b.await(duplicate, 1) // the sealed one, when it was due
	if n := b.r.Stats()["published"]; n != 1 {
		t.Errorf("published %d times, want once", n)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	b := startBed(t, "127.0.0.1:0", testHost(1, "pi"), func(c *ResponderConfig) { c.Legacy, c.Open = false, false })
	conn := b.dial("127.0.0.1")
	original := func(id int) {
		send(t, conn, fmt.Appendf(nil, `{"cmd":"status","replyto":"pi9","topic":"/t","id":%d}`, id))
	}
	original(1)
	b.await(legacyOff, 1)
	send(t, conn, mustMarshal(t, question(1, 1)))
	b.await(notOpen, 1)
	b.r.Reload([]string{"eth9"}, true, true, nil, testGuard(t, nobody))
	original(2)
	send(t, conn, mustMarshal(t, question(1, 2)))
	b.await(otherIface, 2)
	b.r.Reload([]string{"lo"}, true, true, nil, testGuard(t, names(map[string][]string{"pi9": {"127.0.0.1"}})))
	original(3)
	if p := b.next(); p.request.ID != "3" {
		t.Errorf("published %v, want id 3", p.request)
	}
	send(t, conn, mustMarshal(t, question(1, 3)))
	if receive(t, conn, patience) == nil {
		t.Error("no reply after lo was allowed")
	}
}

func TestResponderIsSilentBeforeUpdate(t *testing.T) {
	t.Parallel()
	b := newBed(t, "127.0.0.1:0", nil)
	b.start()
	conn := b.dial("127.0.0.1")
	send(t, conn, mustMarshal(t, question(1, 1)))
	send(t, conn, []byte(`{"cmd":"status","replyto":"127.0.0.1","topic":"/t","id":1}`))
	b.await(notReady, 2)
	b.r.Update(Host{Hostname: "not a name"}) // logged, and changes nothing
	b.r.Update(testHost(1, "pi"))
	send(t, conn, mustMarshal(t, question(1, 2)))
	if receive(t, conn, patience) == nil {
		t.Error("no reply after Update")
	}
}

func TestNewResponderRefuses(t *testing.T) {
	t.Parallel()
	good := newBed(t, "127.0.0.1:0", nil).r.c
	for name, change := range map[string]func(c *ResponderConfig){
		"no connection": func(c *ResponderConfig) { c.Conn = nil }, "no publish": func(c *ResponderConfig) { c.Publish = nil },
		"no guard": func(c *ResponderConfig) { c.Guard = nil }, "no passes": func(c *ResponderConfig) { c.Passes = nil },
		"bad local replyto": func(c *ResponderConfig) { c.LocalReplyTo = "tcp://x" }, "bad local topic": func(c *ResponderConfig) { c.LocalTopic = "#" },
	} {
		c := good
		change(&c)
		if r, err := NewResponder(c); err == nil {
			t.Errorf("%s: NewResponder() = %v, want an error", name, r)
		}
	}
}

func TestListenRefuses(t *testing.T) {
	t.Parallel()
	taken := newBed(t, "127.0.0.1:0", nil)
	for _, addr := range []string{"nonsense", "127.0.0.1:99999", "[fd00::dead]:0", taken.addr.String()} {
		if conn, err := Listen(addr); err == nil {
			t.Errorf("Listen(%q) = %v, want an error", addr, conn.LocalAddr())
			_ = conn.Close()
		}
	}
}

func TestRunReturnsTheErrorOfALostSocket(t *testing.T) {
	t.Parallel()
	b := newBed(t, "127.0.0.1:0", nil)
	if err := b.r.c.Conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.r.Run(context.Background()); err == nil {
		t.Error("Run() on a closed socket = nil, want an error")
	}
}
