package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports/janitoo/janitootest"
	"rollcall/reports/janitoo/wire"
)

// replayed is Janitoo's own servers, by what they have said: each request is answered as it was by them.
type replayed struct {
	*bus.Client
	controllers []string
	heard       chan wire.Request
	gone        atomic.Bool  // it answers no more
	value       atomic.Value // func(wire.Request), which answers a request for a value; none: silence
}

// replay starts the servers of these controllers at a broker.
func replay(t *testing.T, url string, controllers ...string) *replayed {
	t.Helper()
	r := &replayed{Client: bustest.Dial(t, url), controllers: controllers, heard: make(chan wire.Request, 100)}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Subscribe(ctx, 0, r.answer, wire.BroadcastRequest, "/nodes/+/+/request"); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *replayed) answer(m bus.Message) {
	request, err := wire.ParseRequest(m.Payload)
	if err != nil || r.gone.Load() {
		return
	}
	select {
	case r.heard <- request:
	default: // nobody looks at so many
	}
	hadd, direct := wire.ParseRequestTopic(m.Topic)
	if !request.IsDiscovery() {
		if f, ok := r.value.Load().(func(wire.Request)); ok {
			f(request)
		}
		return
	}
	for _, c := range r.controllers {
		topic := wire.BroadcastReplyTopic(request.ReplyHadd)
		if direct {
			topic = wire.ReplyTopic(request.ReplyHadd)
		}
		if direct && string(hadd[:4]) != c {
			continue
		}
		payload := captured(c, request.UUID)
		if payload == nil { // what a controller says that has nothing of the genre
			payload = wire.MarshalReply(request, nil, nil)
		}
		r.Send(bus.Message{Topic: topic, Payload: payload})
	}
}

// captured returns what a controller of Janitoo answered, nil where it was never asked.
func captured(controller, info string) []byte {
	name := "broadcast_" + controller + "_" + info + ".json"
	if _, err := os.Stat(filepath.Join("../reports/janitoo/janitootest/testdata/replies", name)); err != nil {
		return nil
	}
	return janitootest.Capture("replies/" + name)
}

// slow is how long the commands of these tests may wait for an answer, on a busy machine.
const slow = "50"

// knows has the laptop expect these controllers at the broker, so that network ends when they have answered, and not before.
func (l *laptop) knows(url string, controllers ...string) {
	l.t.Helper()
	c := cache{Version: cacheVersion, Last: map[string]lastSweep{}, path: l.cache}
	var all []string
	for _, one := range controllers {
		all = append(all, one+"/0000")
	}
	c.remember("janitoo "+url, lastSweep{IDs: all, At: time.Now()})
	if err := c.write(); err != nil {
		l.t.Fatal(err)
	}
}

// mosquittoURL starts a mosquitto that is open to this machine, for the life of the test, and returns its URL.
func mosquittoURL(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			t.Skip("no mosquitto on this machine")
		}
	}
	addr := freePort(t)
	cmd := exec.Command(program, "-p", strings.TrimPrefix(addr, "127.0.0.1:")) // without a file it listens on loopback alone
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return "tcp://" + addr
}

// The same on the broker that Janitoo's people use.
func TestJanitooOnMosquitto(t *testing.T) {
	t.Parallel()
	url := mosquittoURL(t)
	r := replay(t, url, allControllers...) // it tries until the broker is there
	r.value.Store(func(wire.Request) {
		r.Send(bus.Message{Topic: "/values/config/0121/0000/location", Payload: janitootest.Capture("values/config_0121_0000_location.as_query_answer.json")})
	})
	l := newLaptop(t)
	l.knows(url, allControllers...)
	for range 2 {
		out, errs := l.want(exitOK, "--broker", url, "network", "--timeout", slow)
		if _, rows := printed(out); len(rows) != 17 || !strings.HasPrefix(errs, "5 controllers, 17 nodes in ") {
			t.Errorf("network printed\n%s%s", out, errs)
		}
	}
	if out, _ := l.want(exitOK, "--broker", url, "node", "--hadd", "0225/0000", "--vuuid", "all", "--timeout", slow); strings.Count(out, "\n----------\nhadd ") != 6 {
		t.Errorf("node --vuuid all printed\n%s", out)
	}
	if out, _ := l.want(exitOK, "--broker", url, "query", "--hadd", "0121/0000", "--genre", "config", "--uuid", "location", "--timeout", slow); !strings.Contains(out, " My computer ") {
		t.Errorf("query printed\n%s", out)
	}
}

// Whatever comes, a line is a line, and nothing in it moves a cursor.
func FuzzReadJanitoo(f *testing.F) {
	for _, name := range append(janitootest.Captures("values/*.json"), janitootest.Captures("replies/*.json")...) {
		f.Add("/values/user/0121/0001/x", janitootest.Capture(name))
		f.Add("/broadcast/reply/9999/9990", janitootest.Capture(name))
	}
	f.Add("/dhcp/heartbeat/0121/0001", []byte("ONLINE"))
	f.Add("/nodes/0121/0001/request", []byte(`{"uuid":"\u001b","genre":9,"hadd":"0121/0001","data":{"a":[]}}`))
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		m := bus.Message{Topic: topic, Payload: payload}
		var out bytes.Buffer
		a := &app{out: &output{w: &out}}
		s := spying{janitoo: true}
		if err := s.printJanitoo(a, m); err != nil || strings.Count(out.String(), "\n") != 1 || strings.ContainsFunc(strings.TrimSuffix(out.String(), "\n"), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q on %q prints %q, %v", payload, topic, out.String(), err)
		}
		found := newJanitooFound(wire.Infos())
		found.receive(m)
		var d janitooDiscovery
		d.number = -1
		if err := d.tables(a, found, wire.Infos()); err != nil || strings.ContainsRune(out.String(), '\x1b') {
			t.Errorf("%q prints %q, %v", payload, out.String(), err)
		}
	})
}
