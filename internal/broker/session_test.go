package broker

import (
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func withWill(id string) connectFrame {
	return connectFrame{id: id, willTopic: "/h/status", willPayload: "offline", willQoS: 1, willRetain: true}
}

// What ends a connection, and whether the last will follows.
func TestLastWill(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		version byte
		end     func(c *raw, addr string)
		want    bool
	}{
		"DISCONNECT":            {4, func(c *raw, _ string) { c.disconnect() }, false},
		"DISCONNECT v5":         {5, func(c *raw, _ string) { c.disconnect() }, false},
		"DISCONNECT with will":  {5, func(c *raw, _ string) { c.send([]byte{0xe0, 2, 4, 0}) }, true},
		"cut":                   {4, func(c *raw, _ string) { _ = c.conn.Close() }, true},
		"cut v5":                {5, func(c *raw, _ string) { _ = c.conn.Close() }, true},
		"keep alive":            {4, func(*raw, string) {}, true},
		"protocol error":        {4, func(c *raw, _ string) { c.send(connectFrame{id: "x"}.bytes()) }, true},
		"malformed frame":       {4, func(c *raw, _ string) { c.send([]byte{0x30, 1, 0}) }, true},
		"crash of the decoder":  {5, func(c *raw, _ string) { c.send(crashFrame()) }, true},
		"packet too large":      {4, func(c *raw, _ string) { c.send([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}) }, true},
		"take-over":             {4, func(c *raw, addr string) { dial(c.t, addr).connect("h") }, true},
		"take-over v5":          {5, func(c *raw, addr string) { dial(c.t, addr).connect("h") }, true},
		"refused publish":       {4, func(c *raw, _ string) { c.send(publishFrame("forbidden", "", 1, false, 1)) }, true},
		"DISCONNECT, take-over": {4, func(c *raw, addr string) { c.disconnect(); dial(c.t, addr).connect("h") }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, addr := start(t, Config{Allow: func(_ Peer, topic string, _ bool) bool { return topic != "forbidden" }})
			sub := dial(t, addr)
			sub.connect("sub")
			sub.subscribe("#", 1)
			f := withWill("h")
			f.version = tt.version
			if name == "keep alive" {
				f.keepAlive = 1
			}
			c := dial(t, addr)
			c.open(f)
			tt.end(c, addr)
			if !tt.want {
				sub.publish("/end", "", 1, false) // the will would come before: the connection has ended
				if got := sub.received(); got != "/end=" {
					t.Errorf("got %s, want no last will", got)
				}
				return
			}
			if got := sub.received(); got != "/h/status=offline" {
				t.Errorf("got %s, want the last will", got)
			}
			late := dial(t, addr)
			late.connect("late")
			late.subscribe("/h/status", 1)
			if got := late.received(); got != "/h/status=offline retained" {
				t.Errorf("got %s, want the last will retained", got)
			}
		})
	}
}

// A client that reconnects and says "online" at once is never left "offline" by the will of its old connection.
func TestTakeOverOrder(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{Allow: allowAll})
	for range 200 {
		c := dial(t, addr)
		c.open(withWill("h"))
		c.publish("/h/status", "online", 1, true)
		pk, _ := b.server.Topics.Retained.Get("/h/status")
		if got := string(pk.Payload); got != "online" {
			t.Fatalf("status is %q after a take-over, want online", got)
		}
	}
}

// Many connections that fight for one client ID leave one client, and nothing behind.
func TestTakeOverFight(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{Allow: allowAll})
	var wg sync.WaitGroup
	for range 50 {
		c := dial(t, addr)
		wg.Go(func() {
			_, _ = c.conn.Write(connectFrame{id: "one"}.bytes())
			_, _ = c.next() // CONNACK, or the end if another was quicker
		})
	}
	wg.Wait()
	eventually(t, "single client", func() bool { return b.Stats().Clients == 1 })
	last := dial(t, addr)
	last.connect("one")
	last.subscribe("a", 1)
	last.publish("a", "1", 1, false)
	if got := last.received(); got != "a=1" {
		t.Errorf("got %s, want a=1", got)
	}
	last.disconnect()
	eventually(t, "end of the last", func() bool { return b.Stats().Clients == 0 && b.server.Clients.Len() == 0 })
}

// The last will of a client that is killed (SIGKILL) is published.
func TestLastWillOfKilledClient(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("mosquitto_sub")
	if err != nil {
		t.Skip("mosquitto_sub is not installed")
	}
	b, addr := start(t, Config{Allow: allowAll})
	host, port, _ := strings.Cut(addr, ":")
	cmd := exec.Command(path, "-h", host, "-p", port, "-i", "victim", "-t", "x", "--will-topic", "/victim/status", "--will-payload", "offline", "--will-retain")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sub := dial(t, addr)
	sub.connect("sub")
	sub.subscribe("/victim/status", 1)
	eventually(t, "victim", func() bool { _, ok := b.server.Clients.Get("victim"); return ok })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // "signal: killed"
	if got := sub.received(); got != "/victim/status=offline" {
		t.Errorf("got %s, want the last will", got)
	}
}

// A last will that may not be published is refused with the connection.
func TestLastWillRefused(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{Allow: hostACL})
	for _, topic := range []string{"/b/set/x", "/a/set/#", "$SYS/x", "/a/+"} {
		c := dial(t, addr)
		c.send(connectFrame{id: "a", willTopic: topic, willPayload: "x", willRetain: true}.bytes())
		if ack := c.expect(connack); ack.body[1] != 5 {
			t.Errorf("will on %s: CONNACK %d, want 5", topic, ack.body[1])
		}
		c.expectClosed()
	}
	if got := b.Stats(); got.Retained != 0 {
		t.Errorf("Stats = %+v, want nothing retained", got)
	}
}

// A persistent session gets what came meanwhile, within bounds, and does not survive the broker.
func TestSession(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{Allow: allowAll})
	c, pub := dial(t, addr), dial(t, addr)
	pub.connect("pub")
	if c.open(connectFrame{id: "s", persistent: true}) {
		t.Error("session present at first, want not")
	}
	c.subscribe("q/#", 1)
	c.disconnect()
	const n = maxOffline + 10
	for i := range n {
		pub.publish("q/x", fmt.Sprint(i), 1, false)
	}
	pub.ping() // mochi acknowledges before it delivers
	if got := b.Stats().InflightDropped; got != n-maxOffline {
		t.Errorf("InflightDropped = %d, want %d", got, n-maxOffline)
	}
	again := dial(t, addr)
	if !again.open(connectFrame{id: "s", persistent: true}) {
		t.Error("session not present, want present")
	}
	seen := map[string]bool{}
	for range maxOffline {
		seen[again.received()] = true
	}
	if len(seen) != maxOffline {
		t.Errorf("got %d different messages, want %d", len(seen), maxOffline)
	}
	again.disconnect()
	fresh := dial(t, addr)
	fresh.connect("s") // clean: ends the session
	fresh.disconnect()
	if dial(t, addr).open(connectFrame{id: "s", persistent: true}) {
		t.Error("session present after a clean one, want not")
	}
}

// Sessions without a connection are dropped after an hour, and the oldest when there are too many.
func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{Allow: allowAll})
	var clients []*raw
	for i := range 2 * maxSessions {
		c := dial(t, addr)
		c.open(connectFrame{id: fmt.Sprintf("s%d", i), persistent: true})
		c.subscribe("a", 1)
		clients = append(clients, c)
	}
	for _, c := range clients {
		_ = c.conn.Close() // all at once
	}
	eventually(t, "bound of sessions", func() bool { return b.server.Clients.Len() == maxSessions })
	b.expire(time.Now().Add(maxSessionAge - time.Minute).Unix())
	if got := b.server.Clients.Len(); got != maxSessions {
		t.Errorf("%d sessions before the hour is over, want %d", got, maxSessions)
	}
	live := dial(t, addr)
	live.open(connectFrame{id: "live", persistent: true})
	b.expire(time.Now().Add(maxSessionAge + time.Minute).Unix())
	if got := b.server.Clients.Len(); got != 1 {
		t.Errorf("%d sessions after it, want only the live one", got)
	}
	if got := len(b.server.Topics.Subscribers("a").Subscriptions); got != 0 {
		t.Errorf("%d subscriptions of dropped sessions, want 0", got)
	}
}

// crashFrame is the SUBSCRIBE without its options byte that kills a plain mochi v2.7.9 (M1).
func crashFrame() []byte { return wrap(0x82, append([]byte{0, 1, 0}, str("#")...)) }

// M1: the crash costs the sender its connection and nobody anything else.
func TestCrashIsContained(t *testing.T) {
	t.Parallel()
	var log logBuffer
	b, addr := start(t, Config{Allow: allowAll, Log: log.logger(slog.LevelInfo)})
	bystander := dial(t, addr)
	bystander.connect("bystander")
	bystander.subscribe("a", 1)
	const n = 20
	for i := range n {
		c := dial(t, addr)
		c.open(connectFrame{id: fmt.Sprintf("bad%d", i), version: 5})
		c.send(wrap(0x82, append(append([]byte{0, 1, 0}, str("#")...), 1))) // sound: leaves a subscription
		c.expect(suback)
		c.send(crashFrame())
		c.expectClosed()
	}
	bad := dial(t, addr)
	bad.send(wrap(0x10, str("MQTT")[:4])) // cut short, before there is a session
	bad.expectClosed()
	eventually(t, "recoveries", func() bool { return b.Stats().Recovered == n })
	eventually(t, "end of the crashed", func() bool { return b.Stats().Clients == 1 && b.server.Clients.Len() == 1 })
	fresh := dial(t, addr)
	fresh.connect("bad0")
	fresh.publish("a", "1", 1, false)
	if got := bystander.received(); got != "a=1" {
		t.Errorf("got %s, want a=1", got)
	}
	if got := b.server.Topics.Subscribers("a").Subscriptions; len(got) != 1 {
		t.Errorf("subscribers %v, want only the bystander", got)
	}
	b.mu.Lock()
	conns := len(b.conns)
	b.mu.Unlock()
	if conns != 2 {
		t.Errorf("%d connections, want 2", conns)
	}
	if got := strings.Count(log.String(), "recovered from a crash"); got != 1 {
		t.Errorf("%d log lines, want 1", got)
	}
}

// When the broker stops, the last wills of those who are still connected are stored: nobody stays "online" for ever.
func TestLastWillsAtStop(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	_, addr, stop := startStop(t, Config{Allow: allowAll, Store: path})
	want := map[string]string{}
	for i := range 20 {
		topic := fmt.Sprintf("/h%d/status", i)
		c := dial(t, addr)
		c.open(connectFrame{id: topic, willTopic: topic, willPayload: "offline", willQoS: 1, willRetain: true})
		c.publish(topic, "online", 1, true)
		want[topic] = "offline"
	}
	stop()
	if diff := cmp.Diff(stored(t, path), want); diff != "" {
		t.Errorf("store (-got +want):\n%s", diff)
	}
}
