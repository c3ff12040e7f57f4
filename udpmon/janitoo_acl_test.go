package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/internal/broker"
	"rollcall/internal/bus"
	"rollcall/internal/run"
)

func TestAllowJanitoo(t *testing.T) {
	t.Parallel()
	m := &monitor{cfg: config.Config{Host: "pi1"}, now: time.Now}
	m.strict.Store(true) // whoever opens the listener has said so
	guest := broker.Peer{Guest: true}
	for _, topic := range []string{
		"/broadcast/request", "/broadcast/reply/9999/9990", "/nodes/0121/0000/request", "/nodes/9999/9990/reply",
		"/values/basic/0121/0001/load", "/values/user/0225/0001/temperature", "/values/config/0121/0000/location", "/values/system/0121/0001/hadd",
		"/values/command/1118/0001/test_command", "/dhcp/heartbeat/0121/0001", "/dhcp/heartbeat/", "/dhcp/resolv/heartbeat", "/dhcp/resolv/request/",
		"/dhcp/resolv/reply/0120/0000", "/dhcp/resolv/broadcast/", "/dhcp/lease/new", "/dhcp/lease/repair", "/dhcp/lease/lock", "/dhcp/lease/release",
		"/dhcp/lease/remove", "/dhcp/resolv/hadd", "/dhcp/resolv/name", "/dhcp/resolv/cmd_classes", "/reply/1f2e", "/resolv/dhcp/heartbeat/",
	} {
		if !m.allow(guest, topic, true) || !m.allow(guest, topic, false) {
			t.Errorf("Janitoo's topic %s is not allowed", topic)
		}
	}
	for _, filter := range []string{"#", "/#", "+/#", "/+/#", "/dhcp/#", "/dhcp/heartbeat/#", "/dhcp/heartbeat/0121/0001/#", "/values/#", "/values/config/0121/0000/#",
		"/nodes/0121/#", "/nodes/0001/0000/reply/#", "/dhcp/resolv/#", "/dhcp/resolv/request/#", "/reply/+"} {
		if !m.allow(guest, filter, false) {
			t.Errorf("filter %s is not allowed", filter)
		}
		if m.allow(guest, filter, true) {
			t.Errorf("a publish to %s is allowed", filter)
		}
	}
	for _, topic := range []string{
		"", "/", "//", "/pi1/status", "/pi1/gpio/set/output/led", "/set/gpio/x", "/udp/report", "$SYS/x", "homeassistant/status", "broadcast/request",
		"/broadcast", "/broadcast/request/", "/broadcast/request/x", "/broadcast/reply", "/broadcast/reply/9999", "/broadcast/reply/a/b",
		"/nodes/0121/0000", "/nodes/0121/request", "/nodes/0121/0000/set", "/nodes/x/0000/request", "/nodes//0000/request", "/nodes/0121/0000/request/x",
		"/nodes/12345678901/0000/request", "/values/users/0121/0001/x", "/values/user/0121/0001", "/values/user/0121/0001/", "/values/user/0121/0001/x/y",
		"/dhcp", "/dhcp/heartbeat", "/dhcp/heartbeat/0121", "/dhcp/heartbeat/0121/0001/x", "/dhcp/lease", "/dhcp/lease/steal", "/dhcp/resolv/request",
		"/dhcp/resolv/request/x", "/reply", "/reply/", "/reply/a/b", "/resolv/dhcp/heartbeat", "/VALUES/user/0121/0001/x", "/dhcp/heartbeat/0121/000１",
	} {
		if m.allow(guest, topic, true) || m.allow(guest, topic, false) {
			t.Errorf("%q is allowed", topic)
		}
	}
	for _, filter := range []string{"+", "pi1/#", "/pi1/#", "/pi1/+/status", "+/pi1/#", "$SYS/#", "homeassistant/#", "/udp/#"} {
		if m.allow(guest, filter, false) {
			t.Errorf("filter %q is allowed", filter)
		}
	}
}

// FuzzIsJanitooTopic looks for a topic of another's that would be taken for one of Janitoo's.
func FuzzIsJanitooTopic(f *testing.F) {
	for _, s := range []string{"/values/user/0225/0001/temperature", "/nodes/0121/0000/request", "/dhcp/resolv/reply/0120/0000", "/reply/x", "/+/#", "#", "+", "a/b/#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		allowJanitoo(topic, false)
		if !allowJanitoo(topic, true) {
			return
		}
		segs := strings.Split(topic, "/")
		if segs[0] != "" || len(segs) < 3 || len(segs) > 6 || !strings.Contains(" broadcast dhcp nodes reply resolv values ", " "+segs[1]+" ") {
			t.Errorf("%q may be published", topic)
		}
	})
}

// firstSegment is what a captured jnt_query sent before it heard anything: CONNECT, SUBSCRIBE and PUBLISH.
func firstSegment(t *testing.T, file string) []byte {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("..", "internal", "broker", "testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(doc)) {
		if f := strings.SplitN(line, " ", 4); len(f) == 4 && f[1] == "client->broker" {
			text, _, _ := strings.Cut(f[3], "  |")
			b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	t.Fatalf("%s: no packet", file)
	return nil
}

// A host that has opened the listener serves jnt_query there as mosquitto did, and shows it nothing else of itself.
func TestListenJanitoo(t *testing.T) {
	t.Parallel()
	b := startBed(t, func(c *config.Config) {
		c.Broker.ListenJanitoo = "127.0.0.1:0"
		write(t, c.Discovery.AuthorizedOperators, "") // nobody but operators is welcome elsewhere
	})
	if len(b.log.having("level=WARN", "open to anyone", "listen_janitoo")) != 1 {
		t.Errorf("the log does not say that the listener is open:\n%s", b.log)
	}
	const request, reply = "/nodes/1118/0000/request", "/nodes/9999/9990/reply"
	asked := listen(t, b.dial(), request)
	c, err := net.Dial("tcp", b.m.broker.Addrs()[1].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(firstSegment(t, "raw_mqtt_node_paho131.txt")); err != nil {
		t.Fatal(err)
	}
	acks := make([]byte, 9)
	if _, err := io.ReadFull(c, acks); err != nil {
		t.Fatal(err)
	}
	if want := []byte{0x20, 2, 0, 0, 0x90, 3, 0, 1, 0}; !bytes.Equal(acks, want) {
		t.Errorf("acknowledgements % x, want % x", acks, want)
	}
	if m := next(t, asked, "request of jnt_query"); !strings.Contains(string(m.Payload), "request_info_commands") {
		t.Errorf("request is %s", m.Payload)
	}
	// jnt_spy's subscription; the host's own words don't reach it.
	if _, err := c.Write([]byte{0x82, 7, 0, 2, 0, 2, '/', '#', 0}); err != nil {
		t.Fatal(err)
	}
	suback := make([]byte, 5)
	if _, err := io.ReadFull(c, suback); err != nil || suback[4] != 0 {
		t.Fatalf("SUBACK % x, %v", suback, err)
	}
	b.retain("/pi1/gpio/output/led", "ON")
	b.send(bus.Message{Topic: reply, Payload: []byte(`{}`), QoS: 1})
	want := append([]byte{0x30, byte(2 + len(reply) + 2), 0, byte(len(reply))}, reply+"{}"...)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("after /pi1/… and a reply the client has %q, %v, want the reply alone", got, err)
	}
}

// The errors of the listener name its key.
func TestListenJanitooErrors(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := testConfig(t)
	cfg.Broker.ListenJanitoo = taken.Addr().String()
	if _, err := newMonitor(cfg, time.Now, run.Logger(io.Discard)); err == nil || !strings.HasPrefix(err.Error(), "broker.listen_janitoo: ") {
		t.Errorf("taken port: %v", err)
	}
	file := filepath.Join(t.TempDir(), "rollcall.yaml")
	write(t, file, "host: pi1\nbroker:\n  listen_janitoo: 0.0.0.0\n")
	var out, errs bytes.Buffer
	status := command(context.Background(), []string{"--check", "--config", file}, nil, &out, &errs)
	want := fmt.Sprintf("udpmon: %s:3: broker.listen_janitoo: \"0.0.0.0\" is not host:port, such as 127.0.0.1:1883\n", file)
	if status != run.ExitUsage || errs.String() != want || out.Len() > 0 {
		t.Errorf("--check = %d, %q, %q, want %d, %q", status, out.String(), errs.String(), run.ExitUsage, want)
	}
}
