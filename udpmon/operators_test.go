package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/internal/discover"
	"rollcall/internal/trust"
	"rollcall/reports"
)

// newOperator makes an operator's key, and his line with the rights.
func newOperator(t testing.TB, name, rights string) (trust.Key, string) {
	t.Helper()
	k, err := trust.NewKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return k, rights + " " + k.Public().String() + "\n"
}

// operatorBed is a host that obeys the operators of these lines.
func operatorBed(t testing.TB, lines string) *bed {
	t.Helper()
	return startBed(t, func(c *config.Config) { write(t, c.Discovery.AuthorizedOperators, lines) })
}

// as returns how the operator connects to the broker.
func (b *bed) as(k trust.Key) bus.Config {
	b.t.Helper()
	conf, err := k.ClientTLS(b.m.key.Public())
	if err != nil {
		b.t.Fatal(err)
	}
	return bus.Config{URL: "ssl://" + b.m.safe.String(), TLS: conf}
}

// sweptBy sweeps the host with the operator's key.
func (b *bed) sweptBy(k trust.Key) *discover.Host {
	b.t.Helper()
	var h *discover.Host
	_, err := discover.Sweep(b.t.Context(), discover.SweepConfig{To: []string{"127.0.0.1"}, Port: b.port, Sealed: true, Key: k, Wait: 600 * time.Millisecond},
		func(a discover.Answer) { h = &a.Host })
	if err != nil {
		b.t.Fatal(err)
	}
	return h
}

// Each operator may do what his rights say; what they don't is refused with a result, and does not reach the service.
func TestOperatorsRights(t *testing.T) {
	t.Parallel()
	alice, aliceLine := newOperator(t, "alice", "read,control,setup")
	carol, carolLine := newOperator(t, "carol", "control")
	guest, guestLine := newOperator(t, "guest", "read")
	b := operatorBed(t, aliceLine+carolLine+guestLine)
	if got := b.log.having("host obeys the operators"); len(got) != 1 || !strings.Contains(got[0], "carol (read,control)") {
		t.Errorf("log says %q", got)
	}
	commands := listen(t, b.dial(), "/pi1/gpio/#", "pi1/gpio/#")
	for _, tt := range []struct {
		name string
		key  trust.Key
		may  string // the commands below, one letter each
	}{{"alice", alice, "gscS"}, {"carol", carol, "gsc"}, {"guest", guest, "g"}} {
		h := b.sweptBy(tt.key)
		if h == nil || h.Hostname != "pi1" || h.Open || !h.Key.Equal(b.m.key.Public().Key) || len(h.Brokers) == 0 || h.Brokers[0] != "ssl://"+b.m.safe.String() {
			t.Errorf("%s finds %+v", tt.name, h)
		}
		c := bustest.Run(t, b.as(tt.key))
		answers := listen(t, c, "/udpsrv/answer")
		for letter, topic := range map[string]string{"g": "/pi1/gpio/get/x", "s": "/pi1/gpio/set/x", "c": "/pi1/gpio/control", "S": "/pi1/gpio/setup"} {
			for _, form := range []string{topic, strings.TrimPrefix(topic, "/")} {
				payload := `{"value":"1","id":"` + letter + `","reply":"/udpsrv/answer"}`
				if letter == "g" {
					payload = `{"id":"g","reply":"/udpsrv/answer"}`
				}
				if err := c.Publish(within(t), bus.Message{Topic: form, Payload: []byte(payload), QoS: 1}); err != nil {
					t.Fatalf("%s publishes to %s: %v", tt.name, form, err)
				}
				if strings.Contains(tt.may, letter) {
					if m := next(t, commands, "command"); strings.Trim(m.Topic, "/") != strings.Trim(topic, "/") {
						t.Errorf("%s: got %s, want %s", tt.name, m.Topic, topic)
					}
					continue
				}
				for _, ch := range []<-chan bus.Message{answers, commands} { // the reply, and the service's result
					m := next(t, ch, "refusal")
					var r reports.Result
					if err := json.Unmarshal(m.Payload, &r); err != nil || r.OK || r.Code != reports.CodeNotAllowed || !strings.Contains(r.Error, tt.name) {
						t.Errorf("%s on %s: %s %s", tt.name, form, m.Topic, m.Payload)
					}
					if m.Topic != "/udpsrv/answer" && m.Topic != "/pi1/gpio/result" {
						t.Errorf("%s's command reached %s", tt.name, m.Topic)
					}
				}
			}
		}
	}
}

// What is no command nobody may publish from the network, whatever his rights.
func TestOperatorsPublishCommandsOnly(t *testing.T) {
	t.Parallel()
	alice, line := newOperator(t, "alice", "read,control,setup")
	b := operatorBed(t, line)
	for _, topic := range []string{"/pi1/gpio/status", "/pi1/status", "/udp/report", "/pi1/gpio/result", "/x", "/pi2", "$SYS/x", "/pi1/gpio/description"} {
		down := make(chan error, 10)
		conf := b.as(alice)
		conf.OnDown = func(err error) { down <- err }
		c := bustest.Run(t, conf)
		if err := c.Publish(within(t), bus.Message{Topic: topic, Payload: []byte("x"), QoS: 1}); err == nil {
			t.Errorf("an operator may publish to %s", topic)
		}
	}
}

// Who is removed is out from SIGHUP on, connection and all; a file with a mistake changes nothing.
func TestOperatorsRemoved(t *testing.T) {
	t.Parallel()
	alice, aliceLine := newOperator(t, "alice", "read,control,setup")
	carol, carolLine := newOperator(t, "carol", "read,control")
	b := operatorBed(t, aliceLine+carolLine)
	down := make(chan error, 10)
	conf := b.as(carol)
	conf.OnDown = func(err error) { down <- err }
	bustest.Run(t, conf)
	file := b.cfg.Discovery.AuthorizedOperators
	write(t, file, aliceLine+"nonsense\n")
	if b.m.reload(b.cfg) {
		t.Error("a file with a mistake was put in force")
	}
	if err := check(b.cfg, b.m.log); err == nil || !strings.Contains(err.Error(), file+":2: ") {
		t.Errorf("check = %v, want the line", err)
	}
	b.tick(time.Minute)
	eventually(t, "line about the mistake", 1, func() int { return len(b.log.having("file of operators refused")) })
	if b.sweptBy(carol) == nil || len(down) > 0 {
		t.Error("a file with a mistake has removed an operator")
	}
	write(t, file, aliceLine)
	if !b.m.reload(b.cfg) {
		t.Fatal("reload failed")
	}
	select {
	case <-down:
	case <-time.After(limit):
		t.Error("the connection of an operator who was removed stays")
	}
	if h := b.sweptBy(carol); h != nil {
		t.Errorf("an operator who was removed finds %+v", h)
	}
	if b.sweptBy(alice) == nil {
		t.Error("the other operator finds nothing")
	}
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	b.tick(time.Minute)
	eventually(t, "line about the mode", 1, func() int { return len(b.log.having("chmod go-w " + file)) })
}

// A bad file or a key that others can read keeps the host from starting.
func TestTrustMistakesAtStart(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		prepare func(c *config.Config)
		want    string
	}{
		"bad line": {func(c *config.Config) { write(t, c.Discovery.AuthorizedOperators, "\nread rsa") }, "authorized_operators:2: "},
		"key that others can read": {func(c *config.Config) {
			if err := os.MkdirAll(c.StateDir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(write(t, c.StateDir+"/"+hostKeyFile, "x"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "chmod 600 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t)
			tt.prepare(&cfg)
			m, err := newMonitor(cfg, time.Now, quiet())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("newMonitor = %v, %v, want %q", m, err, tt.want)
			}
		})
	}
}
