package main

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/internal/broker"
)

func TestAllow(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := &monitor{cfg: config.Config{Host: "pi1"}, now: c.now}
	for _, topic := range []string{"/stat/data", "/pi1/report", "/udp/report", "/pi1/gpio/status", "//pi1/status", "/get/x/y"} {
		m.replies.add(topic, c.now()) // what a careless program of this host may have asked for
	}
	local := broker.Peer{Addr: netip.MustParseAddrPort("127.0.0.1:5")}
	mapped := broker.Peer{Addr: netip.MustParseAddrPort("[::ffff:127.0.0.1]:5")}
	here := broker.Peer{Addr: netip.MustParseAddrPort("10.0.0.1:5"), Local: netip.MustParseAddrPort("10.0.0.1:1883")}
	lan := broker.Peer{Addr: netip.MustParseAddrPort("10.0.0.7:5"), Local: netip.MustParseAddrPort("10.0.0.1:1883"), ClientID: "udpmon-1", Username: "root"}
	for _, c := range []struct {
		who   broker.Peer
		topic string
		write bool
		want  bool
	}{
		{local, "/pi1/gpio/output/led", true, true},
		{mapped, "/udp/report", true, true},
		{here, "/pi1/gpio/status", true, true},
		{local, "$SYS/x", true, false},
		{local, "#", false, true},
		{lan, "#", false, true},
		{lan, "/pi1/gpio/output/led", false, true},
		{lan, "/pi1/gpio/set/output/led", true, true},
		{lan, "pi1/gpio/set/output/led", true, true},
		{lan, "/pi1/set/gpio/output/led", true, true},
		{lan, "/pi1/gpio/get", true, true},
		{lan, "/pi1/gpio/control", true, true},
		{lan, "/pi1/gpio/setup", true, true},
		{lan, "/stat/data", true, true},
		{lan, "/pi1/report", true, false}, // only this machine's own programs answer there
		{lan, "/pi1/heard", true, false},
		{lan, "/pi1/gpio/output/led", true, false},
		{lan, "/pi1/gpio/output/set/led", true, false},
		{lan, "/pi1/gpio/status", true, false},
		{lan, "/pi1/status", true, false},
		{lan, "/pi1/gpio/description", true, false},
		{lan, "/pi1/gpio/result", true, false},
		{lan, "/udp/report", true, false},
		{lan, "/pi2", true, false},
		{lan, "/pi2/gpio/set/output/led", true, false},
		{lan, "/set/gpio/output/led", true, true}, // the original's short form, on the host's own broker
		{lan, "set/gpio/output/led", true, true},
		{lan, "/get/gpio", true, true},
		{lan, "/get/x/y", true, true}, // a command, and as a reply topic harmless
		{lan, "/set", true, false},
		{lan, "/set/a b/c", true, false},
		{lan, "/control/gpio", true, false}, // no short form has it
		{lan, "//pi1/gpio/set/output/led", true, false},
		{lan, "//pi1/status", true, false},
		{lan, "/PI1/gpio/set/output/led", true, false},
		{lan, "/pi1/gpio/control/x", true, false},
		{lan, "/pi1/control/gpio", true, true},
		{lan, "/pi1/gpio", true, false},
		{lan, "/pi1", true, false},
		{lan, "/pi1/+/set/x", true, false},
		{lan, "/stat/other", true, false},
		{lan, "$SYS/broker", true, false},
		{lan, "", true, false},
	} {
		if got := m.allow(c.who, c.topic, c.write); got != c.want {
			t.Errorf("allow(%s, %q, write %v) = %v, want %v", c.who.Addr, c.topic, c.write, got, c.want)
		}
	}
}

// Reply topics end after an hour, and a new one always finds its place.
func TestReplyTopics(t *testing.T) {
	t.Parallel()
	var r replyTopics
	c := newClock()
	topic := func(i int) string { return fmt.Sprint("/t/", i) }
	subscribed := map[string]bool{}
	count := 0
	follow := func() {
		t.Helper()
		err := r.follow(c.now(), subscribed, func(string) error { count++; return nil }, func(string) { count-- })
		if err != nil || count != len(r.until) || len(subscribed) != count {
			t.Errorf("follow = %v; %d topics, %d noted as subscribed, %d subscribed", err, len(r.until), len(subscribed), count)
		}
	}
	const many = 10 * maxReplyTopics
	for i := range many {
		r.add(topic(i), c.now())
		c.pass(time.Second)
		if i%7 == 0 {
			follow()
		}
	}
	follow()
	if count != maxReplyTopics || !r.has(topic(many-1), c.now()) || r.has(topic(0), c.now()) {
		t.Errorf("%d topics, want the newest %d", count, maxReplyTopics)
	}
	c.pass(replyTopicLifetime)
	if r.has(topic(many-1), c.now()) {
		t.Error("a topic is still open after its time")
	}
	follow()
	if count != 0 {
		t.Errorf("%d subscriptions are left after their time", count)
	}
	r.add("/late", c.now())
	refused := errors.New("refused")
	if err := r.follow(c.now(), subscribed, func(string) error { return refused }, func(string) {}); err != refused || subscribed["/late"] {
		t.Errorf("follow = %v, want the broker's refusal, and another try the next time", err)
	}
	follow()
}

func TestRestoreMakesStatusesOffline(t *testing.T) {
	t.Parallel()
	m := &monitor{}
	for _, c := range []struct{ topic, payload, want string }{
		{"/pi1/gpio/status", "online", "offline"},
		{"/pi1/status", "online", "offline"},
		{"pi1/gpio/status", "online", "offline"},
		{"/pi1/gpio/status", "offline", "offline"},
		{"/pi1/gpio/output/status", "online", "online"}, // a point's own word
		{"/pi1/gpio/output/led", "ON", "ON"},
		{"/pi1/gpio/description", `{"name":"gpio"}`, `{"name":"gpio"}`},
	} {
		if got := string(m.restore(c.topic, []byte(c.payload))); got != c.want {
			t.Errorf("restore(%s, %s) = %s, want %s", c.topic, c.payload, got, c.want)
		}
	}
}
