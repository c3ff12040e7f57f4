package bus_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
)

// trusted is a certificate for localhost that the system's roots hold; set by TestMain.
var trusted tls.Certificate

func TestMain(m *testing.M) {
	cert, remove, err := trust()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	trusted = cert
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { remove(); os.Exit(code) }))
}

// patience is how long a test waits for what takes milliseconds.
const patience = time.Minute

// within returns a context that bounds a step of a test.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// receive returns the next value of ch.
func receive[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s within %v", what, patience)
		panic("unreachable")
	}
}

// start runs a client for the life of the test without waiting for its connection.
func start(t testing.TB, c bus.Config) (client *bus.Client, stop func()) {
	t.Helper()
	client, err := bus.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := client.Run(ctx); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	}()
	stop = func() {
		t.Helper()
		cancel()
		receive(t, done, "end of Run")
	}
	t.Cleanup(stop)
	return client, stop
}

// listen subscribes a client of its own and returns what arrives.
func listen(t testing.TB, url string, filters ...string) <-chan bus.Message {
	t.Helper()
	got := make(chan bus.Message, 4096)
	c := bustest.Dial(t, url)
	if err := c.Subscribe(within(t, patience), 1, func(m bus.Message) { got <- m }, filters...); err != nil {
		t.Fatal(err)
	}
	// mochi looks up retained messages after it has sent SUBACK, so that what is published in between comes twice. It handles
	// the packets of a client one by one: after one more acknowledgement that is over.
	if err := c.Publish(within(t, patience), bus.Message{Topic: "nobody/listens", QoS: 1}); err != nil {
		t.Fatal(err)
	}
	return got
}

// want checks that the next messages are topic=payload, in this order.
func want(t testing.TB, got <-chan bus.Message, lines ...string) {
	t.Helper()
	for i, line := range lines {
		m := receive(t, got, "message "+line)
		if have := m.Topic + "=" + string(m.Payload); have != line {
			t.Fatalf("message %d is %q (retained %v), want %q", i, have, m.Retained, line)
		}
	}
}

// events counts and hands on what OnUp and OnDown report.
type events struct {
	up   chan struct{}
	down chan error
}

func watch(c *bus.Config) events {
	e := events{up: make(chan struct{}, 100), down: make(chan error, 100)}
	c.OnUp = func() { e.up <- struct{}{} }
	c.OnDown = func(err error) { e.down <- err }
	return e
}

// logs keeps log records as "LEVEL message key=value …".
type logs struct {
	mu    sync.Mutex
	lines []string
}

func (l *logs) logger() *slog.Logger { return slog.New(l) }

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }
func (l *logs) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logs) WithGroup(string) slog.Handler            { return l }
func (l *logs) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// having returns the lines that hold all the words.
func (l *logs) having(words ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.lines), func(line string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
	})
}
