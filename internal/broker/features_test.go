package broker

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/go-cmp/cmp"
)

// wait waits for a token of paho's.
func wait(t testing.TB, tok paho.Token) {
	t.Helper()
	if !tok.WaitTimeout(deadline) {
		t.Fatal("paho: no answer")
	}
	if err := tok.Error(); err != nil {
		t.Fatal(err)
	}
}

func pahoClient(t testing.TB, addr, id string) paho.Client {
	t.Helper()
	c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + addr).SetClientID(id).SetAutoReconnect(false))
	wait(t, c.Connect())
	t.Cleanup(func() { c.Disconnect(50) })
	return c
}

// Which topics a filter matches, live and retained (BROKERS.md §1.4).
func TestWildcards(t *testing.T) {
	t.Parallel()
	topics := []string{"/udp/report", "/udp", "udp/report", "/", "a", "a/", "a//b", "a/b", "/h/gpio/input/door", "/h/gpio/status", "with space", "with.dot",
		"grüße/°C", "*/>", "//"}
	tests := map[string][]string{
		"#":                    topics,
		"/#":                   {"/udp/report", "/udp", "/", "/h/gpio/input/door", "/h/gpio/status", "//"},
		"/udp/#":               {"/udp/report", "/udp"},
		"/udp/report":          {"/udp/report"},
		"+/udp/report":         {"/udp/report"},
		"/+":                   {"/udp", "/"},
		"+":                    {"a", "with space", "with.dot"},
		"+/+":                  {"/udp", "udp/report", "/", "a/", "a/b", "grüße/°C", "*/>"},
		"a/+/b":                {"a//b"},
		"a/#":                  {"a", "a/", "a//b", "a/b"},
		"/h/+/+/door":          {"/h/gpio/input/door"},
		"/h/gpio/input/+":      {"/h/gpio/input/door"},
		"/+/+/status":          {"/h/gpio/status"},
		"/h/gpio/input/door":   {"/h/gpio/input/door"},
		"/h/gpio/input/door/":  nil,
		"//":                   {"//"},
		"with space":           {"with space"},
		"A":                    nil,
		"/h/gpio/input/door/#": {"/h/gpio/input/door"},
	}
	_, addr := start(t, Config{Allow: allowAll})
	pub := dial(t, addr)
	pub.connect("pub")
	subs := map[string]*raw{}
	for filter := range tests {
		c := dial(t, addr)
		c.connect("live " + filter)
		if code := c.subscribe(filter, 1); code != 1 {
			t.Fatalf("filter %q: code %d, want 1", filter, code)
		}
		subs[filter] = c
	}
	for _, topic := range topics {
		pub.publish(topic, "x", 1, true)
	}
	pub.publish("$end", "", 0, false) // refused, like every topic that begins with $
	for filter, want := range tests {
		late := dial(t, addr)
		late.connect("late " + filter)
		late.subscribe(filter, 1)
		var live, retained []string
		for range want {
			live = append(live, subs[filter].expect(publish).topic())
			f := late.expect(publish)
			if retained = append(retained, f.topic()); !f.retain() {
				t.Errorf("%q: %s arrives late and not as retained", filter, f.topic())
			}
		}
		slices.Sort(retained)
		if diff := cmp.Diff(live, want); diff != "" {
			t.Errorf("%q, live (-got +want):\n%s", filter, diff)
		}
		want := slices.Clone(want)
		slices.Sort(want)
		if diff := cmp.Diff(retained, want); diff != "" {
			t.Errorf("%q, retained (-got +want):\n%s", filter, diff)
		}
		if extra := len(subs[filter].held) + len(late.held); extra != 0 {
			t.Errorf("%q: %d messages more than asked for", filter, extra)
		}
	}
}

func TestPaho(t *testing.T) {
	t.Parallel()
	_, addr := start(t, Config{Allow: allowAll})
	pub, sub := pahoClient(t, addr, "pub"), pahoClient(t, addr, "sub")
	wait(t, pub.Publish("/h/gpio/input/door", 1, true, "old"))
	wait(t, pub.Publish("/h/gpio/input/gone", 1, true, "old"))
	wait(t, pub.Publish("/h/gpio/input/gone", 1, true, ""))
	got := make(chan string, 100)
	wait(t, sub.Subscribe("/h/#", 1, func(_ paho.Client, m paho.Message) {
		if m.Topic() == "/h/gpio/input/gone" && !m.Retained() {
			return // it was acknowledged, and may be delivered still
		}
		got <- fmt.Sprintf("%s=%s qos %d retained %v", m.Topic(), m.Payload(), m.Qos(), m.Retained())
	}))
	if m, want := <-got, "/h/gpio/input/door=old qos 1 retained true"; m != want {
		t.Errorf("got %s, want %s", m, want)
	}
	for i := range 50 {
		wait(t, pub.Publish("/h/gpio/input/door", byte(i%3), true, fmt.Sprint(i)))
		if m, want := <-got, fmt.Sprintf("/h/gpio/input/door=%d qos %d retained false", i, min(i%3, 1)); m != want {
			t.Errorf("got %s, want %s", m, want)
		}
	}
	wait(t, sub.Unsubscribe("/h/#"))
	wait(t, pub.Publish("/h/x", 1, false, "late"))
	select {
	case m := <-got:
		t.Errorf("got %s after the end of the subscription", m)
	default:
	}
}

// 1,000 retained topics arrive whole, over one filter, right after the subscription.
func TestManyRetained(t *testing.T) {
	t.Parallel()
	_, addr := start(t, Config{Allow: allowAll})
	pub, sub := dial(t, addr), dial(t, addr)
	pub.connect("pub")
	for i := range 1000 {
		pub.publish(fmt.Sprintf("/h/service/%d/value", i), strings.Repeat("x", i+1), 0, true)
	}
	pub.ping()
	sub.connect("sub")
	sub.subscribe("/+/service/#", 1)
	seen := map[string]bool{}
	for range 1000 {
		f := sub.expect(publish)
		if want := fmt.Sprintf("/h/service/%d/value", len(f.payload())-1); f.topic() != want || seen[want] {
			t.Fatalf("got %s with %d bytes, seen %v", f.topic(), len(f.payload()), seen[want])
		}
		seen[f.topic()] = true
	}
}

// Of overlapping subscriptions comes one copy, with the higher QoS.
func TestOverlap(t *testing.T) {
	t.Parallel()
	_, addr := start(t, Config{Allow: allowAll})
	c := dial(t, addr)
	c.connect("c")
	c.subscribe("/h/#", 0)
	c.subscribe("/h/+", 1)
	c.publish("/h/x", "1", 1, false)
	if f := c.expect(publish); f.flags>>1&3 != 1 || f.topic() != "/h/x" {
		t.Errorf("got %s with QoS %d, want /h/x with 1", f.topic(), f.flags>>1&3)
	}
	c.publish("/h/end", "", 1, false)
	if got := c.received(); got != "/h/end=" {
		t.Errorf("got %s, want no second copy", got)
	}
}

// QoS 1 reaches a QoS 0 subscriber with QoS 0, and the other way round.
func TestQoSIsTheLower(t *testing.T) {
	t.Parallel()
	_, addr := start(t, Config{Allow: allowAll})
	pub := dial(t, addr)
	pub.connect("pub")
	for qos := range byte(2) {
		sub := dial(t, addr)
		sub.connect(fmt.Sprint(qos))
		sub.subscribe("a", qos)
		for sent := range byte(2) {
			pub.publish("a", "x", sent, false)
			if got, want := sub.expect(publish).flags>>1&3, min(qos, sent); got != want {
				t.Errorf("sent with QoS %d, subscribed with %d: received with %d, want %d", sent, qos, got, want)
			}
		}
	}
}

// mosquitto's clients, in both versions of the protocol.
func TestMosquitto(t *testing.T) {
	t.Parallel()
	sub, err := exec.LookPath("mosquitto_sub")
	if err != nil {
		t.Skip("mosquitto_sub is not installed")
	}
	pub, err := exec.LookPath("mosquitto_pub")
	if err != nil {
		t.Skip("mosquitto_pub is not installed")
	}
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			b, addr := start(t, Config{Allow: func(_ Peer, topic string, _ bool) bool { return topic != "/forbidden" }})
			ctx, cancel := context.WithTimeout(context.Background(), deadline)
			defer cancel()
			run := func(name string, args ...string) *exec.Cmd {
				host, port, _ := strings.Cut(addr, ":")
				return exec.CommandContext(ctx, name, append([]string{"-V", version, "-h", host, "-p", port}, args...)...)
			}
			publish := func(args ...string) {
				t.Helper()
				if out, err := run(pub, args...).CombinedOutput(); err != nil {
					t.Fatalf("mosquitto_pub %q: %v\n%s", args, err, out)
				}
			}
			publish("-t", "/h/gpio/input/door", "-r", "-q", "1", "-m", "ON")
			cmd := run(sub, "-t", "/h/#", "-q", "1", "-C", "4", "-F", "%t %p %r", "-v")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(out)
			want := func(want string) {
				t.Helper()
				if got, err := lines.ReadString('\n'); got != want+"\n" {
					t.Errorf("mosquitto_sub says %q (%v), want %q", got, err, want)
				}
			}
			want("/h/gpio/input/door ON 1")
			for qos := range 3 {
				publish("-t", "/h/x", "-q", fmt.Sprint(qos), "-m", fmt.Sprint(qos))
				want(fmt.Sprintf("/h/x %d 0", qos))
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("mosquitto_sub: %v", err)
			}
			refused, err := run(sub, "-t", "/forbidden", "-W", "2").CombinedOutput()
			if !strings.Contains(string(refused), "denied") && !strings.Contains(string(refused), "Not authorized") {
				t.Errorf("mosquitto_sub says %q (%v) to a refused subscription", refused, err)
			}
			eventually(t, "end of clients", func() bool { return b.Stats().Clients == 0 })
		})
	}
}

// The broker answers a client of mochi's own kind: what it sends is what MQTT says, byte by byte.
func TestFrames(t *testing.T) {
	t.Parallel()
	_, addr := start(t, Config{Allow: allowAll})
	c := dial(t, addr)
	steps := []struct{ send, want string }{
		{string(connectFrame{id: "c"}.bytes()), "\x20\x02\x00\x00"},
		{"\xc0\x00", "\xd0\x00"},
		{"\x82\x06\x00\x07\x00\x01a\x01", "\x90\x03\x00\x07\x01"},
		{"\x32\x06\x00\x01a\x00\x09x", "\x40\x02\x00\x09" + "\x32\x06\x00\x01a\x00\x03x"},
		{"\x40\x02\x00\x03\xa2\x05\x00\x08\x00\x01a", "\xb0\x02\x00\x08"},
		{"\x34\x06\x00\x01a\x00\x0ax", "\x50\x02\x00\x0a"},
		{"\x62\x02\x00\x0a", "\x70\x02\x00\x0a"},
	}
	for _, s := range steps {
		c.send([]byte(s.send))
		got := make([]byte, len(s.want))
		_ = c.conn.SetReadDeadline(time.Now().Add(deadline))
		if _, err := io.ReadFull(c.r, got); err != nil || string(got) != s.want {
			t.Fatalf("sent %x, got %x (%v), want %x", s.send, got, err, s.want)
		}
	}
}
