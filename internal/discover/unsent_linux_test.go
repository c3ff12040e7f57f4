package discover

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestUnsent sweeps while an interface goes down, and addresses that a route forbids: both are told of, and the others are asked.
func TestUnsent(t *testing.T) { t.Parallel(); inNamespace(t, unsentLAN) }

func unsentLAN(t *testing.T) {
	home := homeNet(t)
	for i, name := range []string{"lan0", "lan1"} {
		ip(t, "link add "+name+" type bridge")
		ip(t, fmt.Sprintf("addr add 10.%d.0.1/24 brd + dev %s", 77+i, name))
		ip(t, "link set "+name+" up")
	}
	const port = 37030
	lanHost(t, home, 1, port)
	other, _ := nsHost(t, home, "lan1", 2, port, nil, "addr add 10.78.0.12/24 brd + dev eth0")
	other.start()
	sweep := func(c SweepConfig, found func(Answer)) (names []string, stats SweepStats) {
		t.Helper()
		c.Sealed, c.Port, c.Wait = true, port, 5*time.Second
		stats, err := Sweep(t.Context(), c, func(a Answer) { names = append(names, a.Host.Hostname); found(a) })
		if err != nil {
			t.Fatalf("Sweep(%v) = %v", c.To, err)
		}
		return names, stats
	}
	nothing := func(Answer) {}
	if got, stats := sweep(SweepConfig{}, nothing); len(got) != 2 || !stats.Complete {
		t.Fatalf("found %v, %+v, want two hosts", got, stats)
	}
	got, stats := sweep(SweepConfig{}, func(a Answer) {
		if a.Host.Hostname == "pi1" {
			if out, err := exec.Command("ip", "link", "set", "lan1", "down").CombinedOutput(); err != nil {
				t.Errorf("ip: %v: %s", err, out)
			}
		}
	})
	if len(got) == 0 || stats.Complete || stats.PMiss != 1 || !strings.Contains(stats.Why, "10.78.0.255 could not be asked on lan1: there is no route, or the interface is down") {
		t.Errorf("interface down: found %v, %+v, want pi1, not complete", got, stats)
	}
	if len(stats.Warnings) == 0 || !strings.Contains(strings.Join(stats.Warnings, "\n"), "lan1") {
		t.Errorf("warnings = %q, want one about lan1", stats.Warnings)
	}
	ip(t, "route add unreachable 10.77.0.12")
	got, stats = sweep(SweepConfig{To: []string{"10.77.0.8/29"}}, nothing)
	if len(got) != 1 || stats.Complete || !strings.Contains(stats.Why, "1 addresses could not be asked as often as others: there is no route") {
		t.Errorf("network with a forbidden address: found %v, %+v, want pi1, not complete", got, stats)
	}
	if got, stats = sweep(SweepConfig{To: []string{"10.77.0.11"}}, nothing); len(got) != 1 || !stats.Complete {
		t.Errorf("one address: found %v, %+v, want pi1, complete", got, stats)
	}
}

// A reply that can't be sent, because the table of neighbours is full, is tried again in the same round.
func TestReplyIsTriedAgain(t *testing.T) {
	t.Parallel()
	now := time.Now()
	b := newBed(t, "127.0.0.1:0", func(c *ResponderConfig) { c.Now = func() time.Time { return now } })
	b.r.refresh(now, 0)
	b.r.Update(testHost(1, "pi"))
	var sent []Reply
	fails := 3
	b.r.reply = func(raw, _ []byte, _ netip.AddrPort) error {
		if fails--; fails >= 0 {
			return syscall.ENOBUFS
		}
		r, err := ParseReply(raw)
		sent = append(sent, r)
		return err
	}
	q := question(3, 1)
	q.Time = now
	if o := give(b, mustMarshal(t, q), "127.0.0.1", 1); o != sendFailed {
		t.Fatalf("first try is %v, want %v", o, sendFailed)
	}
	for range 20 {
		now = now.Add(10 * time.Millisecond)
		b.r.due(now)
	}
	if len(sent) != 1 || sent[0].Tx != 4 || sent[0].Delay < 100*time.Millisecond || sent[0].Delay > 200*time.Millisecond {
		t.Errorf("sent %+v, want one reply, the fourth that was tried, after 20, 40 and 80 ms", sent)
	}
	fails, sent = 100, nil
	q.Seq, q.Round = 2, 2
	give(b, mustMarshal(t, q), "127.0.0.1", 1)
	for range 1000 {
		now = now.Add(10 * time.Millisecond)
		b.r.due(now)
	}
	if tried := 100 - fails; tried != 7 || len(b.r.slots) != 0 {
		t.Errorf("tried %d times, %d waiting, want 7, 0", tried, len(b.r.slots))
	}
	if got := b.r.Stats()["send_failed"]; got == 0 {
		t.Error("no failure was counted")
	}
}

// What the socket has no room for is told of exactly when it happened, and counted.
func TestDropsAreTold(t *testing.T) {
	t.Parallel()
	for crowd, buffer := range map[int]int{0: 0, 5000: 2048} {
		p := newPuppet(t, "127.0.0.1", func(q Request, _ netip.AddrPort) (out [][]byte) {
			other := q
			other.Sweep++ // else the first answer is the end
			for range crowd {
				out = append(out, replies(t, testHost(1, "pi"), 1, other)[0])
			}
			return append(out, replies(t, testHost(1, "pi"), 1, q)[0])
		})
		_, stats := gather(t, SweepConfig{To: []string{p.addr.String()}, Sealed: true, Wait: 20 * time.Second, buffer: buffer})
		want := fmt.Sprintf("%d answers were dropped by this machine's socket, which made the sweep slower: sysctl -w net.core.rmem_max=4194304 gives it more room", stats.Drops)
		told := len(stats.Warnings) == 1 && stats.Warnings[0] == want
		if crowded := crowd > 0; told != crowded || stats.Drops > 0 != crowded || len(stats.Warnings) > 1 {
			t.Errorf("crowd of %d: %d drops, warnings %q", crowd, stats.Drops, stats.Warnings)
		}
	}
}

// What becomes of one datagram, such as that nobody listens there, keeps no other from being sent or received.
func TestOthersErrorsAreForgotten(t *testing.T) {
	t.Parallel()
	for _, local := range []string{"127.0.0.1:0", "[::]:0"} {
		conn, err := Listen(local)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		s, err := newSender(conn)
		if err != nil {
			t.Fatal(err)
		}
		gone, err := Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		nobody := gone.LocalAddr().(*net.UDPAddr).AddrPort()
		if err := gone.Close(); err != nil {
			t.Fatal(err)
		}
		here := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())
		for i := range 20 {
			for _, to := range []netip.AddrPort{nobody, here} {
				s.sure = i%2 == 1
				if err := s.send([]byte{byte(i)}, nil, to); err != nil || s.sure {
					t.Fatalf("%s: send to %v = %v, sure of the next: %v", local, to, err, s.sure)
				}
			}
			if b := receive(t, conn, patience); len(b) != 1 || b[0] != byte(i) {
				t.Fatalf("%s: received %v, want %d", local, b, i)
			}
			err := noting(conn, isSix(conn), func() error { _, err := conn.WriteToUDPAddrPort([]byte("x"), nobody); return err })
			if err != nil {
				t.Fatalf("%s: noting = %v", local, err)
			}
		}
	}
}
