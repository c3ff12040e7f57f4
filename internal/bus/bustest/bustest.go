// Package bustest gives tests a real broker on loopback and clients of it. Nothing of it outlives its test.
package bustest

import (
	"context"
	"testing"
	"time"

	"rollcall/internal/broker"
	"rollcall/internal/bus"
)

// patience is how long a test waits for what takes milliseconds.
const patience = 10 * time.Second

// Start starts the embedded broker on a free port of 127.0.0.1, open to everyone, for the life of the test, and returns its URL.
func Start(t testing.TB) string {
	t.Helper()
	return StartStoppable(t).URL()
}

// Broker is an embedded broker that can be stopped and started again. It remembers nothing across a stop. Its methods must be
// called from the test's goroutine.
type Broker struct {
	t      testing.TB
	addr   string
	cancel context.CancelFunc
	done   chan error
}

// StartStoppable starts a broker as Start does.
func StartStoppable(t testing.TB) *Broker {
	t.Helper()
	b := &Broker{t: t, addr: "127.0.0.1:0"}
	b.Start()
	t.Cleanup(b.Stop)
	return b
}

// URL returns where the broker is, also while it is stopped.
func (b *Broker) URL() string { return "tcp://" + b.addr }

// Addr returns host:port of URL.
func (b *Broker) Addr() string { return b.addr }

// Start starts a stopped broker on the port it had.
func (b *Broker) Start() {
	b.t.Helper()
	if b.cancel != nil {
		return
	}
	br := b.listen()
	b.addr = br.Addrs()[0].String()
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel, b.done = cancel, make(chan error, 1)
	go func(done chan<- error) { done <- br.Run(ctx) }(b.done) // Stop waits for it
}

// listen opens the broker; another process may hold the port for a moment after Stop.
func (b *Broker) listen() *broker.Broker {
	b.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		br, err := broker.New(broker.Config{
			Listen: []string{b.addr},
			Allow:  func(broker.Peer, string, bool) bool { return true },
		})
		if err == nil {
			return br
		}
		select {
		case <-again.C:
		case <-deadline.C:
			b.t.Fatalf("start broker on %s: %v", b.addr, err)
		}
	}
}

// Stop stops the broker and closes its connections. A stopped broker stays stopped.
func (b *Broker) Stop() {
	b.t.Helper()
	if b.cancel == nil {
		return
	}
	b.cancel()
	b.cancel = nil
	select {
	case err := <-b.done:
		if err != nil {
			b.t.Errorf("broker on %s: %v", b.addr, err)
		}
	case <-time.After(patience):
		b.t.Fatalf("broker on %s has not stopped after %v", b.addr, patience)
	}
}

// Dial returns a client that is connected to the broker at url, for the life of the test.
func Dial(t testing.TB, url string) *bus.Client {
	t.Helper()
	return Run(t, bus.Config{URL: url})
}

// Run returns a client made from c that is connected, for the life of the test.
func Run(t testing.TB, c bus.Config) *bus.Client {
	t.Helper()
	client, err := bus.New(c)
	if err != nil {
		t.Fatalf("bus.New: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx) }() // the cleanup waits for it
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("bus.Client.Run: %v", err)
		}
	})
	wait, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if err := client.Wait(wait); err != nil {
		t.Fatal(err)
	}
	return client
}
