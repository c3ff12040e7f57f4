package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestOverhear(t *testing.T) { t.Parallel(); inNamespace(t, overhear) }

// overhear runs in a namespace with nothing in it.
func overhear(t *testing.T) {
	home := homeLAN(t)
	op := newKey(t, "op")
	b, _ := nsHost(t, home, "lan0", 1, Port, func(c *ResponderConfig) {
		c.Open, c.Legacy, c.Key, c.Operators = false, false, newKey(t, "host"), obeying(op)
	}, "addr add 10.77.0.11/24 brd + dev eth0")
	b.r.authority.started = b.r.authority.started.Add(-2 * time.Hour)
	b.r.Update(closedHost(1, "pizero2"))
	b.start()

	ear, err := NewEar(t.Context(), nil, Port)
	if err != nil || ear.Limits != "" {
		t.Fatalf("NewEar() = %+v, %v, want one that hears everything", ear, err)
	}
	heard := listen(t, ear, op, func() {
		if got, stats := gather(t, SweepConfig{Sealed: true, Key: op, Wait: patience}); len(got) != 1 || !stats.Complete {
			t.Errorf("sweep found %d hosts, %+v, want 1", len(got), stats)
		}
	}, func(lines []string) bool { return has(lines, "request ") && has(lines, "hostname=pizero2") })
	for _, l := range heard {
		if !strings.HasPrefix(l, "lan0 10.77.0.") && !strings.HasPrefix(l, "lan0 fe80::") {
			t.Errorf("heard %s, want what passes on lan0", l)
		}
	}
	for tx := range 20 { // a reply has its number, so that none may come twice
		if n := countOf(heard, fmt.Sprintf(" tx=%d ", tx)); n > 1 {
			t.Errorf("heard reply %d %d times:\n%s", tx, n, strings.Join(heard, "\n"))
		}
	}

	// Without frames: what is sent to everybody.
	list, err := interfaces()
	if err != nil {
		t.Fatal(err)
	}
	ear, err = new(Ear).withSockets(t.Context(), list, Port, errors.New("not permitted"))
	if err != nil || !strings.Contains(ear.Limits, "CAP_NET_RAW (not permitted)") || strings.Contains(ear.Limits, "not heard") {
		t.Fatalf("withSockets() = %+v, %v, want one that says what it can't", ear, err)
	}
	heard = listen(t, ear, op, func() { gather(t, SweepConfig{Sealed: true, Key: op, Wait: patience}) }, func(lines []string) bool { return has(lines, "request ") })
	if has(heard, "reply ") {
		t.Errorf("heard a reply to another socket: %s", heard)
	}

	// The port is another program's, such as this machine's udpmon.
	other, err := net.ListenUDP("udp", &net.UDPAddr{Port: Port})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	ear, err = new(Ear).withSockets(t.Context(), list, Port, errors.New("not permitted"))
	if err != nil || !strings.Contains(ear.Limits, "not heard: port 37030 is another program's") {
		t.Fatalf("withSockets() = %+v, %v, want one that says what it can't", ear, err)
	}
	ear.close()
	if _, err := NewEar(t.Context(), []string{"nowhere0"}, Port); err == nil {
		t.Error("NewEar() on an interface that is not there = nil, want an error")
	}
}

// listen runs the ear while something is done, and until enough was heard; it returns that.
func listen(t *testing.T, ear *Ear, op Key, do func(), enough func([]string) bool) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var lines []string
	spy := NewSpy(op)
	news := make(chan struct{}, 1)
	var mu sync.Mutex
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := ear.Run(ctx, func(f Frame) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, fmt.Sprintf("%s %v>%v %s", f.Interface, f.From, f.To, spy.Read(f).text()))
			select {
			case news <- struct{}{}:
			default:
			}
		}); err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
	do()
	for done := false; !done; {
		mu.Lock()
		done = enough(lines)
		mu.Unlock()
		if done {
			break
		}
		select {
		case <-news:
		case <-ctx.Done():
			t.Errorf("heard only:\n%s", strings.Join(lines, "\n"))
			done = true
		}
	}
	cancel()
	wg.Wait()
	return lines
}

func has(lines []string, text string) bool { return countOf(lines, text) > 0 }

func countOf(lines []string, text string) (n int) {
	for _, l := range lines {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

// The filter lets through what it should, by IPv4 with options and by IPv6; see also TestOverhear, where the kernel runs it.
func TestParseFrame(t *testing.T) {
	t.Parallel()
	udp := []byte{0x90, 0xa6, 0x90, 0xa7, 0, 12, 0, 0, 'a', 'b', 'c', 'd'}
	v4 := append([]byte{0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}, udp...)
	options := append(append([]byte{0x46, 0, 0, 36}, v4[4:20]...), append([]byte{1, 1, 1, 1}, udp...)...)
	v6 := append(append([]byte{0x60, 0, 0, 0, 0, 12, 17, 255}, append(netip.MustParseAddr("fe80::1").AsSlice(), netip.MustParseAddr("ff02::2").AsSlice()...)...), udp...)
	for what, b := range map[string][]byte{"10.0.0.1:37030 10.0.0.2:37031 abcd": append(v4, 0, 0), "10.0.0.1:37030 10.0.0.2:37031 abcd ": options, "[fe80::1]:37030 [ff02::2]:37031 abcd": v6} {
		f, ok := parseFrame(b)
		if got := fmt.Sprintf("%v %v %s", f.From, f.To, f.Data); !ok || got != strings.TrimSpace(what) {
			t.Errorf("parseFrame(%x) = %s, %v, want %s", b, got, ok, what)
		}
		for n := range len(b) - 2 {
			if _, ok := parseFrame(b[:n]); ok {
				t.Errorf("parseFrame() takes %x, which is cut off", b[:n])
			}
		}
	}
	for what, change := range map[string]func([]byte){"a fragment": func(b []byte) { b[6] = 0x20 }, "a later fragment": func(b []byte) { b[7] = 1 },
		"TCP": func(b []byte) { b[9] = 6 }, "a datagram that is too long": func(b []byte) { b[25] = 200 }, "a short header": func(b []byte) { b[0] = 0x41 }} {
		b := append([]byte(nil), v4...)
		change(b)
		if f, ok := parseFrame(b); ok {
			t.Errorf("parseFrame() of %s = %+v, want nothing", what, f)
		}
	}
}
