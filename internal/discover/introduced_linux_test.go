package discover

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rollcall/internal/trust"
)

func TestSweepWithoutARP(t *testing.T) { t.Parallel(); inNamespace(t, withoutARP) }

// withoutARP runs in a namespace with nothing in it: hosts that nobody has talked to, which obey an operator or anybody.
func withoutARP(t *testing.T) {
	home := homeLAN(t)
	op := newKey(t, "op")
	closed := func(i byte, addr string) *bed {
		b, _ := nsHost(t, home, "lan0", i, Port, func(c *ResponderConfig) {
			c.Open, c.Legacy, c.Key, c.Operators = false, false, newKey(t, "host"), obeying(op)
		}, "addr add "+addr+"/24 brd + dev eth0")
		b.r.authority.started = b.r.authority.started.Add(-2 * time.Hour)
		b.r.Update(closedHost(i, "closed"))
		b.start()
		return b
	}
	hosts := []*bed{closed(1, "10.77.0.11"), closed(2, "10.77.0.12")}
	arp := arpSocket(t)
	got, stats := gather(t, SweepConfig{Sealed: true, Key: op, Wait: 5 * time.Second})
	if len(got) != len(hosts) {
		t.Fatalf("found %d hosts, %+v, want %d", len(got), stats, len(hosts))
	}
	if n := frames(t, arp); n != 0 {
		t.Errorf("a signed sweep of hosts that nobody has talked to caused %d ARP frames, want 0", n)
	}
	for _, b := range hosts {
		if n := b.r.Stats()[installed.String()]; n != 1 {
			t.Errorf("neighbours installed = %d, want 1: %v", n, nonzero(b.r.Stats()))
		}
	}
	lies(t, op, closed(3, "10.77.0.13"))
	open, _ := nsHost(t, home, "lan0", 4, Port, nil, "addr add 10.77.0.14/24 brd + dev eth0")
	open.start()
	frames(t, arp)
	got, _ = gather(t, SweepConfig{Sealed: true, Wait: 5 * time.Second})
	if n := frames(t, arp); len(got) != 1 || n == 0 || open.r.Stats()[installed.String()] != 0 {
		t.Errorf("open host: %d found, %d ARP frames, outcomes %v; want it to install nobody", len(got), n, nonzero(open.r.Stats()))
	}
}

// lies asks in the name of the laptop with another's MAC: the host answers, and believes none of it.
func lies(t *testing.T, op trust.Key, b *bed) {
	t.Helper()
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.77.0.13:37030")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	q := question(77, 1)
	q.Requester, q.PrefixLen, q.MAC = netip.MustParseAddr("10.77.0.1"), 24, [6]byte{2, 0, 0, 0, 0, 0xfe}
	send(t, conn, withTail(mustSign(t, q, op)))
	if _, err := ParseReply(receive(t, conn, patience)); err != nil {
		t.Fatal(err)
	}
	if b.r.Stats()[installed.String()] != 0 {
		t.Errorf("a request from another MAC than it names had a neighbour installed: %v", nonzero(b.r.Stats()))
	}
}

// arpSocket returns a socket that hears the ARP frames of lan0.
func arpSocket(t *testing.T) int {
	const arp = unix.ETH_P_ARP>>8 | unix.ETH_P_ARP&0xff<<8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, arp)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	lan, err := net.InterfaceByName("lan0")
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: arp, Ifindex: lan.Index})
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// frames returns how many frames have come in since it was last asked.
func frames(t *testing.T, fd int) (n int) {
	t.Helper()
	for buf := make([]byte, 2000); ; n++ {
		if _, err := unix.Read(fd, buf); errors.Is(err, unix.EAGAIN) {
			return n
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
