package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/internal/discover"
	"rollcall/internal/run"
	"rollcall/reports"
)

// limit is how long a test waits for what must come.
const limit = time.Minute

// childConfig makes this test binary the daemon itself, for tests that kill it.
const childConfig = "UDPMON_TEST_CONFIG"

func TestMain(m *testing.M) {
	if file := os.Getenv(childConfig); file != "" {
		os.Exit(command(context.Background(), []string{"--config", file}, nil, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// logBuffer collects what is written to it. It is safe for concurrent use.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// having returns the lines that have all the words.
func (l *logBuffer) having(words ...string) []string {
	var out []string
	for line := range strings.Lines(l.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			out = append(out, line)
		}
	}
	return out
}

// eventually waits until got returns want, and fails with the last difference.
func eventually[T any](t testing.TB, what string, want T, got func() T) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		last := got()
		if fmt.Sprint(last) == fmt.Sprint(want) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: got %v, want %v", what, last, want)
		}
	}
}

// within returns a context that ends when the test has waited long enough.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// clock is a clock that tests set.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Unix(1_800_000_000, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// bed is a monitor that runs, with a client of its broker.
type bed struct {
	t      testing.TB
	m      *monitor
	cfg    config.Config
	port   int
	log    *logBuffer
	clock  *clock
	minute chan time.Time
	client *bus.Client
	stop   func() error
}

// testConfig returns the configuration of host pi1, in folders and on ports of its own. Its port 0 is one that files can't have.
func testConfig(t testing.TB) config.Config {
	c := config.Default()
	c.Host, c.StateDir = "pi1", filepath.Join(t.TempDir(), "state")
	c.Discovery.Port = 0
	c.Discovery.AuthorizedOperators = filepath.Join(t.TempDir(), "authorized_operators")
	c.Broker.Listen, c.Broker.ListenTLS, c.Metrics.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	return c
}

// startBed runs a monitor until the test ends. change may be nil.
func startBed(t testing.TB, change func(*config.Config)) *bed {
	t.Helper()
	cfg := testConfig(t)
	if change != nil {
		change(&cfg)
	}
	return startWith(t, cfg)
}

// startWith runs a monitor with the configuration, changed before it runs.
func startWith(t testing.TB, cfg config.Config, changes ...func(*monitor)) *bed {
	t.Helper()
	b := &bed{t: t, cfg: cfg, log: &logBuffer{}, clock: newClock(), minute: make(chan time.Time)}
	var err error
	if b.m, err = newMonitor(cfg, b.clock.now, run.Logger(b.log)); err != nil {
		t.Fatal(err)
	}
	b.m.minute = b.minute
	b.m.patience = patience{ready: time.Second, answer: time.Second}
	for _, change := range changes {
		change(b.m)
	}
	b.port = b.m.conn.LocalAddr().(*net.UDPAddr).Port
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.m.run(ctx) }()
	b.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(limit):
			return fmt.Errorf("monitor does not end; its log:\n%s", b.log)
		}
	})
	t.Cleanup(func() {
		if err := b.stop(); err != nil {
			t.Errorf("run = %v, want nil", err)
		}
	})
	select {
	case <-b.m.ready:
	case <-time.After(limit):
		t.Fatalf("monitor is not ready; its log:\n%s", b.log)
	}
	return b
}

// dial returns a client of the host's broker, the same at each call.
func (b *bed) dial() *bus.Client {
	b.t.Helper()
	if b.client == nil {
		b.client = bustest.Dial(b.t, b.m.at.url)
	}
	return b.client
}

// retain publishes a retained message; publish one that is not.
func (b *bed) retain(topic, payload string) {
	b.t.Helper()
	b.send(bus.Message{Topic: topic, Payload: []byte(payload), QoS: 1, Retained: true})
}

func (b *bed) publish(topic, payload string) {
	b.t.Helper()
	b.send(bus.Message{Topic: topic, Payload: []byte(payload), QoS: 1})
}

func (b *bed) send(m bus.Message) {
	b.t.Helper()
	if err := b.dial().Publish(within(b.t), m); err != nil {
		b.t.Fatal(err)
	}
}

// tick lets the clock go on and a minute's work be done.
func (b *bed) tick(d time.Duration) {
	b.t.Helper()
	b.clock.pass(d)
	select {
	case b.minute <- b.clock.now():
	case <-time.After(limit):
		b.t.Fatal("nobody works once a minute")
	}
}

// description returns a description with n points.
func description(name string, n int) string {
	d := reports.Service{Name: name, Function: "f-" + name, Points: make([]reports.Point, n)}
	for i := range d.Points {
		d.Points[i] = reports.Point{Path: fmt.Sprint("p/", i), Type: reports.Bool, Access: reports.Get}
	}
	b, err := json.Marshal(d.On("pi1"))
	if err != nil {
		panic(err)
	}
	return string(b)
}

// sweepOne asks one host in the sealed form and returns its answer, or nil.
func sweepOne(t testing.TB, port int, wait time.Duration) *discover.Host {
	t.Helper()
	var found *discover.Host
	_, err := discover.Sweep(within(t), discover.SweepConfig{To: []string{at(port)}, Sealed: true, Wait: wait}, func(a discover.Answer) {
		found = &a.Host
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func at(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// sweep returns what the host tells of itself.
func (b *bed) sweep() *discover.Host {
	b.t.Helper()
	for range 20 {
		if h := sweepOne(b.t, b.port, 80*time.Millisecond); h != nil {
			return h
		}
	}
	b.t.Fatalf("no answer on port %d; outcomes %v", b.port, b.m.responder.Stats())
	return nil
}

// said writes services as "name function status points", sorted.
func said(services []discover.Service) []string {
	out := []string{}
	for _, s := range services {
		line := fmt.Sprintf("%s %s %s %d", s.Name, s.Function, s.Status, s.Points)
		if s.Simulated {
			line += " simulated"
		}
		out = append(out, line)
	}
	return out
}

// services waits until a sweep finds these.
func (b *bed) services(want ...string) {
	b.t.Helper()
	eventually(b.t, "services", want, func() []string { return said(b.sweep().Services) })
}

// ask sends a datagram from 127.0.0.1 to the host at the address.
func ask(t testing.TB, to string, port int, datagram string) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.WriteToUDPAddrPort([]byte(datagram), netip.AddrPortFrom(netip.MustParseAddr(to), uint16(port))); err != nil {
		t.Fatal(err)
	}
}

// listen subscribes to the filters and returns what comes, as "topic payload".
func listen(t testing.TB, c *bus.Client, filters ...string) <-chan bus.Message {
	t.Helper()
	got := make(chan bus.Message, 20_000)
	if err := c.Subscribe(within(t), 1, func(m bus.Message) { got <- m }, filters...); err != nil {
		t.Fatal(err)
	}
	return got
}

// next returns the next message.
func next(t testing.TB, got <-chan bus.Message, what string) bus.Message {
	t.Helper()
	select {
	case m := <-got:
		return m
	case <-time.After(limit):
		t.Fatalf("no %s", what)
		return bus.Message{}
	}
}

// freePort returns a UDP port that nobody has at the moment, and whose TCP twin nobody has either.
func freePort(t testing.TB) int {
	t.Helper()
	for range 50 {
		u, err := net.ListenPacket("udp4", ":0")
		if err != nil {
			t.Fatal(err)
		}
		port := u.LocalAddr().(*net.UDPAddr).Port
		l, err := net.Listen("tcp4", at(port))
		_ = u.Close()
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// quiet is for monitors whose log no test reads.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
