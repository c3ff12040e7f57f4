package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// header is the beginning of a packet with a body of n bytes.
func header(first byte, n int) []byte {
	out := []byte{first}
	for ; n > 127; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}

// What is too large costs its sender the connection, before any memory is spent on it.
func TestPacketSize(t *testing.T) {
	t.Parallel()
	_, addr := start(t, Config{Allow: allowAll})
	sub := dial(t, addr)
	sub.connect("sub")
	sub.subscribe("#", 0)
	for name, b := range map[string][]byte{
		"message of 2 MiB":        header(0x30, maxPacketSize),
		"message of 200 MiB":      header(0x30, 200<<20),
		"subscription of 128 KiB": header(0x82, maxKept),
		"subscription of 1 MiB":   header(0x82, 1<<20),
		"length of 5 bytes":       {0x30, 0x80, 0x80, 0x80, 0x80, 0x01},
		"length that hides one":   append([]byte{0x30, 0x80, 0x80, 0x80, 0x80, 0x00}, header(0x30, 1<<20)...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, addr)
			c.connect(name)
			c.send(b)
			_, _ = c.conn.Write(make([]byte, 1<<20)) // fails as soon as the broker has closed
			c.expectClosed()
		})
	}
	c := dial(t, addr)
	c.send(append(header(0x10, maxKept), make([]byte, maxKept)...)[:1000])
	c.expectClosed()
	c = dial(t, addr)
	c.connect("fits")
	for _, size := range []int{maxKept - 1, maxKept, maxPacketSize - 1} {
		largest := strings.Repeat("x", size-len("t")-2)
		c.publish("t", largest, 0, false)
		if got := sub.expect(publish).payload(); got != largest {
			t.Errorf("got %d bytes, want %d", len(got), len(largest))
		}
	}
}

// A large message reaches everybody who is connected and is kept nowhere.
func TestLargeMessage(t *testing.T) {
	t.Parallel()
	var log logBuffer
	b, addr := start(t, Config{Log: log.logger(slog.LevelInfo),
		Allow: func(who Peer, topic string, write bool) bool {
			return write || topic != "r" || who.ClientID != "denied"
		}})
	small := dial(t, addr)
	small.connect("small")
	small.publish("r", "old", 1, true)
	small.ping() // a PUBACK comes before the deliveries
	subscribe := func(id, filter string, options, version byte) *raw {
		c := dial(t, addr)
		c.open(connectFrame{id: id, version: version})
		body := []byte{0, 1}
		if version == 5 {
			body = append(body, 2, 0x0b, 9) // subscription identifier
		}
		c.send(wrap(0x82, append(append(body, str(filter)...), options)))
		c.await(suback)
		return c
	}
	subs := []*raw{subscribe("v3", "#", 1, 4), subscribe("v5", "r", 1|8, 5), subscribe("one", "$share/g/r", 1, 4)}
	none := []*raw{subscribe("denied", "+", 1, 4), subscribe("other", "s", 1, 4), subscribe("pub", "r", 1|4, 5)}
	offline := dial(t, addr)
	offline.open(connectFrame{id: "offline", persistent: true})
	offline.subscribe("r", 1)
	offline.disconnect()

	pub := none[2] // wants nothing of its own
	payload := strings.Repeat("x", 1<<20)
	frame := append(append(str("r"), 0, 7, 0), payload...) // no properties
	pub.send(wrap(0x33, frame))
	if got := pub.await(puback).packetID(); got != 7 {
		t.Errorf("PUBACK for %d, want 7", got)
	}
	small.publish("end", "", 1, false)
	for _, c := range subs {
		f := c.await(publish)
		for f.retain() { // the old one
			f = c.await(publish)
		}
		if f.flags != 0 || f.topic() != "r" || !strings.HasSuffix(string(f.body), payload) {
			t.Errorf("got %d bytes on %s with flags %x, want %d bytes and QoS 0", len(f.body), f.topic(), f.flags, len(frame))
		}
		if c == subs[1] && !slices.Equal(f.body[3:6], []byte{2, 0x0b, 9}) {
			t.Errorf("properties %x, want the subscription identifier 9", f.body[3:6])
		}
	}
	for i, c := range none {
		c.send([]byte{0xc0, 0})
		for f, err := c.next(); f.kind != pingresp; f, err = c.next() {
			if err != nil || f.kind == publish && f.topic() == "r" && !f.retain() {
				t.Fatalf("client %d: got a frame of kind %d and %d bytes (%v), want no new message", i, f.kind, len(f.body), err)
			}
		}
	}
	if pk, _ := b.server.Topics.Retained.Get("r"); string(pk.Payload) != "old" {
		t.Errorf("%d bytes are retained, want the old message", len(pk.Payload))
	}
	cl, _ := b.server.Clients.Get("offline")
	for _, pk := range cl.State.Inflight.GetAll(false) { // the old message may be there, if it was not acknowledged in time
		if string(pk.Payload) != "old" {
			t.Errorf("a message of %d bytes is queued, want it dropped", len(pk.Payload))
		}
	}
	if got := b.Stats().InflightDropped; got != 1 {
		t.Errorf("InflightDropped = %d, want 1", got)
	}
	if got := strings.Count(log.String(), "message not retained: it is too large"); got != 1 {
		t.Errorf("%d log lines, want 1", got)
	}
}

// Large packets are read a few at a time; the others wait, and who takes too long is disconnected. Nobody else notices.
func TestLargeInTurn(t *testing.T) {
	t.Parallel()
	b, addr, stop := startWith(t, Config{Allow: allowAll}, func(b *Broker) { b.patience.large = time.Second })
	t.Cleanup(stop)
	var slow []*raw
	for i := range maxLarge {
		c := dial(t, addr)
		c.connect(fmt.Sprint("slow", i))
		c.send(header(0x30, 1<<20))
		slow = append(slow, c)
	}
	eventually(t, "large packets", func() bool { return len(b.slots.house) == maxLarge })
	gone := dial(t, addr)
	gone.connect("gone")
	gone.send(header(0x30, 1<<20))
	sub, pub := dial(t, addr), dial(t, addr)
	sub.connect("sub")
	sub.subscribe("a", 0)
	pub.connect("pub")
	payload := strings.Repeat("x", 1<<20)
	begin := time.Now()
	pub.send(publishFrame("a", payload, 0, false, 0))
	small := dial(t, addr)
	small.connect("small")
	small.publish("b", "x", 1, false)
	_ = gone.conn.Close()
	if got := sub.expect(publish).payload(); got != payload {
		t.Errorf("got %d bytes, want %d", len(got), len(payload))
	}
	if d := time.Since(begin); d < 200*time.Millisecond {
		t.Errorf("a fifth large packet came through after %v", d)
	}
	for _, c := range slow {
		c.expectClosed()
	}
	for range 3 * maxLarge { // each makes room again, and the deadline of one is not that of the next
		pub.send(publishFrame("a", payload, 0, false, 0))
		sub.expect(publish)
	}
	pub.ping()
	eventually(t, "end of large packets", func() bool { return len(b.slots.house) == 0 })
	_ = pub.conn.SetReadDeadline(time.Now().Add(1200 * time.Millisecond))
	if _, err := pub.r.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("idle after large packets: %v, want the connection open", err)
	}
}

// Strangers that send large packets slowly do not hold up those of the house.
func TestLargeOfStrangers(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{Allow: allowAll, Trusted: trustHouse})
	for i := range maxLarge {
		c := dialStranger(t, addr)
		c.connect(fmt.Sprint("slow", i))
		c.send(header(0x30, 1<<20))
	}
	eventually(t, "large packets of strangers", func() bool { return len(b.slots.others) == maxLarge })
	c := dial(t, addr)
	c.connect("c")
	c.subscribe("a", 0)
	payload := strings.Repeat("x", 1<<20)
	begin := time.Now()
	c.publish("a", payload, 0, false)
	if got := c.expect(publish).payload(); got != payload {
		t.Errorf("got %d bytes, want %d", len(got), len(payload))
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("took %v, although only strangers are slow", d)
	}
}

// A subscriber that reads nothing holds up senders of large messages for a while only.
func TestLargeToStuckSubscriber(t *testing.T) {
	t.Parallel()
	short := patience{connect: time.Second, write: time.Second, stall: time.Second / 2, large: 10 * time.Second}
	b, addr, stop := startWith(t, Config{Allow: allowAll}, func(b *Broker) { b.patience = short })
	t.Cleanup(stop)
	stick(t, b, addr)
	sub, pub := dial(t, addr), dial(t, addr)
	sub.connect("sub")
	sub.subscribe("a", 1)
	pub.connect("pub")
	payload := strings.Repeat("x", 1<<20)
	for i := range 10 {
		pub.publish("a", payload, 1, false)
		if got := len(sub.expect(publish).payload()); got != len(payload) {
			t.Fatalf("message %d: got %d bytes, want %d", i, got, len(payload))
		}
	}
	if _, ok := b.server.Clients.Get("stuck"); ok {
		t.Error("the stuck subscriber is still connected")
	}
}

// Whoever waits for room does not keep the broker from stopping.
func TestStopWhileLargeWait(t *testing.T) {
	t.Parallel()
	b, addr, stop := startWith(t, Config{Allow: allowAll}, func(b *Broker) { b.patience.large = time.Hour })
	for i := range maxLarge + 3 {
		c := dial(t, addr)
		c.connect(fmt.Sprint(i))
		c.send(header(0x30, 1<<20))
	}
	eventually(t, "large packets", func() bool { return len(b.slots.house) == maxLarge })
	stop() // fails the test if it takes too long
	if got := len(b.slots.house); got != 0 {
		t.Errorf("%d large packets after the end, want 0", got)
	}
}

// FuzzFrameScan: however the bytes are cut, the same packets begin, and their lengths are what the stream says.
func FuzzFrameScan(f *testing.F) {
	f.Add(append(publishFrame("a", strings.Repeat("x", 200), 1, true, 3), 0xc0, 0), 1)
	f.Add([]byte{0x30, 0x80, 0x80, 0x80, 0x80, 0x01}, 2)
	f.Add([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, 3)
	f.Add(append(header(0x10, 128), make([]byte, 200)...), 7)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		type begin struct {
			kind   byte
			length int
		}
		scan := func(step int) (seen []begin, err error) {
			var f frames
			for rest := data; len(rest) > 0 && err == nil; {
				n := min(step, len(rest))
				err = f.scan(rest[:n], func(kind byte, length int) error {
					seen = append(seen, begin{kind, length})
					return nil
				})
				rest = rest[n:]
			}
			return seen, err
		}
		whole, err := scan(len(data))
		parts, partsErr := scan(max(1, cut))
		if !slices.Equal(whole, parts) || !errors.Is(err, partsErr) {
			t.Errorf("whole: %v %v, in parts of %d: %v %v", whole, err, cut, parts, partsErr)
		}
		at := 0
		for _, b := range whole {
			head := header(b.kind, b.length)
			if at >= len(data) || data[at] != b.kind || b.length < 0 || b.length > 268_435_455 {
				t.Fatalf("packet %v at %d of %x", b, at, data)
			}
			for at++; data[at]&0x80 != 0; at++ { // not always the shortest form
			}
			at += 1 + b.length
			if len(head) > 5 {
				t.Errorf("header of %d bytes", len(head))
			}
		}
	})
}

// A connection whose stream makes no sense stays unreadable.
func TestReadErrorStays(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	c := newConn(far, defaultPatience())
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	sent := make(chan error, 1)
	go func() { _, err := near.Write([]byte{0x30, 0xff, 0xff, 0xff, 0xff, 1}); sent <- err }()
	p := make([]byte, 100)
	if n, err := c.Read(p); n != 6 || !errors.Is(err, errPacketLength) {
		t.Errorf("Read = %d, %v, want 6 bytes and %v", n, err, errPacketLength)
	}
	if n, err := c.Read(p); n != 0 || !errors.Is(err, errPacketLength) {
		t.Errorf("second Read = %d, %v, want %v", n, err, errPacketLength)
	}
	select {
	case err := <-sent:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("the bytes are not taken")
	}
}
