package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/internal/broker"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// milliseconds is an age in a table, alignment included.
var milliseconds = regexp.MustCompile(`\b\d+m?s\n`)

// aMinuteAndAHalf is one on a machine that has other things to do.
var aMinuteAndAHalf = regexp.MustCompile(`1m[3-5]\ds `)

// device answers commands as a service does that has the points of gpio.
type device struct {
	mu    sync.Mutex
	setup string
}

func (d *device) answer(c reports.Command) reports.Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	door := reports.Reading{Path: "input/door", Value: true, Time: time.Now()}
	switch {
	case c.Verb == "get" && c.Path == "setup":
		return reports.Done(c, d.setup)
	case c.Verb == "get" && c.Path == "input/door":
		return reports.Done(c, door)
	case c.Verb == "get" && c.Path == "":
		r := reports.Done(c, map[string]reports.Reading{"input/door": door,
			"output/level": {Path: "output/level", Value: 12.5, Unit: "%", Time: time.Now().Add(-90 * time.Second), Stale: true}})
		r.Error = "output/map: it broke\x1b"
		return r
	case c.Verb == "set" && c.Path == "output/level":
		v, err := gpioService().Points[1].ParseValue(c.Value)
		if err != nil {
			return reports.Failed(c, err)
		}
		return reports.Done(c, reports.Reading{Path: c.Path, Value: v, Unit: "%", Time: time.Now()})
	case c.Verb == "set":
		return reports.Done(c, reports.Reading{Path: c.Path, Value: c.Value, Time: time.Now()})
	case c.Verb == "setup":
		d.setup = string(c.Value.([]byte))
		return reports.Done(c, nil)
	case c.Verb == "control":
		return reports.Done(c, string(c.Value.([]byte)))
	}
	return reports.Failed(c, reports.Errorf(reports.CodeUnknown, "%q is no point\x1b[2J", c.Path))
}

// noHost is the error for a host that did not answer.
var noHost = regexp.MustCompile(`^udpsrv: no host "(pizero2|nobody)" answered \(\d+ms\)\n$`)

// bench is a laptop, a broker and a fake service on it. to is the --broker option that names it.
func bench(t *testing.T) (l *laptop, s *fakeService, to string) {
	t.Helper()
	url := bustest.Start(t)
	return newLaptop(t), serve(t, url, (&device{setup: "outputs: {}\n"}).answer), "--broker=" + url
}

func TestGet(t *testing.T) {
	t.Parallel()
	l, s, to := bench(t)
	if stdout, stderr := l.want(exitOK, "get", to, "pizero2/gpio/input/door"); stdout != "ON\n" || stderr != "" {
		t.Errorf("got %q, %q", stdout, stderr)
	}
	if c := <-s.heard; c.Verb != "get" || c.Path != "input/door" || c.ID == "" || !strings.HasPrefix(c.Reply, "/udpsrv/") {
		t.Errorf("the service heard %+v", c)
	}
	stdout, stderr := l.want(exitOK, "get", to, "/pizero2/gpio/")
	want := "PATH          VALUE  UNIT  AGE\ninput/door    ON     -     Xms\noutput/level  12.5   %     1m30s (stale)\n"
	if got := aMinuteAndAHalf.ReplaceAllString(milliseconds.ReplaceAllString(stdout, "Xms\n"), "1m30s "); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if want := `udpsrv: warning: pizero2/gpio: output/map: it broke\x1b` + "\n"; stderr != want {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
	stdout, _ = l.want(exitOK, "get", to, "--json", "pizero2/gpio/input/door")
	var r reports.Reading
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || r.Value != "ON" || r.Path != "input/door" {
		t.Errorf("--json printed %q", stdout)
	}
	stdout, _ = l.want(exitOK, "get", to, "pizero2/gpio/description")
	var d reports.Service
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || len(d.Points) != 4 || !strings.Contains(stdout, "\n  \"points\"") {
		t.Errorf("description printed %q", stdout)
	}
	if stdout, _ = l.want(exitOK, "get", to, "pizero2/gpio/setup"); stdout != "outputs: {}\n" {
		t.Errorf("setup printed %q", stdout)
	}
	if _, stderr = l.want(exitFail, "get", to, "pizero2/gpio/nothing"); stderr != `udpsrv: pizero2/gpio: "nothing" is no point\x1b[2J (unknown_point)`+"\n" {
		t.Errorf("stderr %q", stderr)
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	l, s, to := bench(t)
	for _, c := range []struct{ path, value, payload, stdout string }{
		{"output/pump", "ON", `"value":"ON"`, "ON\n"},
		{"output/level", "-5", `"value":"-5"`, "-5\n"},
		{"output/level", "7.50", `"value":"7.50"`, "7.5\n"},
		{"output/pump", "true", `"value":"true"`, "true\n"},
		{"output/pump", `{"value":"ON","for":"5s"}`, `"for":"5s","id":"I","reply":"R","value":"ON"`, "ON\n"},
		{"output/map", `{"value":1}`, `"value":{"value":1}`, `{"value":1}` + "\n"},
		{"output/map", ` [1, "<b>"] `, `"value":[1,"<b>"]`, `[1,"\u003cb\u003e"]` + "\n"},
		{"output/map", `{broken`, `"value":"{broken"`, "{broken\n"},
		{"output/pump", "", `"value":""`, "\n"},
	} {
		stdout, stderr := l.want(exitOK, "set", to, "pizero2/gpio/"+c.path, c.value)
		payload := <-s.payload
		got := <-s.heard
		payload = strings.Replace(strings.Replace(payload, string(got.ID), `"I"`, 1), got.Reply, "R", 1)
		if stdout != c.stdout || stderr != "" || !strings.Contains(payload, c.payload) || got.Path != c.path {
			t.Errorf("set %s %s sent %s and printed %q, %q; want %s and %q", c.path, c.value, payload, stdout, stderr, c.payload, c.stdout)
		}
	}
	_, stderr := l.want(exitFail, "set", to, "pizero2/gpio/output/level", "101")
	if want := "udpsrv: pizero2/gpio: output/level: 101 is more than 100 (out_of_range)\n"; stderr != want {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
}

// What no service would take is refused before anybody is asked for the host: here there is none.
func TestLargePayloadsAreNotSent(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	large := strings.Repeat("x", reports.MaxPayload)
	escaped := strings.Repeat("\n", reports.MaxPayload*3/5) // fits, but not as a JSON string
	for _, args := range [][]string{
		{"set", "h/s/p", large},
		{"set", "h/s/p", `{"value":"` + large + `"}`},
		{"set", "h/s/p", `["` + large + `"]`},
		{"control", "h/s", large},
		{"control", "h/s", "-"},
		{"setup", "h/s", "-f", "-"},
	} {
		l.stdin = "x" + escaped
		_, stderr := l.want(exitFail, append([]string{"--broker", "mqtt://" + freePort(t)}, args...)...)
		if !strings.HasPrefix(stderr, "udpsrv: "+args[0]+" of h/s needs ") || !strings.HasSuffix(stderr, " bytes, at most 65536 can be sent; nothing was sent\n") {
			t.Errorf("%.40q: stderr %.200q", args, stderr)
		}
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	l, s, to := bench(t)
	block := "output\n  name pump\n  pin 25\n"
	for _, args := range [][]string{{"control", to, "pizero2/gpio", block}, {"control", to, "pizero2/gpio", "-"}} {
		l.stdin = block
		if stdout, _ := l.want(exitOK, args...); stdout != strings.ReplaceAll(block, "\n", `\n`)+"\n" {
			t.Errorf("%q printed %q", args, stdout)
		}
		if c := <-s.heard; c.Verb != "control" || string(c.Value.([]byte)) != block {
			t.Errorf("the service heard %+v", c)
		}
	}
	l.stdin = " \n"
	if _, stderr := l.want(exitFail, "control", to, "pizero2/gpio", "-"); stderr != "udpsrv: stdin is empty; nothing was sent\n" {
		t.Errorf("stderr %q", stderr)
	}
}

func TestSetupRoundTrip(t *testing.T) {
	t.Parallel()
	l, _, to := bench(t)
	doc := "# pins\noutputs:\n  \"p\u00fcmp\u00a0\": {pin: 25, initial: off}   \n\n\ttail: |+\n  x\n\n"
	file := filepath.Join(t.TempDir(), "gpio.yaml")
	if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr := l.want(exitOK, "setup", to, "pizero2/gpio", "-f", file); stdout+stderr != "" {
		t.Errorf("setup -f printed %q, %q", stdout, stderr)
	}
	stdout, _ := l.want(exitOK, "setup", to, "pizero2/gpio")
	if stdout != doc {
		t.Errorf("got %q, want %q", stdout, doc)
	}
	l.stdin = stdout
	l.want(exitOK, "setup", to, "pizero2/gpio", "-f", "-")
	if again, _ := l.want(exitOK, "setup", to, "pizero2/gpio"); again != doc {
		t.Errorf("got %q, want %q", again, doc)
	}
}

func TestBadDocuments(t *testing.T) {
	t.Parallel()
	dir, l := t.TempDir(), newLaptop(t)
	for name, c := range map[string]struct{ content, want string }{
		"empty":    {"", "FILE is empty; nothing was sent"},
		"blank":    {" \n\t\n", "FILE is empty; nothing was sent"},
		"big":      {strings.Repeat("x", reports.MaxPayload+1), "FILE has more than 65536 bytes"},
		"not text": {"\xff\xfe", "FILE is not UTF-8"},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, stderr := l.want(exitFail, "setup", "h/s", "-f", file)
		if want := "udpsrv: " + strings.ReplaceAll(c.want, "FILE", file) + "\n"; stderr != want {
			t.Errorf("%s: stderr %q, want %q", name, stderr, want)
		}
	}
	if _, stderr := l.want(exitFail, "setup", "h/s", "-f", filepath.Join(dir, "none")); !strings.HasPrefix(stderr, "udpsrv: open "+dir) || !strings.Contains(stderr, "no such file") {
		t.Errorf("stderr %q", stderr)
	}
}

// A program that can publish to its own topics only answers all the same.
func TestResultOnServiceTopicOnly(t *testing.T) {
	t.Parallel()
	l, s, to := bench(t)
	s.noReply = true
	if stdout, _ := l.want(exitOK, "set", to, "pizero2/gpio/output/pump", "ON"); stdout != "ON\n" {
		t.Errorf("got %q", stdout)
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	s := serve(t, url, nil)
	l := newLaptop(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Publish(ctx, bus.Message{Topic: s.topics.To("status"), Payload: []byte("offline"), QoS: 1, Retained: true}); err != nil {
		t.Fatal(err)
	}
	_, stderr := l.want(exitFail, "get", "--broker", url, "--timeout", "100ms", "pizero2/gpio")
	if want := "udpsrv: no answer from pizero2/gpio within 100ms (is it online? status: offline)\n"; stderr != want {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
	_, stderr = l.want(exitFail, "get", "--broker", url, "--timeout", "100ms", "pizero2/gpoi")
	if want := "udpsrv: no answer from pizero2/gpoi within 100ms (is it online? status: online); pizero2 has gpio\n"; stderr != want {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
	_, stderr = l.want(exitFail, "get", "--broker", url, "--timeout", "100ms", "nobody/gpio")
	if want := "udpsrv: no answer from nobody/gpio within 100ms (is it online? status: unknown)\n"; stderr != want {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
	_, stderr = l.want(exitFail, "get", "--broker", "127.0.0.1:1", "pizero2/gpio")
	if !strings.HasPrefix(stderr, "udpsrv: connect to tcp://127.0.0.1:1: ") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("stderr %q", stderr)
	}
}

// The broker comes from a sweep, then from the cache, and from a sweep again when the cache is stale.
func TestBrokerIsFound(t *testing.T) {
	t.Parallel()
	first, second := bustest.StartStoppable(t), bustest.Start(t)
	serve(t, second, (&device{}).answer)
	serve(t, first.URL(), (&device{}).answer)
	h := hostNamed("pizero2", 0xab, first.URL())
	r, l := boot(t, h, nil), newLaptop(t)
	door := func(name string, args ...string) {
		t.Helper()
		if stdout, _ := l.want(exitOK, append([]string{"get", name + "/gpio/input/door"}, args...)...); stdout != "ON\n" {
			t.Errorf("get %s printed %q", name, stdout)
		}
	}
	door("pizero2", "--to", r.addr) // swept
	nowhere := []string{"--to", freePort(t), "--wait", "50ms"}
	for _, name := range []string{"pizero2", "127.0.0.1", "ab01", "AB0102"} {
		door(name, nowhere...) // cached
	}
	first.Stop()
	h.Brokers = []string{second}
	r.Update(h)
	if _, stderr := l.want(exitFail, append([]string{"get", "pizero2/gpio"}, nowhere...)...); !noHost.MatchString(stderr) {
		t.Errorf("stderr %q", stderr)
	}
	door("pizero2") // stale: asked at its last address

	// A broker that is alive and not the host's is no better than a dead one.
	h.Brokers = []string{bustest.Start(t)}
	r.Update(h)
	l.want(exitOK, "sweep", "--to", r.addr)
	h.Brokers = []string{second}
	r.Update(h)
	door("pizero2", "--to", r.addr)
}

// Credentials go to the broker that a person named, and to no other.
func TestCredentials(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var users []string
	b, err := broker.New(broker.Config{Listen: []string{"127.0.0.1:0"}, Allow: func(who broker.Peer, _ string, _ bool) bool {
		mu.Lock()
		defer mu.Unlock()
		if !slices.Contains(users, who.Username) {
			users = append(users, who.Username)
		}
		return true
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	addr, l := b.Addrs()[0].String(), newLaptop(t)
	r := boot(t, hostNamed("pizero2", 1, "tcp://"+addr), nil)
	l.want(exitFail, "get", "--to", r.addr, "--timeout", "50ms", "pizero2/gpio")
	mu.Lock()
	if !slices.Equal(users, []string{""}) {
		t.Errorf("a broker learnt by UDP saw the users %q", users)
	}
	mu.Unlock()
	_, stderr, _ := l.run("get", "--broker", "mqtt://me:secret@"+addr, "--timeout", "50ms", "pizero2/gpio", "--verbose")
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(users, []string{"", "me"}) || strings.Contains(stderr, "secret") {
		t.Errorf("the broker named saw the users %q; stderr %s", users, stderr)
	}
}

func TestSpy(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	s := serve(t, url, nil)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Publish(ctx, bus.Message{Topic: "/a", Payload: []byte("x\x1b[2J\n\xff"), QoS: 1, Retained: true}); err != nil {
		t.Fatal(err)
	}
	l := newLaptop(t)
	if stdout, stderr := l.want(exitOK, "spy", "--broker", url, "-n", "1", "/a"); stdout != `/a x\x1b[2J\n\xff (retained)`+"\n" || stderr != "" {
		t.Errorf("got %q, %q", stdout, stderr)
	}
	stdout, _ := l.want(exitOK, "spy", "--broker", url, "-n", "4")
	if n := strings.Count("\n"+stdout, "\n/"); n != 4 || strings.Count(stdout, "\n") != n {
		t.Errorf("got %q, want four lines that begin with a topic", stdout)
	}
	stdout, _ = l.want(exitOK, "spy", "--broker", url, "-n", "1", "--json", "/pizero2/status")
	var m spied
	if err := json.Unmarshal([]byte(stdout), &m); err != nil || m.Topic != "/pizero2/status" || m.Payload != "online" || !m.Retained || m.Time.IsZero() {
		t.Errorf("got %q", stdout)
	}
	if _, stderr := l.want(exitFail, "spy", "--broker", freePort(t)); !strings.HasPrefix(stderr, "udpsrv: connect to tcp://127.0.0.1:") {
		t.Errorf("stderr %q", stderr)
	}
}

// spy ends with status 0 when it is interrupted.
func TestSpyInterrupted(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	serve(t, url, nil)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rows, errs := &onWrite{do: cancel}, &strings.Builder{}
	code := run(ctx, []string{"spy", "--broker", url, "/pizero2/status"}, strings.NewReader(""), rows, errs)
	if code != exitOK || rows.String() != "/pizero2/status online (retained)\n" || errs.String() != "" {
		t.Errorf("status %d, stdout %q, stderr %q", code, rows, errs)
	}
}

// A hostile broker may send what it likes: nothing of it hangs, crashes or reaches the terminal raw.
func TestHostileResults(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	s := serve(t, url, nil)
	l := newLaptop(t)
	junk := []string{"", "null", "7", "\xff", `{"id":ID,"ok":"yes"}`, `{"id":"other","ok":true}`, `{"id":[]}`,
		`{"id":ID,"ok":true,"data":` + strings.Repeat("[", 3000) + strings.Repeat("]", 3000) + "}"}
	for payload, want := range map[string]string{
		`{"id":ID,"ok":true,"data":"\u001b[2J"}`:                    `\x1b[2J` + "\n",
		`{"id":ID,"ok":true,"data":{"a\u009b":{"value":"\u202e"}}}`: "PATH     VALUE   UNIT  AGE\n" + `a\u009b  \u202e  -     -` + "\n",
		`{"id":ID}`: "udpsrv: pizero2/gpio: refused (no code)\n",
		`{"id":ID,"error":"\u001b[2J\n","code":"\u009b"}`: `udpsrv: pizero2/gpio: \x1b[2J\n (\u009b)` + "\n",
	} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		done := make(chan struct{})
		go func() {
			defer close(done)
			select {
			case c := <-s.heard:
				<-s.payload
				for _, p := range append(junk, payload) {
					m := bus.Message{Topic: c.Reply, Payload: []byte(strings.Replace(p, "ID", string(c.ID), 1)), QoS: 1}
					if err := s.Publish(ctx, m); err != nil {
						t.Error(err)
					}
				}
			case <-ctx.Done():
				t.Error("no command came")
			}
		}()
		stdout, stderr, _ := l.run("get", "--broker", url, "pizero2/gpio")
		<-done
		cancel()
		if stdout+stderr != want {
			t.Errorf("%s: got %q, want %q", payload, stdout+stderr, want)
		}
	}
}

func TestDescribeManyServicesIsBounded(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	s := serve(t, url, (&device{}).answer)
	for i := range 2*maxServices + 20 {
		s.Send(bus.Message{Topic: fmt.Sprintf("/pizero2/s%d/description", i), Payload: []byte(`{"name":"x"}`), QoS: 1, Retained: true})
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Publish(ctx, bus.Message{Topic: "/last", Payload: []byte("x"), QoS: 1}); err != nil {
		t.Fatal(err)
	}
	if stdout, _ := newLaptop(t).want(exitOK, "get", "--broker", url, "pizero2/gpio/input/door"); stdout != "ON\n" {
		t.Errorf("got %q", stdout)
	}
}
