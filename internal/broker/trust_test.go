package broker

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// stranger is where peers that are not of the house come from in these tests.
var stranger = netip.MustParseAddr("127.0.0.2")

func trustHouse(who Peer) bool { return who.Addr.Addr() != stranger }

// dialStranger is dial from the stranger's address.
func dialStranger(t testing.TB, addr string) *raw { t.Helper(); return dialFrom(t, addr, stranger) }

// dialFrom is dial from an address of loopback.
func dialFrom(t testing.TB, addr string, from netip.Addr) *raw {
	t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Skipf("no second loopback address: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &raw{t: t, conn: c, r: bufio.NewReader(c)}
}

// refused connects and returns the code of the CONNACK, after which the connection must end.
func (c *raw) refused(f connectFrame) byte {
	c.t.Helper()
	c.send(f.bytes())
	code := c.expect(connack).body[1]
	c.expectClosed()
	return code
}

// MQTT gives a client ID to whoever comes last. A stranger must not throw out the house's own clients that way.
func TestStrangersTakeOverNoIDOfTheHouse(t *testing.T) {
	t.Parallel()
	for version, want := range map[byte]byte{4: 2, 5: 0x85} { // identifier rejected
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			t.Parallel()
			b, addr := start(t, Config{Allow: allowAll, Trusted: trustHouse})
			watch := dial(t, addr)
			watch.connect("watch")
			watch.subscribe("/gpio/status", 1)
			own := dial(t, addr)
			own.open(withWill("gpio"))
			if code := dialStranger(t, addr).refused(connectFrame{id: "gpio", version: version}); code != want {
				t.Errorf("stranger with the ID of a client of the house gets code %#x, want %#x", code, want)
			}
			own.ping()
			if got := b.Stats(); got.Clients != 2 || got.Denied != 1 {
				t.Errorf("%d clients, %d denied; want 2 and 1", got.Clients, got.Denied)
			}

			// Of a session that only waits for its client neither.
			waiting := dial(t, addr)
			waiting.open(connectFrame{id: "waits", persistent: true})
			waiting.disconnect()
			eventually(t, "end of the connection", func() bool { return b.Stats().Clients == 2 })
			if code := dialStranger(t, addr).refused(connectFrame{id: "waits", version: version}); code != want {
				t.Errorf("stranger with the ID of a waiting session gets code %#x, want %#x", code, want)
			}

			// The other way round, and among themselves, all is as ever.
			for _, id := range []string{"free", "free"} {
				s := dialStranger(t, addr)
				s.open(connectFrame{id: id, version: version})
				s.ping()
			}
			dial(t, addr).connect("free")
			if code := dialStranger(t, addr).refused(connectFrame{id: "free", version: version}); code != want {
				t.Errorf("stranger back for an ID that the house has taken gets code %#x, want %#x", code, want)
			}
			watch.publish("/gpio/status", "end", 1, false)
			if got := watch.received(); got != "/gpio/status=end" {
				t.Errorf("got %s: the last will has been sent", got)
			}
		})
	}
}

// What strangers publish is delivered, but stays nowhere: neither ghosts of commands, nor 50,000 topics that leave the house no
// room for its own states.
func TestStrangersRetainNothing(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{Allow: allowAll, Trusted: trustHouse})
	own := dial(t, addr)
	own.connect("own")
	own.subscribe("#", 1)
	own.publish("/state", "mine", 1, true)
	if got := own.received(); got != "/state=mine" {
		t.Fatalf("got %s", got)
	}
	s := dialStranger(t, addr)
	will := withWill("s")
	s.open(will)
	s.publish("/set/x", "1", 1, true)
	s.publish("/state", "", 1, true)
	_ = s.conn.Close()
	for _, want := range []string{"/set/x=1", "/state=", will.willTopic + "=" + will.willPayload} {
		if got := own.received(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := b.Stats().Retained; got != 1 {
		t.Errorf("%d messages retained, want the one of the house", got)
	}
}

// Strangers can't fill the broker so that no client of the house gets in.
func TestStrangersLeaveRoom(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{Allow: allowAll, Trusted: trustHouse, MaxClients: 8})
	for i := range 6 {
		dialStranger(t, addr).connect(fmt.Sprint("s", i))
	}
	dialStranger(t, addr).expectClosed()
	own := make([]*raw, 2)
	for i := range own {
		own[i] = dial(t, addr)
		own[i].connect(fmt.Sprint("own", i))
	}
	if got := b.Stats().Clients; got != 8 {
		t.Errorf("%d clients, want 8", got)
	}
}

// A Trusted that panics trusts nobody.
func TestTrustPanics(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{Allow: allowAll, Trusted: func(Peer) bool { panic("no idea") }})
	c := dial(t, addr)
	c.connect("c")
	c.publish("a", "1", 1, true)
	if got := b.Stats().Retained; got != 0 {
		t.Errorf("%d messages retained, want none", got)
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		from, to string
		want     bool
	}{
		{"127.0.0.1:5", "127.0.0.1:1883", true},
		{"127.0.0.9:5", "127.0.0.1:1883", true},
		{"[::1]:5", "[::1]:1883", true},
		{"[::ffff:127.0.0.1]:5", "[::ffff:127.0.0.1]:1883", true},
		{"10.0.0.7:5", "10.0.0.7:1883", true}, // a program that uses its own machine's address
		{"10.0.0.7:5", "[::ffff:10.0.0.7]:1883", true},
		{"[fd00::7]:5", "[fd00::7]:1883", true},
		{"10.0.0.8:5", "10.0.0.7:1883", false},
		{"[fd00::8]:5", "[fd00::7]:1883", false},
	} {
		p := Peer{Addr: netip.MustParseAddrPort(tt.from), Local: netip.MustParseAddrPort(tt.to)}
		if got := p.Loopback(); got != tt.want {
			t.Errorf("Loopback of %s at %s = %v, want %v", tt.from, tt.to, got, tt.want)
		}
	}
	if (Peer{}).Loopback() {
		t.Error("nobody is on this machine")
	}
}

// 0.0.0.0 is every IPv4 address, and no IPv6 address.
func TestListenOnIPv4Only(t *testing.T) {
	t.Parallel()
	_, addr := start(t, Config{Listen: []string{"0.0.0.0:0"}, Allow: allowAll})
	if !strings.HasPrefix(addr, "0.0.0.0:") {
		t.Errorf("broker listens on %s, want 0.0.0.0", addr)
	}
	port := strings.TrimPrefix(addr, "0.0.0.0:")
	dial(t, "127.0.0.1:"+port).connect("c")
	if c, err := net.Dial("tcp", "[::1]:"+port); err == nil {
		_ = c.Close()
		t.Error("the broker on 0.0.0.0 took a connection over IPv6")
	}
}
