package main

import (
	"net/netip"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/internal/broker"
)

func TestAllow(t *testing.T) {
	t.Parallel()
	m := &monitor{cfg: config.Config{Host: "pi1"}}
	m.replies.add("/stat/data")
	m.replies.add("/pi1/report")
	local := broker.Peer{Addr: netip.MustParseAddrPort("127.0.0.1:5")}
	mapped := broker.Peer{Addr: netip.MustParseAddrPort("[::ffff:127.0.0.1]:5")}
	lan := broker.Peer{Addr: netip.MustParseAddrPort("10.0.0.7:5"), ClientID: "udpmon-1", Username: "root"}
	for _, c := range []struct {
		who   broker.Peer
		topic string
		write bool
		want  bool
	}{
		{local, "/pi1/gpio/output/led", true, true},
		{mapped, "/udp/report", true, true},
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
		{lan, "/set/gpio/output/led", true, false}, // the local short form is local
		{lan, "/stat/other", true, false},
		{lan, "$SYS/broker", true, false},
		{lan, "", true, false},
	} {
		if got := m.allow(c.who, c.topic, c.write); got != c.want {
			t.Errorf("allow(%s, %q, write %v) = %v, want %v", c.who.Addr, c.topic, c.write, got, c.want)
		}
	}
}

func TestReplyTopicsAreBounded(t *testing.T) {
	t.Parallel()
	var r replyTopics
	for i := range 10 * maxReplyTopics {
		r.add("/t/" + time.Duration(i).String())
	}
	if len(r.until) > maxReplyTopics {
		t.Errorf("%d topics are remembered, at most %d are allowed", len(r.until), maxReplyTopics)
	}
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
