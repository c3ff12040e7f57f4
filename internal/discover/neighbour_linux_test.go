package discover

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNeighbour(t *testing.T) { t.Parallel(); inNamespace(t, neighbours) }

// neighbours runs in a namespace with nothing in it.
func neighbours(t *testing.T) {
	ip(t, "link set lo up")
	ip(t, "link add lan0 type veth peer name far0")
	ip(t, "addr add 10.77.0.1/24 brd + dev lan0")
	ip(t, "addr add fd00:77::1/64 dev lan0 nodad")
	ip(t, "link set lan0 up")
	ip(t, "link set far0 up")
	ip(t, "route add default via 10.77.0.254")
	ip(t, "route add 10.99.0.0/16 nexthop via 10.77.0.253 nexthop via 10.77.0.252")
	ip(t, "route add default via fd00:77::fe dev lan0")
	ip(t, "neigh add 10.77.0.254 lladdr 02:00:00:00:00:fe dev lan0 nud permanent")
	ip(t, "neigh add 10.77.0.250 lladdr 02:00:00:00:00:fa dev lan0 nud reachable")
	list, err := interfaces()
	if err != nil {
		t.Fatal(err)
	}
	f, m := byName(t, list, "lan0"), machineOf(list)
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("# x\nnameserver 10.77.0.251\nnameserver fe80::53%lan0\nsearch lan\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	brokers := []netip.Addr{netip.MustParseAddr("10.77.0.250")}
	i := &introducer{table: openTable(), broker: func() []netip.Addr { return brokers }, resolv: []string{resolv}}
	if i.table == nil {
		t.Fatal("no netlink")
	}
	defer i.close()
	const laptop = "02:00:00:00:00:07"
	for _, tt := range []struct {
		name, setup, addr, mac string
		want                   introduction // refused: a part of it
		entry                  string       // of ip neigh, a part; "" for none
	}{
		{"absent", "", "10.77.0.7", laptop, introduction{known: true, changed: true}, laptop + " REACHABLE"},
		{"again", "", "10.77.0.7", laptop, introduction{known: true}, laptop + " REACHABLE"},
		{"IPv6", "", "fd00:77::7", laptop, introduction{known: true, changed: true}, laptop + " REACHABLE"},
		{"IPv6 of the link", "", "fe80::7", laptop, introduction{known: true, changed: true}, laptop + " REACHABLE"},
		{"stale, same MAC", "10.77.0.8 lladdr " + laptop + " nud stale", "10.77.0.8", laptop, introduction{known: true}, laptop + " REACHABLE"},
		{"stale, another", "10.77.0.9 lladdr 02:00:00:00:00:09 nud stale", "10.77.0.9", laptop, introduction{known: true, changed: true}, laptop + " REACHABLE"},
		{"failed", "10.77.0.10 nud failed", "10.77.0.10", laptop, introduction{known: true, changed: true}, laptop + " REACHABLE"},
		{"live, another", "10.77.0.11 lladdr 02:00:00:00:00:0b nud reachable", "10.77.0.11", laptop, introduction{known: true, refused: "in use"}, "02:00:00:00:00:0b REACHABLE"},
		{"delayed, another", "10.77.0.12 lladdr 02:00:00:00:00:0c nud delay", "10.77.0.12", laptop, introduction{known: true, refused: "in use"}, "02:00:00:00:00:0c "},
		{"probed, another", "10.77.0.13 lladdr 02:00:00:00:00:0d nud probe", "10.77.0.13", laptop, introduction{known: true, refused: "in use"}, "02:00:00:00:00:0d "},
		{"permanent, same", "10.77.0.14 lladdr " + laptop + " nud permanent", "10.77.0.14", laptop, introduction{known: true, refused: "in use"}, laptop + " PERMANENT"},
		{"live IPv6, another", "fd00:77::9 lladdr 02:00:00:00:00:0b nud reachable", "fd00:77::9", laptop, introduction{known: true, refused: "in use"}, "02:00:00:00:00:0b REACHABLE"},
		{"gateway", "", "10.77.0.254", laptop, introduction{known: true, refused: "gateway"}, "02:00:00:00:00:fe PERMANENT"},
		{"gateway of two", "", "10.77.0.252", laptop, introduction{refused: "gateway"}, ""},
		{"gateway IPv6", "", "fd00:77::fe", laptop, introduction{refused: "gateway"}, ""},
		{"name server", "", "10.77.0.251", laptop, introduction{refused: "name server"}, ""},
		{"name server IPv6", "", "fe80::53", laptop, introduction{refused: "name server"}, ""},
		{"broker", "10.77.0.250 lladdr 02:00:00:00:00:fa nud reachable", "10.77.0.250", laptop, introduction{known: true, refused: "broker"}, "02:00:00:00:00:fa REACHABLE"},
		{"gateway's MAC", "", "10.77.0.21", "02:00:00:00:00:fe", introduction{refused: "is that of 10.77.0.254"}, ""},
		{"broker's MAC", "", "10.77.0.22", "02:00:00:00:00:fa", introduction{refused: "is that of 10.77.0.250"}, ""},
		{"own address", "", "10.77.0.1", laptop, introduction{}, ""},
		{"own MAC", "", "10.77.0.23", f.MAC.String(), introduction{refused: "our own"}, ""},
		{"multicast MAC", "", "10.77.0.24", "03:00:00:00:00:07", introduction{refused: "not that of one machine"}, ""},
		{"broadcast MAC", "", "10.77.0.24", "ff:ff:ff:ff:ff:ff", introduction{refused: "not that of one machine"}, ""},
		{"no MAC", "", "10.77.0.24", "00:00:00:00:00:00", introduction{refused: "not that of one machine"}, ""},
		{"other network", "", "10.78.0.7", laptop, introduction{refused: "not in a network"}, ""},
		{"other network IPv6", "", "fd00:78::7", laptop, introduction{refused: "not in a network"}, ""},
		{"broadcast address", "", "10.77.0.255", laptop, introduction{refused: "not in a network"}, ""},
	} {
		if tt.setup != "" {
			ip(t, "neigh replace "+tt.setup+" dev lan0")
		}
		hw, err := net.ParseMAC(tt.mac)
		if err != nil {
			t.Fatal(err)
		}
		got := i.introduce(f, netip.MustParseAddr(tt.addr), [6]byte(hw), m, []net.HardwareAddr{f.MAC}, time.Now())
		if got.known != tt.want.known || got.changed != tt.want.changed || !strings.Contains(got.refused, tt.want.refused) || (got.refused == "") != (tt.want.refused == "") {
			t.Errorf("%s: introduce(%s, %s) = %+v, want %+v", tt.name, tt.addr, tt.mac, got, tt.want)
		}
		out, err := exec.Command("ip", "neigh", "show", tt.addr, "dev", "lan0").CombinedOutput()
		if err != nil || !strings.Contains(string(out), tt.entry) || (tt.entry == "" && strings.Contains(string(out), "lladdr")) {
			t.Errorf("%s: table has %q (%v), want %q", tt.name, out, err, tt.entry)
		}
	}
	brokers = nil // not known any more
	i.listed = time.Time{}
	if got := i.introduce(f, netip.MustParseAddr("10.77.0.40"), [6]byte{2, 0, 0, 0, 0, 7}, m, nil, time.Now().Add(time.Hour)); got.refused == "" || got.known {
		t.Errorf("without the broker's address: %+v, want it refused", got)
	}
	framesIn(t)
}

// framesIn sends requests whose frames come from where they say, and from elsewhere.
func framesIn(t *testing.T) {
	conn, err := Listen("10.77.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{raw: raw}
	if g.renew(nil); !g.framed.Load() {
		t.Fatal("the kernel takes no filter")
	}
	sender, err := net.DialUDP("udp4", nil, conn.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sender.Close() }()
	q := question(1, 1) // over the loopback, whose frames come from 00:00:00:00:00:00
	plain := mustMarshal(t, q)
	other := mustMarshal(t, Request{Sweep: 1, Seq: 1, Time: time.Now(), MAC: [6]byte{2, 0, 0, 0, 0, 7}})
	for _, tt := range []struct {
		name string
		b    []byte
		want int
	}{
		{"no tail", plain, len(plain)},
		{"tail, same MAC", append(plain[:len(plain):len(plain)], 0), len(plain) + 1},
		{"tail, another MAC", withTail(other), len(other)},
		{"no request", append([]byte("{"), make([]byte, 1400)...), 1401},
		{"reply", edit(withTail(other), 5, typeReply), len(other) + 1},
	} {
		if _, err := sender.Write(tt.b); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 2000)
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buf)
		if n != tt.want || err != nil {
			t.Errorf("%s: received %d bytes, %v, want %d", tt.name, n, err, tt.want)
		}
	}
}

func byName(t *testing.T, list []iface, name string) iface {
	t.Helper()
	for _, f := range list {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no interface %s", name)
	return iface{}
}
