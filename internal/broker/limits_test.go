package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// M2, M3: 20,000 acknowledged messages in one burst all reach a subscriber.
func TestFloodLosesNothing(t *testing.T) {
	t.Parallel()
	const n = 20_000
	b, addr := start(t, Config{Allow: allowAll})
	sub, pub := dial(t, addr), dial(t, addr)
	sub.connect("sub")
	sub.subscribe("flood", 1)
	pub.connect("pub")
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			pub.send(publishFrame("flood", fmt.Sprintf("%064d", i), 1, false, uint16(i%60_000+1)))
		}
	})
	wg.Go(func() {
		for range n {
			pub.expect(puback)
		}
	})
	for i := range n {
		if got, want := sub.expect(publish).payload(), fmt.Sprintf("%064d", i); got != want {
			t.Fatalf("message %d is %s, want %s", i, got, want)
		}
	}
	wg.Wait()
	if got := b.Stats(); got.Dropped != 0 || got.InflightDropped != 0 || got.Received != n {
		t.Errorf("Stats = %+v, want none dropped", got)
	}
}

// M2, M3: a subscriber that pauses gets everything afterwards: far more than mochi's 8,192, unread and unacknowledged.
func TestPauseLosesNothing(t *testing.T) {
	t.Parallel()
	const n = 16_000
	b, addr := start(t, Config{Allow: allowAll})
	sub, pub := dial(t, addr), dial(t, addr)
	sub.connect("sub")
	sub.subscribe("flood", 1)
	pub.connect("pub")
	for i := range n {
		pub.publish("flood", fmt.Sprintf("%064d", i), 1, false)
	}
	for i := range n {
		if got, want := sub.expect(publish).payload(), fmt.Sprintf("%064d", i); got != want {
			t.Fatalf("message %d is %s, want %s", i, got, want)
		}
	}
	if got := b.Stats(); got.Dropped != 0 || got.InflightDropped != 0 {
		t.Errorf("Stats = %+v, want none dropped", got)
	}
}

// stick connects a subscriber that reads nothing and has next to no buffers; keep alive is 0, so only a write notices.
func stick(t *testing.T, b *Broker, addr string) {
	t.Helper()
	c := dial(t, addr)
	if err := c.conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	c.connect("stuck")
	c.subscribe("a", 1)
	cl, ok := b.server.Clients.Get("stuck")
	if !ok {
		t.Fatal("no client")
	}
	if err := cl.Net.Conn.(*conn).Conn.(*net.TCPConn).SetWriteBuffer(4096); err != nil {
		t.Fatal(err)
	}
}

// A subscriber that reads nothing does not hold up the others, and is disconnected after a while.
func TestStuckSubscriber(t *testing.T) {
	t.Parallel()
	short := patience{connect: time.Second, write: 1500 * time.Millisecond, stall: time.Second / 2, large: time.Second}
	const slack = 3 * time.Second // other jobs of the machine
	tests := map[string]struct {
		size    int
		every   time.Duration
		gone    time.Duration // how long it may take until it is disconnected
		slowest time.Duration // how long the others may be held up
	}{
		"as a host sends":   {1000, 5 * time.Millisecond, short.write + slack, time.Second},
		"as fast as can be": {10_000, time.Nanosecond, short.stall + slack, short.stall + slack},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, addr, stop := startWith(t, Config{Allow: allowAll}, func(b *Broker) { b.patience = short })
			t.Cleanup(stop)
			stick(t, b, addr)
			sub, pub := dial(t, addr), dial(t, addr)
			sub.connect("sub")
			sub.subscribe("a", 1)
			pub.connect("pub")
			payload := strings.Repeat("x", tt.size)
			slowest := time.Duration(0)
			tick := time.NewTicker(tt.every)
			defer tick.Stop()
			begin := time.Now()
			for {
				if _, ok := b.server.Clients.Get("stuck"); !ok {
					break
				}
				if d := time.Since(begin); d > tt.gone {
					t.Fatalf("the stuck subscriber is connected after %v", d)
				}
				before := time.Now()
				pub.publish("a", payload, 1, false)
				sub.received()
				slowest = max(slowest, time.Since(before))
				<-tick.C
			}
			t.Logf("gone after %v, slowest message meanwhile %v", time.Since(begin), slowest)
			if slowest > tt.slowest && !raceEnabled {
				t.Errorf("slowest message took %v, want %v at most", slowest, tt.slowest)
			}
		})
	}
}

func TestMaxClients(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{Allow: allowAll, MaxClients: 3})
	var clients []*raw
	for i := range 3 {
		c := dial(t, addr)
		c.connect(fmt.Sprint(i))
		clients = append(clients, c)
	}
	c := dial(t, addr)
	c.send(connectFrame{id: "4"}.bytes())
	if got := c.expect(connack).body[1]; got != 3 {
		t.Errorf("fourth client: CONNACK %d, want 3 (server unavailable)", got)
	}
	c.expectClosed()
	clients[0].disconnect()
	eventually(t, "room", func() bool { return b.Stats().Clients == 2 })
	dial(t, addr).connect("5")
}

// Connections without CONNECT have a bound, too.
func TestMaxConnections(t *testing.T) {
	t.Parallel()
	var log logBuffer
	b, addr := start(t, Config{Allow: allowAll, MaxClients: 1, Log: log.logger(slog.LevelInfo)})
	for range 1 + spareConns {
		dial(t, addr)
	}
	conns := func() int { b.mu.Lock(); defer b.mu.Unlock(); return len(b.conns) }
	eventually(t, "all connections", func() bool { return conns() == 1+spareConns })
	c := dial(t, addr)
	c.expectClosed()
	eventually(t, "log line about too many connections", func() bool { return strings.Contains(log.String(), "too many connections") })
}

// Who is silent for one and a half keep alives, or never says CONNECT, is disconnected.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	const connect = 700 * time.Millisecond
	_, addr, stop := startWith(t, Config{Allow: allowAll}, func(b *Broker) { b.patience.connect = connect })
	t.Cleanup(stop)
	mute, silent, forever := dial(t, addr), dial(t, addr), dial(t, addr)
	silent.open(connectFrame{id: "silent", keepAlive: 1})
	forever.connect("forever")
	begin := time.Now()
	silent.expectClosed()
	if d := time.Since(begin); d < 1400*time.Millisecond || d > 5*time.Second {
		t.Errorf("keep alive 1 s: closed after %v, want 1.5 s", d)
	}
	forever.ping()
	_ = mute.conn.SetReadDeadline(time.Now().Add(connect + 3*time.Second))
	if _, err := mute.conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("no CONNECT: still open after %v", time.Since(begin))
	}
}

func TestClientID(t *testing.T) {
	t.Parallel()
	_, addr := start(t, Config{Allow: allowAll})
	dial(t, addr).connect("")
	dial(t, addr).connect(strings.Repeat("x", maxClientID))
	dial(t, addr).connect(" ü/#+$SYS")
	for name, f := range map[string]connectFrame{
		"too long":             {id: strings.Repeat("x", maxClientID+1)},
		"none, but persistent": {persistent: true},
	} {
		c := dial(t, addr)
		c.send(f.bytes())
		if got := c.expect(connack).body[1]; got == 0 {
			t.Errorf("client ID %s: CONNACK 0, want a refusal", name)
		}
		c.expectClosed()
	}
}

// Topics and filters that would cost mochi a megabyte and a second are refused.
func TestDeepTopics(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{Allow: allowAll})
	deep := strings.Repeat("/", 65_000)
	for _, qos := range []byte{0, 1} {
		c := dial(t, addr)
		c.connect("c")
		c.send(publishFrame(deep, "x", qos, true, 1))
		c.expectClosed()
	}
	c := dial(t, addr)
	c.connect("c")
	for _, filter := range []string{deep, "a#", "a/#/b", "+a", ""} {
		if got := c.subscribe(filter, 1); got != 0x80 {
			t.Errorf("filter %.10q: %#x, want 0x80", filter, got)
		}
	}
	if got := b.Stats().Retained; got != 0 {
		t.Errorf("%d retained, want 0", got)
	}
}

// The number of subscriptions of a client has a bound, its others go on.
func TestMaxSubscriptions(t *testing.T) {
	t.Parallel()
	_, addr := start(t, Config{Allow: allowAll})
	c := dial(t, addr)
	c.connect("c")
	body := binary.BigEndian.AppendUint16(nil, 1)
	for i := range maxSubscriptions + 1 {
		body = append(append(body, str(fmt.Sprintf("t%d", i))...), 1)
	}
	c.send(wrap(0x82, body))
	codes := c.expect(suback).body[2:]
	for i, code := range codes {
		if want := byte(1); i < maxSubscriptions && code != want {
			t.Fatalf("filter %d: code %#x, want %d", i, code, want)
		}
	}
	if got := codes[maxSubscriptions]; got != 0x80 {
		t.Errorf("one filter more: %#x, want 0x80", got)
	}
	if got := c.subscribe("t0", 0); got != 0 {
		t.Errorf("known filter again: %#x, want 0", got)
	}
}

// fickle is a listener whose first Accepts fail.
type fickle struct {
	net.Listener
	failures atomic.Int32
}

func (f *fickle) Accept() (net.Conn, error) {
	if f.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

// Too many open files is no end: it waits and goes on.
func TestAcceptErrors(t *testing.T) {
	t.Parallel()
	var log logBuffer
	b, err := New(Config{Listen: []string{"127.0.0.1:0"}, Allow: allowAll, Log: log.logger(slog.LevelInfo)})
	if err != nil {
		t.Fatal(err)
	}
	f := &fickle{Listener: b.listeners[0]}
	f.failures.Store(5)
	b.listeners[0] = f
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	begin := time.Now()
	dial(t, b.Addrs()[0].String()).connect("c")
	if d := time.Since(begin); d < 100*time.Millisecond { // 5+10+20+40+80 ms
		t.Errorf("connected after %v: it does not back off", d)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := strings.Count(log.String(), "too many open files"); got != 1 {
		t.Errorf("%d log lines, want 1", got)
	}
}

// An idle connection costs its two goroutines, two buffers and the queue of M3, 128 KiB of address space that is touched
// only when the allocator hands it out a second time.
func TestIdleMemory(t *testing.T) {
	b, addr, stop := startStop(t, Config{Allow: allowAll})
	defer stop()
	const n = 200
	rss := func() int {
		runtime.GC()
		return residentKiB(t)
	}
	before := rss()
	for i := range n {
		c := dial(t, addr)
		c.connect(fmt.Sprintf("c%d", i))
		c.subscribe("a", 1)
	}
	if got := b.Stats().Clients; got != n {
		t.Fatalf("%d clients, want %d", got, n)
	}
	per := (rss() - before) / n
	t.Logf("%d KiB resident for each idle connection, both ends", per)
	if limit := 200; per > limit && !raceEnabled {
		t.Errorf("%d KiB for each idle connection, want %d at most", per, limit)
	}
}

// residentKiB is the resident set of this process; the test is skipped where /proc does not tell.
func residentKiB(t testing.TB) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	var n int
	if _, err := fmt.Sscan(after, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Nothing wakes an idle broker: no ticks each second, and no $SYS topics.
func TestIdle(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{Allow: allowAll})
	c := dial(t, addr)
	c.connect("c")
	c.subscribe("$SYS/#", 0)
	c.subscribe("#", 0)
	if got := b.server.Topics.Retained.Len(); got != 0 {
		t.Errorf("%d retained messages at start, want 0", got)
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(1500 * time.Millisecond))
	if _, err := c.r.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the broker says something by itself (%v)", err)
	}
}
