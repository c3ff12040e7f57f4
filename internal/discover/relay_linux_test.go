package discover

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rollcall/internal/trust"
	"rollcall/reports"
)

// routed is two networks with a router between them: the test's own, 10.77.0.0/24, and one of hosts, 10.78.0.0/24.
type routed struct {
	t    *testing.T
	home *os.File
	op   trust.Key
	keys map[ID]trust.Key
	wire int // hears every frame of the far network

	swept atomic.Int64 // sweeps that hosts took for their own
}

// newRouted makes the networks, without hosts. It runs in a namespace with nothing in it.
func newRouted(t *testing.T) *routed {
	t.Helper()
	home := homeLAN(t)
	for _, args := range []string{"link add far0 type bridge", "link set far0 addrgenmode none", "link set far0 up"} {
		ip(t, args)
	}
	n := &routed{t: t, home: home, op: newKey(t, "op"), keys: map[ID]trust.Key{}}
	n.route()
	ip(t, "route add 10.78.0.0/16 via 10.77.0.254")
	n.wire = wireSocket(t, "far0", unix.ETH_P_IP)
	return n
}

// route makes the router, at .254 of both networks.
func (n *routed) route() {
	made, end := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlocked, see nsHost
		err := unix.Unshare(unix.CLONE_NEWNET)
		for i, bridge := range []string{"lan0", "far0"} {
			for _, args := range []string{fmt.Sprintf("link add eth%d type veth peer name router%d netns /proc/%d/fd/%d", i, i, os.Getpid(), n.home.Fd()),
				fmt.Sprintf("link set eth%d up", i), fmt.Sprintf("addr add 10.%d.0.254/24 brd + dev eth%d", 77+i, i)} {
				if err == nil {
					var out []byte
					if out, err = exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
						err = fmt.Errorf("ip %s (%s): %w: %s", args, bridge, err, out)
					}
				}
			}
		}
		if err == nil {
			err = os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
		}
		made <- err
		<-end
	}()
	n.t.Cleanup(func() { close(end) })
	if err := <-made; err != nil {
		n.t.Skip(err)
	}
	for i, bridge := range []string{"lan0", "far0"} {
		ip(n.t, fmt.Sprintf("link set router%d addrgenmode none", i))
		ip(n.t, fmt.Sprintf("link set router%d master %s up", i, bridge))
		if awaitLink(n.t, fmt.Sprintf("router%d", i)) == nil {
			n.t.Fatal("the router has no link")
		}
	}
}

// host makes host i of the far network, at 10.78.0.10+i, which obeys the operator and relays unless change says otherwise.
func (n *routed) host(i byte, change func(*ResponderConfig)) *bed {
	n.t.Helper()
	key, inside := newKey(n.t, "host"), (*os.File)(nil)
	b, _ := nsHost(n.t, n.home, "far0", i, Port, func(c *ResponderConfig) {
		c.Open, c.Legacy, c.Relay, c.Key, c.Operators = false, false, true, key, obeying(n.op)
		c.Swept = func(reports.ID) { n.swept.Add(1) }
		inside, _ = os.Open("/proc/thread-self/ns/net") // an error shows when it relays
		if change != nil {
			change(c)
		}
	}, fmt.Sprintf("addr add 10.78.0.%d/24 brd + dev eth0", 10+i), "route add default via 10.78.0.254")
	n.t.Cleanup(func() { _ = inside.Close() })
	b.r.authority.started = b.r.authority.started.Add(-2 * time.Hour)
	b.r.relays.yield = time.Hour // however slow the test is
	b.r.relays.listen = func(local netip.Addr) (conn *net.UDPConn, err error) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and never unlocked
			if err = unix.Setns(int(inside.Fd()), unix.CLONE_NEWNET); err == nil {
				conn, err = listenFor(local, 0)
			}
		}()
		<-done
		return conn, err
	}
	h := closedHost(i, fmt.Sprintf("far%d", i))
	n.keys[h.ID] = key
	b.r.Update(h)
	b.start()
	return b
}

// sweep sweeps the far network by way of hosts that are known at these addresses.
func (n *routed) sweep(c SweepConfig, relays ...string) ([]Answer, SweepStats) {
	n.t.Helper()
	c.Sealed, c.Key, c.Subnets = true, n.op, []netip.Prefix{netip.MustParsePrefix("10.78.0.0/24")}
	if c.Wait == 0 {
		c.Wait = patience
	}
	for i, at := range relays {
		c.Relays = append(c.Relays, Known{ID: ID{9, byte(i)}, At: netip.AddrPortFrom(netip.MustParseAddr(at), Port)})
	}
	return gather(n.t, c)
}

// wireSocket returns a socket that hears the frames of a protocol on an interface.
func wireSocket(t *testing.T, name string, protocol uint16) int {
	t.Helper()
	proto := protocol>>8 | protocol<<8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(proto))
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	f, err := net.InterfaceByName(name)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: f.Index})
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// sent returns the UDP datagrams that a host of the far network has sent since it was last asked, by where they went.
func (n *routed) sent(from string) (out []string) {
	n.t.Helper()
	want := netip.MustParseAddr(from).As4()
	buf := make([]byte, 2000)
	for {
		size, err := unix.Read(n.wire, buf)
		if errors.Is(err, unix.EAGAIN) {
			return out
		} else if err != nil {
			n.t.Fatal(err)
		}
		const ether, udp = 14, 17
		if p := buf[ether:size]; len(p) >= 28 && p[9] == udp && [4]byte(p[12:]) == want {
			out = append(out, netip.AddrFrom4([4]byte(p[16:])).String())
		}
	}
}

func TestRelay(t *testing.T) { t.Parallel(); inNamespace(t, relayedSweep) }

func relayedSweep(t *testing.T) {
	n := newRouted(t)
	const hosts = 4
	var beds []*bed
	for i := byte(1); i <= hosts; i++ {
		beds = append(beds, n.host(i, nil))
	}
	arp := wireSocket(t, "far0", unix.ETH_P_ARP)
	all := func(what string, got []Answer, stats SweepStats) {
		t.Helper()
		if len(got) != hosts || !stats.Complete || stats.Wrong != 0 || len(stats.Relays) != 1 {
			t.Errorf("%s: %d hosts, %+v; want %d and complete by one relay; outcomes %v", what, len(got), stats, hosts, nonzero(beds[0].r.Stats()))
		}
		for _, a := range got {
			if !strings.HasPrefix(a.Interface, "via far") || a.From.Addr() != netip.AddrFrom4([4]byte{10, 78, 0, 10 + a.Host.ID[7]}) {
				t.Errorf("%s: answer of %s from %v on %q", what, a.Host.Hostname, a.From, a.Interface)
			}
		}
	}
	// A host that is known relays. Another one is not there any longer.
	got, stats := n.sweep(SweepConfig{Known: knows(n.keys)}, "10.78.0.12", "10.78.0.99")
	all("known", got, stats)
	if r := stats.Relays; len(r) == 1 && !r[0].Known {
		t.Errorf("relay = %+v, want one that is known", r[0])
	}
	for i, b := range beds {
		want := uint64(1)
		if slices.ContainsFunc(stats.Relays, func(r Relay) bool { return r.At.Addr() == netip.AddrFrom4([4]byte{10, 78, 0, byte(11 + i)}) }) {
			want = 0 // it is its own neighbour
		}
		if n := b.r.Stats()[installed.String()]; n != want {
			t.Errorf("host %d has installed the relay %d times, want %d", i+1, n, want)
		}
	}
	for _, l := range arps(t, arp) {
		if !strings.Contains(l, "10.78.0.254") && !strings.Contains(l, "10.78.0.99") {
			t.Errorf("ARP frame %s, want none but for the router and for who is gone", l)
		}
	}
	// Known hosts that answered before are relays too, and are missed if they are gone; pages and unicast probes go by the relay.
	expect := []Known{{ID: got[0].Host.ID, At: got[0].From}, {ID: ID{7}, At: netip.MustParseAddrPort("10.78.0.77:37030")}}
	got, stats = n.sweep(SweepConfig{Known: knows(n.keys), Expect: expect})
	all("expected", got, stats)
	if want := []ID{{7}}; !slices.Equal(stats.Missing, want) {
		t.Errorf("missing = %v, want %v", stats.Missing, want)
	}
	// Nobody is known: one that answers a walk through the addresses relays. Its key is not known, so that no MAC is signed for it.
	before := beds[3].r.Stats()[installed.String()]
	got, stats = n.sweep(SweepConfig{})
	all("unknown", got, stats)
	if r := stats.Relays; len(r) == 1 && r[0].Known {
		t.Errorf("relay = %+v, want one that is not known", r[0])
	}
	if n := beds[3].r.Stats()[installed.String()]; n != before {
		t.Errorf("host 4 has installed %d neighbours for a relay that is not known, want none", n-before)
	}
	if n := n.swept.Load(); n != 0 {
		t.Errorf("hosts took %d sweeps that they relayed for their own", n)
	}
}

// arps returns what the ARP frames were about, as the address asked for.
func arps(t *testing.T, fd int) (out []string) {
	t.Helper()
	buf := make([]byte, 2000)
	for {
		n, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EAGAIN) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		if n >= 42 && buf[21] == 1 { // a request (RFC 826), of sender at 28, for target at 38
			out = append(out, netip.AddrFrom4([4]byte(buf[28:])).String()+" asks for "+netip.AddrFrom4([4]byte(buf[38:])).String())
		}
	}
}
