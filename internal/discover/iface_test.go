package discover

import (
	"net"
	"net/netip"
	"testing"
)

func TestBroadcastOf(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"192.168.1.50/24": "192.168.1.255", "10.0.0.1/8": "10.255.255.255", "172.16.5.4/20": "172.16.15.255",
		"10.77.0.1/30": "10.77.0.3", "10.77.0.1/31": "", "10.77.0.1/32": "", "127.0.0.1/8": "127.255.255.255", "1.2.3.4/0": "255.255.255.255",
		"10.1.2.3/25": "10.1.2.127", "10.1.2.200/25": "10.1.2.255", "fd00::1/64": ""} {
		got, ok := broadcastOf(netip.MustParsePrefix(in))
		if (want == "") == ok || (ok && got.String() != want) {
			t.Errorf("broadcastOf(%s) = %v, %v, want %q", in, got, ok, want)
		}
	}
}

func TestOnLink(t *testing.T) {
	t.Parallel()
	list, err := home()
	if err != nil {
		t.Fatal(err)
	}
	list[1].Prefixes = append(list[1].Prefixes, netip.MustParsePrefix("10.5.0.9/31"), netip.MustParsePrefix("10.6.0.9/32"))
	lo, eth, own := list[0], list[1], machineOf(list).isOwn
	tests := []struct {
		f    iface
		src  string
		want bool
	}{
		{eth, "192.168.1.7", true}, {eth, "192.168.1.50", true}, {eth, "192.168.1.1", true}, {eth, "192.168.1.254", true},
		{eth, "192.168.1.0", false}, {eth, "192.168.1.255", false}, {eth, "192.168.2.7", false}, {eth, "192.168.0.255", false},
		{eth, "127.0.0.1", false}, {eth, "0.0.0.0", false}, {eth, "255.255.255.255", false}, {eth, "224.0.0.1", false},
		{eth, "10.5.0.8", true}, {eth, "10.5.0.10", false}, {eth, "10.6.0.9", true}, {eth, "10.6.0.8", false}, {eth, "fd00::7", false},
		{lo, "127.0.0.1", true}, {lo, "127.9.9.9", true}, {lo, "192.168.1.50", true}, {lo, "192.168.1.7", false}, {lo, "10.0.0.1", false},
		{iface{}, "192.168.1.7", false}, {iface{}, "0.0.0.0", false},
	}
	for _, tt := range tests {
		if got := tt.f.onLink(netip.MustParseAddr(tt.src), own); got != tt.want {
			t.Errorf("%s: onLink(%s) = %v, want %v", tt.f.Name, tt.src, got, tt.want)
		}
	}
	if eth.onLink(netip.Addr{}, own) {
		t.Error("onLink() of no address = true")
	}
}

func TestUnusable(t *testing.T) {
	t.Parallel()
	net24 := []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}
	const good = net.FlagUp | net.FlagBroadcast
	tests := []struct {
		f     iface
		named bool
		want  string
	}{
		{iface{Name: "eth0", Flags: good, Prefixes: net24}, false, ""},
		{iface{Name: "wlan0", Flags: good, Prefixes: net24}, true, ""},
		{iface{Name: "eth0", Flags: net.FlagBroadcast, Prefixes: net24}, true, "it is down"},
		{iface{Name: "lo", Flags: net.FlagUp | net.FlagLoopback, Prefixes: net24}, true, "it is the loopback"},
		{iface{Name: "wg0", Flags: net.FlagUp | net.FlagPointToPoint, Prefixes: net24}, true, "it has neither broadcast nor multicast, and it is not known who is at its other end: name hosts to ask"},
		{iface{Name: "wg0", Flags: net.FlagUp | net.FlagPointToPoint, Prefixes: net24, Links: []link{{}}}, true, ""},
		{iface{Name: "ppp0", Flags: net.FlagUp | net.FlagPointToPoint, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/31")}}, false, ""},
		{iface{Name: "docker0", Flags: good, Prefixes: net24}, false, "it is virtual"},
		{iface{Name: "veth12ab", Flags: good, Prefixes: net24}, false, "it is virtual"},
		{iface{Name: "tun0", Flags: good, Prefixes: net24}, false, "it is virtual"},
		{iface{Name: "docker0", Flags: good, Prefixes: net24}, true, ""},
		{iface{Name: "eth0", Flags: good}, false, "it has no address"},
		{iface{Name: "eth0", Flags: good, Six: []netip.Prefix{netip.MustParsePrefix("fe80::1/64")}}, false, ""},
		{iface{Name: "eth0", Flags: good, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}}, true, ""},
	}
	for _, tt := range tests {
		if got := tt.f.unusable(tt.named); got != tt.want {
			t.Errorf("unusable(%s, %v) = %q, want %q", tt.f.Name, tt.named, got, tt.want)
		}
	}
}

func TestPrefixOf(t *testing.T) {
	t.Parallel()
	v4in6 := &net.IPNet{IP: net.ParseIP("192.168.1.50"), Mask: net.CIDRMask(120, 128)}
	for _, tt := range []struct {
		a    net.Addr
		want string
	}{
		{&net.IPNet{IP: net.IPv4(10, 0, 0, 1).To4(), Mask: net.CIDRMask(8, 32)}, "10.0.0.1/8"}, {v4in6, "192.168.1.50/24"},
		{&net.IPNet{IP: net.ParseIP("fd00::1"), Mask: net.CIDRMask(64, 128)}, "fd00::1/64"},
		{&net.IPNet{IP: net.IPv4(10, 0, 0, 1).To4(), Mask: net.IPMask{255, 0, 255, 0}}, ""}, {&net.IPAddr{IP: net.IPv4(10, 0, 0, 1)}, ""},
		{&net.IPNet{}, ""},
	} {
		got, ok := prefixOf(tt.a)
		if ok != (tt.want != "") || (ok && got.String() != tt.want) {
			t.Errorf("prefixOf(%v) = %v, %v, want %q", tt.a, got, ok, tt.want)
		}
	}
}

func TestInterfacesListsTheLoopback(t *testing.T) {
	t.Parallel()
	list, err := interfaces()
	if err != nil {
		t.Fatal(err)
	}
	m := machineOf(list)
	if !m.own[netip.MustParseAddr("127.0.0.1")] || !m.isOwn(netip.MustParseAddr("127.9.9.9")) {
		t.Errorf("interfaces() = %+v, want one with 127.0.0.1", list)
	}
}
