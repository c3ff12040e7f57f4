package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/internal/run"
)

// daemon is the whole program under way, with a configuration file that the test writes.
type daemon struct {
	t            testing.TB
	dir, file    string
	port, broker int
	log          *logBuffer
	hup          chan os.Signal
	stop         func() int
}

// startDaemon runs the program until the test ends. extra is put into its file.
func startDaemon(t testing.TB, extra string) *daemon {
	t.Helper()
	for range 5 { // another process may take a port meanwhile
		d := &daemon{t: t, dir: t.TempDir(), port: freePort(t), broker: freePort(t), log: &logBuffer{}, hup: make(chan os.Signal, 1)}
		d.file = filepath.Join(d.dir, "rollcall.yaml")
		d.write(d.port, d.broker, extra)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan int, 1)
		go func() { done <- command(ctx, []string{"--config", d.file}, d.hup, d.log, d.log) }()
		d.stop = sync.OnceValue(func() int {
			cancel()
			select {
			case status := <-done:
				return status
			case <-time.After(limit):
				t.Errorf("daemon does not end; its log:\n%s", d.log)
				return -1
			}
		})
		up := func() bool { return len(d.log.having("msg=up")) > 0 || len(d.log.having("in use")) > 0 }
		eventually(t, "start", true, up)
		if len(d.log.having("in use")) > 0 {
			d.stop()
			continue
		}
		t.Cleanup(func() {
			if status := d.stop(); status != run.ExitOK {
				t.Errorf("exit status %d, want 0; log:\n%s", status, d.log)
			}
		})
		return d
	}
	t.Fatal("no free ports")
	return nil
}

func (d *daemon) write(port, broker int, extra string) {
	d.t.Helper()
	write(d.t, d.file, d.doc(port, broker, extra))
}

func (d *daemon) doc(port, broker int, extra string) string {
	doc := extra + fmt.Sprintf("\nstate_dir: %s/state\nmetrics: {listen: 'off'}\n", d.dir)
	if !strings.Contains(extra, "host:") {
		doc += "host: pi1\n"
	}
	if !strings.Contains(extra, "discovery:") {
		doc += "discovery:\n"
	}
	doc = strings.Replace(doc, "discovery:\n", fmt.Sprintf("discovery:\n  port: %d\n  authorized_operators: %s/operators\n", port, d.dir), 1)
	if !strings.Contains(extra, "broker:") {
		doc += fmt.Sprintf("broker: {listen: '127.0.0.1:%d'}\n", broker)
	}
	return doc
}

// reload signals the daemon and waits for a line that says what came of it.
func (d *daemon) reload(outcome string) {
	d.t.Helper()
	before := len(d.log.having(outcome))
	d.hup <- syscall.SIGHUP
	eventually(d.t, "new line with "+outcome, true, func() bool { return len(d.log.having(outcome)) > before })
}

func (d *daemon) url() string { return "tcp://" + at(d.broker) }

// name waits until a sweep of the port finds a host, and returns its name.
func (d *daemon) name(port int) string {
	d.t.Helper()
	name := ""
	eventually(d.t, fmt.Sprint("answer on port ", port), true, func() bool {
		h := sweepOne(d.t, port, 150*time.Millisecond)
		if h != nil {
			name = h.Hostname
		}
		return h != nil
	})
	return name
}

// A bad file is refused with its line, and everything stays as it was.
func TestReloadRefusesBadFiles(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "")
	lost := make(chan error, 10)
	bustest.Run(t, bus.Config{URL: d.url(), OnDown: func(err error) { lost <- err }})
	for _, tt := range []struct{ doc, want string }{
		{"host: pi1\nbrokr: {}\n", "rollcall.yaml:2: "},
		{"host: pi1\n\n\tx", "rollcall.yaml:3: "},
		{"", ""},
	} {
		if tt.doc == "" {
			remove(t, d.file)
		} else {
			write(t, d.file, tt.doc)
		}
		d.reload("refused, the old one stays in force")
		lines := d.log.having("refused, the old one stays in force")
		if last := lines[len(lines)-1]; !strings.Contains(last, tt.want) || !strings.Contains(last, "level=ERROR") {
			t.Errorf("log says %q, want %q", last, tt.want)
		}
		if got := d.name(d.port); got != "pi1" {
			t.Errorf("host is %q", got)
		}
	}
	if len(lost) > 0 {
		t.Errorf("a client of the broker lost its connection: %v", <-lost)
	}
}

// What needs no new socket changes without one: clients stay connected.
func TestSoftReload(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "")
	lost := make(chan error, 10)
	client := bustest.Run(t, bus.Config{URL: d.url(), OnDown: func(err error) { lost <- err }})
	got := listen(t, client, "/udp/report", "/end")
	heard := func(want bool) {
		t.Helper()
		id := fmt.Sprint(time.Now().UnixNano())
		ask(t, "127.0.0.1", d.port, `{"cmd":"status","replyto":"192.0.2.7","topic":"/x","id":"`+id+`"}`)
		d.name(d.port) // a sealed request after it: what it is published for comes later
		for {
			r := fields(t, next(t, got, "request").Payload)
			if r["id"] == id && r["replyto"] == "192.0.2.7" {
				if !want {
					t.Error("a request that the configuration refuses was published")
				}
			} else if r["topic"] == "/pi1/report" {
				if want {
					t.Error("a request that the configuration allows was not published")
				}
				return
			}
			if want {
				return
			}
		}
	}
	heard(false)
	d.write(d.port, d.broker, "discovery:\n  reply_to: [192.0.2.0/24]\n")
	d.reload("new configuration in force")
	heard(true)
	for range 3 {
		d.reload("new configuration in force") // unchanged
	}
	d.write(d.port, d.broker, "discovery:\n  reply_to: [192.0.2.0/24]\n  legacy: false\nagents:\n  hostsensor: {}\n")
	d.reload("new configuration in force")
	drain(got)
	heard(false)
	d.write(d.port, d.broker, "discovery:\n  interfaces: [none0]\n")
	d.reload("new configuration in force")
	if h := sweepOne(t, d.port, 150*time.Millisecond); h != nil {
		t.Errorf("the host answers on an interface that is not listed: %+v", h)
	}
	d.write(d.port, d.broker, "discovery:\n  interfaces: [lo]\n")
	d.reload("new configuration in force")
	d.name(d.port)
	if len(lost) > 0 || len(d.log.having("starting anew")) > 0 {
		t.Errorf("a soft change cost the connection, or the log says %q", d.log.having("starting anew"))
	}
}

func drain(ch <-chan bus.Message) {
	for {
		select {
		case <-ch:
		default:
			return
		}
	}
}

// What needs new sockets starts the monitor anew within the process: with retained messages and id, on the new ports.
func TestHardReload(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "")
	client := bustest.Dial(t, d.url())
	if err := client.Publish(within(t), bus.Message{Topic: "/pi2/gpio/description", Payload: []byte(description("gpio", 1)), QoS: 1, Retained: true}); err != nil {
		t.Fatal(err)
	}
	id := sweepOne(t, d.port, time.Second).ID
	d.write(d.port, d.broker, "host: pi2\n")
	d.reload("new configuration in force")
	eventually(t, "host and services", "pi2 [gpio f-gpio  1]", func() string {
		h := sweepOne(t, d.port, 150*time.Millisecond)
		if h == nil {
			return "none"
		}
		if h.ID != id {
			t.Errorf("id is %s, was %s", h.ID, id)
		}
		return h.Hostname + " " + fmt.Sprint(said(h.Services))
	})
	statuses := map[string]string{}
	status := listen(t, bustest.Dial(t, d.url()), "/+/status")
	for range 2 {
		m := next(t, status, "status")
		statuses[m.Topic] = string(m.Payload)
	}
	if statuses["/pi1/status"] != "offline" || statuses["/pi2/status"] != "online" {
		t.Errorf("statuses are %v", statuses)
	}

	port, broker := freePort(t), freePort(t)
	d.write(port, broker, "")
	d.reload("new configuration in force")
	if got := d.name(port); got != "pi1" {
		t.Errorf("on the new port there is %q, want pi1", got)
	}
	bustest.Dial(t, "tcp://"+at(broker))
	if h := sweepOne(t, d.port, 100*time.Millisecond); h != nil {
		t.Error("the old port still answers")
	}
	if c, err := net.Dial("tcp4", at(d.broker)); err == nil {
		_ = c.Close()
		t.Error("the old broker still listens")
	}
}

// A change that can't be run leaves the configuration in force that was in force, with soft changes made since the start.
func TestHardReloadThatFails(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "")
	d.write(d.port, d.broker, "discovery:\n  interfaces: [none0]\n")
	d.reload("new configuration in force")
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	busy, err := net.ListenPacket("udp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() })
	const stays = "can't be run, the old one stays in force"
	for i, ports := range [][2]int{{d.port, taken.Addr().(*net.TCPAddr).Port}, {busy.LocalAddr().(*net.UDPAddr).Port, d.broker}} {
		d.write(ports[0], ports[1], "")
		d.reload(stays)
		eventually(t, "starts", i+2, func() int { return len(d.log.having("msg=up")) })
		bustest.Dial(t, d.url())
		if lines := d.log.having(stays); !strings.Contains(lines[i], "in use") {
			t.Errorf("log says %q", lines[i])
		}
		if h := sweepOne(t, d.port, 100*time.Millisecond); h != nil {
			t.Error("the change before the failed one is lost: the host answers on an interface that is not listed")
		}
	}
	d.write(d.port, d.broker, "host: pi3\n")
	d.reload("msg=up")
	if got := d.name(d.port); got != "pi3" {
		t.Errorf("host is %q, want pi3", got)
	}
}

// A password file with a new content is a change too.
func TestReloadOfPassword(t *testing.T) {
	t.Parallel()
	broker := bustest.Start(t)
	secret := write(t, filepath.Join(t.TempDir(), "secret"), "S3CRET-one\n")
	d := startDaemon(t, fmt.Sprintf("broker: {url: '%s', username: pi, password_file: %s}\n", broker, secret))
	d.reload("new configuration in force")
	if got := len(d.log.having("starting anew")); got != 0 {
		t.Errorf("started anew %d times for nothing", got)
	}
	write(t, secret, "S3CRET-two\n")
	d.reload("starting anew")
	eventually(t, "starts", 2, func() int { return len(d.log.having("msg=up")) })
	remove(t, secret)
	d.reload("can't be run, the old one stays in force")
	d.write(d.port, d.broker, "host: pi2\n") // a broker of its own
	d.reload("msg=up")
	if got := d.name(d.port); got != "pi2" {
		t.Errorf("host is %q", got)
	}
	if strings.Contains(d.log.String(), "S3CRET") {
		t.Error("the log has the password")
	}
}

// Reloads of both kinds, one upon the other and into the stop, end in order.
func TestReloadStorm(t *testing.T) {
	t.Parallel()
	for round := range 4 {
		d := startDaemon(t, "")
		for i := range 12 {
			d.write(d.port, d.broker, []string{"", "discovery:\n  legacy: false\n", "host: pi2\n"}[(i+round)%3])
			d.hup <- syscall.SIGHUP // waits until the one before is being worked off
		}
		if round%2 == 0 {
			d.reload("new configuration in force")
			if got := d.name(d.port); !strings.HasPrefix(got, "pi") {
				t.Errorf("host is %q", got)
			}
		}
		if status := d.stop(); status != run.ExitOK {
			t.Errorf("exit status %d; log:\n%s", status, d.log)
		}
	}
}
