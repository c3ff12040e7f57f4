package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
)

// state waits until the topic's retained message at the broker is want; "" is none.
func state(t testing.TB, url, topic, want string) {
	t.Helper()
	c := bustest.Dial(t, url)
	got := listen(t, c, topic)
	last := ""
	eventually(t, topic, want, func() string {
		for {
			select {
			case m := <-got:
				last = string(m.Payload)
			default:
				return last
			}
		}
	})
}

// A broker that goes and comes back: the host answers meanwhile, says so once, and everything is there again afterwards.
func TestBrokerLost(t *testing.T) {
	t.Parallel()
	broker := bustest.StartStoppable(t)
	b := startBed(t, func(c *config.Config) { c.Broker = config.Broker{URL: broker.URL()} })
	state(t, broker.URL(), "/pi1/status", "online")
	b.retain("/pi1/gpio/description", description("gpio", 1))
	b.publish("/pi1/heard", `[{"hostname":"pi2","ipaddr":"10.0.0.2"}]`)
	b.services("gpio f-gpio  1")
	state(t, broker.URL(), "/pi2", "10.0.0.2")

	b.clock.pass(time.Second)
	broker.Stop()
	eventually(t, "lines about the lost broker", 1, func() int { return len(b.log.having("level=WARN", "no connection to the broker")) })
	for range 3 {
		b.services("gpio f-gpio  1")
	}
	ask(t, "127.0.0.1", b.port, `{"cmd":"status","replyto":"127.0.0.1:1","topic":"/x","id":1}`)
	eventually(t, "request without a broker", true, func() bool { return b.m.responder.Stats()["published"] > 0 })

	broker.Start()
	state(t, broker.URL(), "/pi1/status", "online")
	state(t, broker.URL(), "/pi2", "10.0.0.2")
	b.client = bustest.Dial(t, broker.URL())
	b.retain("/pi1/ain/description", description("ain", 2)) // the subscriptions are back
	b.services("ain f-ain  2", "gpio f-gpio  1")
	got := listen(t, b.dial(), "/udp/report")
	ask(t, "127.0.0.1", b.port, `{"cmd":"status","replyto":"127.0.0.1:1","topic":"/x","id":2}`)
	for r := (map[string]any{}); fmt.Sprint(r["id"]) != "2"; {
		if r = fields(t, next(t, got, "request").Payload); fmt.Sprint(r["id"]) == "1" {
			t.Error("a request from before is published when its answer is of no use any more")
		}
	}
	b.tick(2 * absence) // gpio has not come back
	b.services("ain f-ain  2")
	if got := len(b.log.having("no connection to the broker")); got != 1 {
		t.Errorf("log says %d times that the broker was lost", got)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	state(t, broker.URL(), "/pi1/status", "offline")
}

// A host whose broker is not there yet comes up and answers.
func TestNoBrokerAtStart(t *testing.T) {
	t.Parallel()
	broker := bustest.StartStoppable(t)
	broker.Stop()
	start := time.Now()
	b := startBed(t, func(c *config.Config) { c.Broker = config.Broker{URL: broker.URL()} })
	if d := time.Since(start); d < time.Second || d > 20*time.Second {
		t.Errorf("ready after %v, want a second", d)
	}
	if h := b.sweep(); h.Hostname != "pi1" || len(h.Services) != 0 {
		t.Errorf("host says %+v", h)
	}
	if err := b.m.healthy(); err != nil {
		t.Errorf("healthy = %v: the broker is none of ours", err)
	}
	broker.Start()
	state(t, broker.URL(), "/pi1/status", "online")
}

// With the embedded broker, a restart brings back what was retained; statuses come back as offline.
func TestRestartOfEmbeddedBroker(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	b.retain("/pi1/gpio/description", description("gpio", 1))
	b.retain("/pi1/gpio/status", "online")
	b.retain("/pi1/gpio/output/led", "ON")
	b.publish("/pi1/heard", `[{"hostname":"pi2","ipaddr":"10.0.0.2"}]`)
	b.services("gpio f-gpio online 1")
	state(t, b.m.at.url, "/pi2", "10.0.0.2")
	id := b.m.id
	b.client = nil
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}

	again := startWith(t, b.cfg)
	again.services("gpio f-gpio offline 1")
	for topic, want := range map[string]string{"/pi1/gpio/output/led": "ON", "/pi2": "10.0.0.2", "/pi1/status": "online", "/pi1/gpio/status": "offline"} {
		state(t, again.m.at.url, topic, want)
	}
	if again.m.id != id {
		t.Errorf("id is %s, was %s", again.m.id, id)
	}
	again.tick(hostLifetime) // what nobody has heard since is taken away, although it was put there by another process
	state(t, again.m.at.url, "/pi2", "")
}

// Killed, it leaves its last will, and on its own disk a broker that opens.
func TestKilled(t *testing.T) {
	t.Parallel()
	for name, external := range map[string]bool{"broker elsewhere": true, "embedded broker": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := daemon{t: t, dir: t.TempDir(), port: freePort(t), broker: freePort(t)}
			d.file = filepath.Join(d.dir, "c.yaml")
			url, extra := d.url(), ""
			if external {
				url = bustest.Start(t)
				extra = "broker: {url: '" + url + "'}\n"
			}
			d.write(d.port, d.broker, extra)
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			log := &logBuffer{}
			cmd := exec.Command(exe)
			cmd.Env = append(os.Environ(), childConfig+"="+d.file)
			cmd.Stdout, cmd.Stderr = log, log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			kill := func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
			t.Cleanup(kill)
			eventually(t, "start", true, func() bool { return len(log.having("msg=up")) > 0 || cmd.ProcessState != nil })
			state(t, url, "/pi1/status", "online")
			if external {
				kill()
				state(t, url, "/pi1/status", "offline")
				return
			}
			// What was retained is on disk within a second: at the latest when something that was retained later is seen there.
			c := bustest.Dial(t, url)
			for _, topic := range []string{"/pi1/gpio/status", "/pi1/later"} {
				if err := c.Publish(within(t), bus.Message{Topic: topic, Payload: []byte("online"), QoS: 1, Retained: true}); err != nil {
					t.Fatal(err)
				}
				eventually(t, topic+" in the store", true, func() bool {
					b, err := os.ReadFile(filepath.Join(d.dir, "state", "retained.db"))
					return err == nil && bytes.Contains(b, []byte(topic))
				})
			}
			kill()
			cfg, err := config.Load(d.file)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Broker.Listen = "127.0.0.1:0"
			again := startWith(t, cfg)
			state(t, again.m.at.url, "/pi1/gpio/status", "offline")
			state(t, again.m.at.url, "/pi1/status", "online")
		})
	}
}

// Without its socket the daemon ends with an error, for systemd to start it again.
func TestSocketDies(t *testing.T) {
	t.Parallel()
	m, err := newMonitor(testConfig(t), time.Now, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.conn.Close(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- m.run(context.Background()) }()
	select {
	case err := <-done:
		if err == nil || !strings.HasPrefix(err.Error(), "responder: ") {
			t.Errorf("run = %v, want an error of the responder", err)
		}
	case <-time.After(limit):
		t.Fatal("the monitor goes on without its socket")
	}
}
