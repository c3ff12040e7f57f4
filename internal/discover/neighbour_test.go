package discover

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// fakeTable is the kernel's table for tests without a network namespace.
type fakeTable struct {
	entry    neighbour
	err      error // of install
	installs int
	lookups  int
}

func (f *fakeTable) neighbour(int, netip.Addr) (neighbour, bool, error) {
	f.lookups++
	return f.entry, f.entry.state != 0, nil
}
func (f *fakeTable) install(int, netip.Addr, [6]byte, bool) error { f.installs++; return f.err }
func (f *fakeTable) gateways() ([]netip.Addr, error)              { return nil, nil }
func (f *fakeTable) close() error                                 { return nil }

func testIface() iface {
	return iface{Index: 3, Name: "eth0", Flags: net.FlagUp | net.FlagBroadcast, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1},
		Prefixes: []netip.Prefix{netip.MustParsePrefix("10.77.0.1/24")}}
}

func TestIntroduceWithoutCapability(t *testing.T) {
	t.Parallel()
	table := &fakeTable{err: syscall.EPERM}
	i := &introducer{table: table}
	for range 3 {
		if got := i.introduce(testIface(), netip.MustParseAddr("10.77.0.7"), [6]byte{2, 0, 0, 0, 0, 7}, machine{}, nil, time.Now()); got.known {
			t.Errorf("introduce() = %+v, want not known", got)
		}
	}
	if table.installs != 1 {
		t.Errorf("install was tried %d times, want once: it is not permitted", table.installs)
	}
	table.entry = neighbour{[6]byte{2, 0, 0, 0, 0, 7}, nudReachable}
	if got := i.look(testIface(), netip.MustParseAddr("10.77.0.7")); !got.known {
		t.Errorf("look() = %+v at an entry that is there, want known", got)
	}
}

// TestIntroducedAlready has a requester be where he says that he is, which is the most frequent case: one look is enough.
func TestIntroducedAlready(t *testing.T) {
	t.Parallel()
	mac := [6]byte{2, 0, 0, 0, 0, 7}
	for state, installs := range map[uint16]int{nudReachable: 0, nudStale: 1, nudFailed: 1, nudPermanent: 0} {
		table := &fakeTable{entry: neighbour{mac, state}}
		i := &introducer{table: table}
		got := i.introduce(testIface(), netip.MustParseAddr("10.77.0.7"), mac, machine{}, nil, time.Now())
		if !got.known || got.changed || table.installs != installs || table.lookups != 1 {
			t.Errorf("state %#x: introduce() = %+v with %d looks, %d installed, want known with one look, %d installed", state, got, table.lookups,
				table.installs, installs)
		}
	}
}

// An answer says whether it needed ARP; only a request that is signed, from the frame that it names and from its own address
// changes the table.
func TestIntroduceOnlyBelieved(t *testing.T) {
	t.Parallel()
	b := newBed(t, "127.0.0.1:0", nil)
	src := netip.MustParseAddr("10.77.0.7")
	for _, tt := range []struct {
		name             string
		verified, framed bool
		requester        netip.Addr
		want             int
	}{
		{"believed", true, true, src, 1},
		{"unsigned", false, true, src, 0},
		{"other frame", true, false, src, 0},
		{"another's address", true, true, netip.MustParseAddr("10.77.0.8"), 0},
		{"no address", true, true, netip.Addr{}, 0},
	} {
		table := &fakeTable{}
		b.r.introducer = &introducer{table: table}
		d := &datagram{src: netip.AddrPortFrom(src, 1), at: time.Now(), verified: tt.verified, framed: tt.framed}
		known := b.r.introduce(d, &Request{Requester: tt.requester, MAC: [6]byte{2, 0, 0, 0, 0, 7}}, testIface())
		if table.installs != tt.want || known != (tt.want == 1) {
			t.Errorf("%s: introduce() = %v with %d installed, want %d", tt.name, known, table.installs, tt.want)
		}
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	q := question(1, 1)
	bare := mustMarshal(t, q)
	q.MAC = [6]byte{2, 0, 0, 0, 0, 7}
	named := mustMarshal(t, q)
	if got := withTail(bare); len(got) != len(bare) {
		t.Error("a request without a MAC gets a tail")
	}
	got := withTail(named)
	if len(got) != len(named)+1 {
		t.Fatalf("withTail() has %d bytes, want %d", len(got), len(named)+1)
	}
	if b, ok := cutTail(got); !ok || string(b) != string(named) {
		t.Errorf("cutTail(withTail(b)) = %d bytes, %v", len(b), ok)
	}
	if _, ok := cutTail(named); ok {
		t.Error("cutTail() finds a tail where there is none")
	}
	got[len(got)-1] = 1
	if _, ok := cutTail(got); ok {
		t.Error("cutTail() takes off what is no tail")
	}
}
