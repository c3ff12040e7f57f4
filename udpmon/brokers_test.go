package main

import (
	"net/netip"
	"strings"
	"testing"
)

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
