package broker

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

func isSet(topic string) bool { return strings.HasPrefix(topic, "/h/x/set/") }

// A command that is published with the retain flag reaches the service with that flag, so that it can refuse it, and stays nowhere.
func TestRetainedCommand(t *testing.T) {
	t.Parallel()
	for name, publish := range map[string]func(t *testing.T, addr string){
		"QoS 0": func(t *testing.T, addr string) { asHouse(t, addr).publish("/h/x/set/a", "1", 0, true) },
		"QoS 1": func(t *testing.T, addr string) { asHouse(t, addr).publish("/h/x/set/a", "1", 1, true) },
		"QoS 2": func(t *testing.T, addr string) {
			wait(t, pahoClient(t, addr, "pub").Publish("/h/x/set/a", 2, true, "1"))
		},
		"stranger": func(t *testing.T, addr string) {
			s := dialStranger(t, addr)
			s.connect("s")
			s.publish("/h/x/set/a", "1", 1, true)
		},
		"last will":               func(t *testing.T, addr string) { die(dial(t, addr)) },
		"last will of a stranger": func(t *testing.T, addr string) { die(dialStranger(t, addr)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, addr := start(t, Config{Allow: allowAll, Trusted: trustHouse, Command: isSet})
			subs := map[string]*raw{}
			for id, version := range map[string]byte{"v3": 4, "v5": 5} {
				subs[id] = dial(t, addr)
				subs[id].open(connectFrame{id: id, version: version})
				body := []byte{0, 1}
				if version == 5 {
					body = append(body, 0)
				}
				subs[id].send(wrap(0x82, append(append(body, str("#")...), 1)))
				subs[id].expect(suback)
			}
			publish(t, addr)
			for id, sub := range subs {
				if f := sub.expect(3); f.topic() != "/h/x/set/a" || !strings.HasSuffix(string(f.body), "1") || !f.retain() {
					t.Errorf("%s got %s %q, retained %v; want the command with the flag", id, f.topic(), f.body, f.retain())
				}
			}
			if got := b.Stats().Retained; got != 0 {
				t.Errorf("%d messages retained, want none", got)
			}
			own := dial(t, addr)
			own.connect("own")
			own.publish("/h/x/a", "1", 1, true) // no command
			own.publish("/h/x/set/a", "2", 1, false)
			for _, want := range []string{"/h/x/a=1", "/h/x/set/a=2"} {
				if got := subs["v3"].received(); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
			if got := b.Stats().Retained; got != 1 {
				t.Errorf("%d messages retained, want the one that is no command", got)
			}
		})
	}
}

func asHouse(t *testing.T, addr string) *raw {
	c := dial(t, addr)
	c.connect("pub")
	return c
}

// die connects with a command as the last will, and dies.
func die(c *raw) {
	c.open(connectFrame{id: "dies", willTopic: "/h/x/set/a", willPayload: "1", willQoS: 1, willRetain: true})
	_ = c.conn.Close()
}

// One that is too long to be kept is refused all the same, and one that waits for a client that is away keeps its flag.
func TestRetainedCommandLargeAndQueued(t *testing.T) {
	t.Parallel()
	_, addr := start(t, Config{Allow: allowAll, Command: isSet})
	pub := asHouse(t, addr)
	away := dial(t, addr)
	away.open(connectFrame{id: "away", persistent: true})
	away.subscribe("/h/#", 1)
	away.disconnect()
	pub.publish("/h/x/set/a", "1", 1, true)
	pub.ping()
	back := dial(t, addr)
	back.open(connectFrame{id: "away", persistent: true})
	if got := back.received(); got != "/h/x/set/a=1 retained" {
		t.Errorf("after the absence: %s, want it with the flag", got)
	}
	pub.publish("/h/x/set/a", strings.Repeat("x", 200<<10), 1, true)
	if f := back.expect(publish); !f.retain() || len(f.payload()) != 200<<10 {
		t.Errorf("large command: %d bytes, retained %v", len(f.payload()), f.retain())
	}
}

// A ghost from before can be cleared, which is no command.
func TestGhostIsCleared(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	_, addr, stop := startStop(t, Config{Allow: allowAll, Store: path})
	asHouse(t, addr).publish("/h/x/set/a", "1", 1, true)
	stop()
	b, addr, stop := startStop(t, Config{Allow: allowAll, Store: path, Command: isSet})
	got := make(chan paho.Message, 10)
	wait(t, pahoClient(t, addr, "sub").Subscribe("/h/#", 1, func(_ paho.Client, m paho.Message) { got <- m }))
	if m := <-got; string(m.Payload()) != "1" || !m.Retained() {
		t.Errorf("got %s, retained %v; want the ghost", m.Payload(), m.Retained())
	}
	pub := pahoClient(t, addr, "pub")
	for _, qos := range []byte{0, 1, 2} {
		wait(t, pub.Publish("/h/x/set/a", qos, true, ""))
	}
	wait(t, pub.Publish("/h/x/end", 1, false, "end"))
	select {
	case m := <-got:
		if m.Topic() != "/h/x/end" {
			t.Errorf("got %s=%s, want nothing of the clearing", m.Topic(), m.Payload())
		}
	case <-time.After(deadline):
		t.Error("nothing came")
	}
	if n := b.Stats().Retained; n != 0 {
		t.Errorf("%d messages retained, want none", n)
	}
	stop()
	if left := stored(t, path); len(left) != 0 {
		t.Errorf("stored: %v", left)
	}
}
