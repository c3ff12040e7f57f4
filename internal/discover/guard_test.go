package discover

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// home is a machine with the addresses 192.168.1.50/24, fd00::50 and the loopback.
func home() ([]iface, error) {
	return []iface{
		{Index: 1, Name: "lo", Flags: net.FlagUp | net.FlagLoopback, Addrs: addrs("127.0.0.1", "::1"),
			Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}},
		{Index: 2, Name: "eth0", Flags: net.FlagUp | net.FlagBroadcast, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1},
			Addrs: addrs("192.168.1.50", "fd00::50"), Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.1.50/24")}},
	}, nil
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// names is a name service with a fixed table.
func names(table map[string][]string) Resolver {
	return resolverFunc(func(_ context.Context, host string) ([]netip.Addr, error) {
		if list, ok := table[host]; ok {
			return addrs(list...), nil
		}
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	})
}

func homeGuard(t testing.TB, res Resolver, allowed ...string) *Guard {
	t.Helper()
	g := testGuard(t, res, allowed...)
	g.ifaces = home
	return g
}

// table is the name service of TestGuard.
var table = map[string][]string{
	"pibot01": {"192.168.1.7"}, "pibot01.lan": {"192.168.1.7"}, "many": {"10.6.6.6", "192.168.1.7", "192.168.1.8"},
	"mapped": {"::ffff:192.168.1.7"}, "third": {"192.168.1.8"}, "public": {"203.0.113.9", "2001:db8::9"}, "loop": {"127.0.0.1"},
	"localhost": {"127.0.0.1", "::1"}, "loop6": {"::1"}, "myself": {"127.0.1.1"}, "ownaddr": {"192.168.1.50"}, "own6": {"fd00::50"},
	"zero": {"0.0.0.0"}, "wide": {"255.255.255.255", "192.168.1.255"}, "group": {"224.0.0.1"}, "nothing": {},
	"collector": {"10.9.0.5"}, "collector-loop": {"127.0.0.1"}, "collector-own": {"192.168.1.50"}, "half": {"127.0.0.1", "10.8.0.1"},
	"xn--bcher-kva.example": {"203.0.113.9"},
}

func TestGuard(t *testing.T) {
	t.Parallel()
	const (
		remote = "192.168.1.7"
		own    = "192.168.1.50"
		local  = "127.0.0.1"
	)
	g := homeGuard(t, names(table), "collector", "collector-loop", "collector-own", "10.8.0.0/16", "10.9.9.9", "fd00::/64", "192.168.1.128/25")
	tests := []struct{ replyto, src, want, err string }{
		// The requester itself, in each way that it may be spelt.
		{"192.168.1.7", remote, "192.168.1.7:1883", ""},
		{"192.168.1.7:1884", remote, "192.168.1.7:1884", ""},
		{"mqtt://192.168.1.7", remote, "192.168.1.7:1883", ""},
		{"mqtts://192.168.1.7", remote, "192.168.1.7:8883 TLS", ""},
		{"MQTTS://PIBOT01:1", remote, "192.168.1.7:1 TLS", ""},
		{"mqtt://192.168.1.7:65535", remote, "192.168.1.7:65535", ""},
		{"[::ffff:192.168.1.7]:1884", remote, "192.168.1.7:1884", ""},
		{"[::ffff:c0a8:107]", remote, "192.168.1.7:1883", ""},
		{"192.168.1.7", "::ffff:192.168.1.7", "192.168.1.7:1883", ""},
		{"pibot01", remote, "192.168.1.7:1883", ""},
		{"PiBot01.LAN", remote, "192.168.1.7:1883", ""},
		{"pibot01.lan.", remote, "192.168.1.7:1883", ""},
		{"many", remote, "192.168.1.7:1883", ""}, // of several addresses only the requester's is used
		{"mapped", remote, "192.168.1.7:1883", ""},
		{"nobody-knows-me", remote, "192.168.1.7:1883", ""},
		{"nothing", remote, "192.168.1.7:1883", ""},
		// Third parties.
		{"192.168.1.8", remote, "", "neither the requester 192.168.1.7 nor in reply_to"},
		{"mqtt://203.0.113.9:25", remote, "", "neither the requester"},
		{"[2001:db8::9]", remote, "", "neither the requester"},
		{"[64:ff9b::c0a8:107]", remote, "", "neither the requester"},
		{"[::192.168.1.7]", remote, "", "neither the requester"},
		{"third", remote, "", `replyto "third" is [192.168.1.8]`},
		{"public", remote, "", "neither the requester"},
		{"xn--bcher-kva.example", remote, "", "neither the requester"},
		{"203.0.113.9", own, "", "neither the requester"},
		// This machine, named by another.
		{"127.0.0.1", remote, "", "is this machine itself"},
		{"127.1.2.3:22", remote, "", "is this machine itself"},
		{"[::1]", remote, "", "is this machine itself"},
		{"[::ffff:127.0.0.1]", remote, "", "is this machine itself"},
		{"192.168.1.50", remote, "", "neither the requester"},
		{"[fd00::50]", remote, "", "neither the requester"}, // although in a CIDR of reply_to
		{"localhost", remote, "", "neither the requester"},
		{"loop", remote, "", "neither the requester"},
		{"loop6", remote, "", "neither the requester"},
		{"ownaddr", remote, "", "neither the requester"},
		{"own6", remote, "", "neither the requester"},
		{"myself", remote, "", "neither the requester"},
		// This machine, named by itself.
		{"127.0.0.1", local, "127.0.0.1:1883", ""},
		{"127.0.0.1:1884", own, "127.0.0.1:1884", ""},
		{"192.168.1.50", local, "192.168.1.50:1883", ""},
		{"[::1]", own, "[::1]:1883", ""},
		{"localhost", own, "192.168.1.50:1883", ""},
		{"myself", own, "192.168.1.50:1883", ""},
		{"own6", own, "192.168.1.50:1883", ""},
		{"third", own, "", "neither the requester"},
		// No address of one machine.
		{"0.0.0.0", remote, "", "not the address of one machine"},
		{"0.0.0.0", own, "", "not the address of one machine"},
		{"0.1.2.3", remote, "", "not the address of one machine"},
		{"[::]", remote, "", "not the address of one machine"},
		{"255.255.255.255", remote, "", "not the address of one machine"},
		{"240.0.0.1", remote, "", "not the address of one machine"},
		{"192.168.1.255", remote, "", "not the address of one machine"}, // although in a CIDR of reply_to
		{"224.0.0.1", remote, "", "not the address of one machine"},
		{"[ff02::1]", remote, "", "not the address of one machine"},
		{"zero", remote, "", "neither the requester"},
		{"wide", remote, "", "neither the requester"},
		{"group", remote, "", "neither the requester"},
		{"192.168.1.255", "192.168.1.255", "", "requester 192.168.1.255 is not"},
		{"x", "224.0.0.1", "", "requester 224.0.0.1 is not"},
		// reply_to.
		{"collector", remote, "10.9.0.5:1883", ""},
		{"Collector.:1884", remote, "10.9.0.5:1884", ""},
		{"10.9.0.5", remote, "", "neither the requester"}, // the name is listed, not the address
		{"10.8.200.1", remote, "10.8.200.1:1883", ""},
		{"10.9.9.9", remote, "10.9.9.9:1883", ""},
		{"10.9.9.8", remote, "", "neither the requester"},
		{"half", remote, "10.8.0.1:1883", ""}, // by its CIDR
		{"[fd00::51]", remote, "[fd00::51]:1883", ""},
		{"192.168.1.200", remote, "192.168.1.200:1883", ""},
		{"collector-loop", remote, "", "neither the requester"},
		{"collector-own", remote, "192.168.1.50:1883", ""}, // listed by this very name
	}
	for _, tt := range tests {
		t.Run(tt.replyto+" from "+tt.src, func(t *testing.T) {
			t.Parallel()
			e, err := g.Check(t.Context(), tt.replyto, netip.MustParseAddr(tt.src))
			got := ""
			if err == nil {
				got = e.Addr.String()
				if e.TLS {
					got += " TLS"
				}
			}
			if got != tt.want || (err == nil) != (tt.err == "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("Check(%q, %s) = %q, %v, want %q, %q", tt.replyto, tt.src, got, err, tt.want, tt.err)
			}
		})
	}
}

// badReplyTos can't be read in one way only, and so are not read at all. With each stands a part of the error.
var badReplyTos = [][2]string{
	{"", "empty or missing"},
	{" ", "neither an address nor a name"}, {" pibot01", "neither an address"}, {"pibot01\n", "neither an address"},
	{"pi bot", "neither an address"}, {"pi\x00bot", "neither an address"}, {"pibot01\t:1883", "neither an address"},
	{"mqtt://user:pw@192.168.1.7", "must not name a user"}, {"mqtt://user@192.168.1.7", "must not name a user"},
	{"user:pw@192.168.1.7", "must not name a user"}, {"192.168.1.7@203.0.113.9", "must not name a user"}, {"203.0.113.9@pibot01", "must not name a user"},
	{"mqtt://192.168.1.7/", "no path"}, {"mqtt://192.168.1.7/x", "no path"},
	{"192.168.1.7/24", "no path"}, {"192.168.1.7?x", "no path"}, {"192.168.1.7#x", "no path"},
	{"192.168.1.7:1883/x", "no path"}, {"192.168.1.7:1883#", "no path"}, {"pibot01\\x", "neither an address"},
	{"mqtt:192.168.1.7", "port must be"}, {"mqtt://", "host is missing"}, {"mqtt://:1883", "host is missing"}, {":1883", "host is missing"},
	{"://192.168.1.7", "scheme must be"}, {"tcp://192.168.1.7", "scheme must be"}, {"http://192.168.1.7", "scheme must be"},
	{"mqtt ://192.168.1.7", "scheme must be"}, {"mqtt://mqtt://192.168.1.7", "no path"}, {"//192.168.1.7", "no path"},
	{"192.168.1.7:", "not followed by a port"}, {"192.168.1.7:0", "port must be"}, {"192.168.1.7:65536", "port must be"},
	{"192.168.1.7:99999", "port must be"}, {"192.168.1.7:-1", "port must be"}, {"192.168.1.7:+1883", "port must be"},
	{"192.168.1.7:01883", "port must be"}, {"192.168.1.7:0x75b", "port must be"}, {"192.168.1.7:mqtt", "port must be"},
	{"192.168.1.7: 1883", "port must be"}, {"192.168.1.7:18446744073709551615", "port must be"}, {"192.168.1.7:1883:1883", "must stand in brackets"},
	{"::1", "must stand in brackets"}, {"fe80::1:1883", "must stand in brackets"}, {"[::1", "not closed"}, {"[]", "not an IPv6 address"},
	{"[192.168.1.7]", "not an IPv6 address"}, {"[pibot01]", "not an IPv6 address"}, {"[::1]1883", "not followed by a port"},
	{"[::1]]:1883", "not followed by a port"}, {"[fe80::1%eth0]", "not an IPv6 address"}, {"[::ffff:0177.0.0.1]", "not an IPv6 address"},
	{"192.168.1.7%eth0", "neither an address"}, {"%31%32%37.0.0.1", "neither an address"}, {"pibot%30%31", "neither an address"},
	{"2130706433", "ends in a number"}, {"3232235783", "ends in a number"}, {"0x7f000001", "ends in a number"}, {"0x7f.1", "ends in a number"},
	{"0177.0.0.1", "ends in a number"}, {"127.1", "ends in a number"}, {"192.168.257", "ends in a number"}, {"192.168.001.007", "ends in a number"},
	{"192.168.1.0x7", "ends in a number"}, {"192.168.1.7.", "ends in a number"}, {"192.168.1.7.1", "ends in a number"}, {"1.2.3.256", "ends in a number"},
	{"pibot.1", "ends in a number"}, {"0x", "ends in a number"}, {"0X7F.0.0.0X1", "ends in a number"},
	{"..", "neither an address"}, {".pibot01", "neither an address"}, {"pibot01..", "neither an address"}, {"pi..bot", "neither an address"},
	{"-pibot", "neither an address"}, {"pibot.-x", "neither an address"}, {"*", "neither an address"}, {"bücher", "neither an address"},
	{"pibot。lan", "neither an address"}, {"１２７.0.0.1", "neither an address"}, {"pi\u200bbot", "neither an address"}, {"\xff", "neither an address"},
	{strings.Repeat("a", 64), "neither an address"}, {strings.Repeat("a.", 127) + "aa", "has 256 bytes"}, {strings.Repeat("a", 70_000), "has 70000 bytes"},
}

func TestGuardRefusesWhatIsAmbiguous(t *testing.T) {
	t.Parallel()
	asked := resolverFunc(func(_ context.Context, host string) ([]netip.Addr, error) {
		t.Errorf("name service was asked for %q", host)
		return nil, nil
	})
	g := homeGuard(t, asked)
	for _, tt := range badReplyTos {
		for _, src := range addrs("192.168.1.7", "192.168.1.50", "127.0.0.1") {
			if e, err := g.Check(t.Context(), tt[0], src); err == nil || !strings.Contains(err.Error(), tt[1]) {
				t.Errorf("Check(%.40q, %v) = %v, %v, want error %q", tt[0], src, e, err, tt[1])
			}
		}
	}
}

func TestGuardSurvivesRebinding(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	turns := resolverFunc(func(context.Context, string) ([]netip.Addr, error) {
		if calls.Add(1)%2 == 1 {
			return addrs("192.168.1.7"), nil
		}
		return addrs("127.0.0.1"), nil
	})
	g := homeGuard(t, turns)
	src := netip.MustParseAddr("192.168.1.7")
	e, err := g.Check(t.Context(), "evil.example", src)
	if want := netip.MustParseAddrPort("192.168.1.7:1883"); err != nil || e.Addr != want {
		t.Errorf("Check() = %v, %v, want %v", e, err, want)
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("name was looked up %d times in one check, want once", n)
	}
	if e, err := g.Check(t.Context(), "evil.example", src); err == nil {
		t.Errorf("Check() after the name came to mean another = %v, want an error", e)
	}
}

func TestGuardWaitsOneSecondForNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := resolverFunc(func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		g := homeGuard(t, slow)
		start := time.Now()
		e, err := g.Check(t.Context(), "pibot01", netip.MustParseAddr("192.168.1.7"))
		if took := time.Since(start); took != time.Second {
			t.Errorf("Check() took %v, want 1s", took)
		}
		if want := netip.MustParseAddrPort("192.168.1.7:1883"); err != nil || e.Addr != want {
			t.Errorf("Check() of a name that does not resolve = %v, %v, want the requester %v", e, err, want)
		}
	})
}

func TestNewGuardRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "10.0.0.0/33", "10.0.0/8", "::ffff:10.0.0.0/104", "0.0.0.0", "224.0.0.1", "255.255.255.255", "pi:1883",
		"mqtt://pi", "pi/x", "fe80::1%eth0", "127.1", "a b", "ü"} {
		if _, err := NewGuard([]string{"pibot01", s}, nobody); err == nil || !strings.Contains(err.Error(), `reply_to "`+s) {
			t.Errorf("NewGuard(%q) error = %v, want one that names it", s, err)
		}
	}
	if g, err := NewGuard(nil, nil); err != nil || g.resolver != net.DefaultResolver {
		t.Errorf("NewGuard() = %v, %v, want one with the default resolver", g, err)
	}
}

// FuzzGuardReplyTo holds the one promise: whatever a stranger writes, the endpoint is himself or what reply_to names.
func FuzzGuardReplyTo(f *testing.F) {
	for _, s := range badReplyTos {
		f.Add(s[0], uint32(0xc0a80107))
	}
	for name := range table {
		f.Add("mqtt://"+name+":1883", uint32(0xc0a80107))
	}
	f.Add("[::ffff:192.168.1.7]:1", uint32(0x7f000001))
	f.Add("192.168.1.50", uint32(0xc0a80132))
	g := homeGuard(f, names(table), "collector", "10.8.0.0/16")
	list, err := home()
	if err != nil {
		f.Fatal(err)
	}
	m := machineOf(list)
	f.Fuzz(func(t *testing.T, replyto string, from uint32) {
		src := netip.AddrFrom4([4]byte{byte(from >> 24), byte(from >> 16), byte(from >> 8), byte(from)})
		e, err := g.Check(t.Context(), replyto, src)
		if err != nil {
			return
		}
		a := e.Addr.Addr()
		ours := m.isOwn(src) && m.isOwn(a)
		listed := a == netip.MustParseAddr("10.9.0.5") || netip.MustParsePrefix("10.8.0.0/16").Contains(a)
		if !m.connectable(a) || e.Addr.Port() == 0 || (a != src && !ours && !listed) {
			t.Errorf("Check(%q, %v) = %v", replyto, src, e)
		}
	})
}
