package discover

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReach(t *testing.T) { t.Parallel(); inNamespace(t, reach) }

// reach runs in a namespace with nothing in it: a laptop on two bridges, with hosts that only one of its ways leads to.
func reach(t *testing.T) {
	home := homeNet(t)
	const port = 37030
	for _, name := range []string{"lan0", "lan1", "lan2", "docker0"} {
		ip(t, "link add "+name+" type bridge")
		ip(t, "link set "+name+" addrgenmode none")
		ip(t, "link set "+name+" up")
	}
	ip(t, "addr add 10.77.0.1/24 brd + dev lan0")
	ip(t, "addr add 10.79.0.1/24 brd + dev lan0")
	ip(t, "addr add fe80::1/64 dev lan0 nodad")
	ip(t, "addr add 10.78.0.1/24 brd + dev lan1")
	ip(t, "addr add fe80::1/64 dev lan1 nodad")
	ip(t, "addr add 10.81.0.1/32 dev lan2")
	ip(t, "route add 10.81.0.0/24 dev lan2")
	ip(t, "addr add 10.90.0.1/24 brd + dev docker0")
	host := func(i byte, bridge string, setup ...string) {
		b, _ := nsHost(t, home, bridge, i, port, nil, setup...)
		b.start()
	}
	host(1, "lan0", "addr add 10.77.0.11/24 brd + dev eth0", "addr add fe80::11/64 dev eth0 nodad")
	host(2, "lan0", "addr add 10.79.0.12/24 brd + dev eth0")                                          // the second network of lan0
	host(3, "lan1", "addr add 192.168.9.13/24 brd + dev eth0", "addr add fe80::13/64 dev eth0 nodad") // in no network of ours
	host(4, "lan1", "addr add fd00::14/64 dev eth0 nodad", "addr add fe80::14/64 dev eth0 nodad")     // IPv6 only
	host(5, "lan2", "addr add 10.81.0.15/24 brd + dev eth0")                                          // we have no network there
	host(6, "docker0", "addr add 10.90.0.16/24 brd + dev eth0")
	host(7, "lan0", "addr add 10.77.0.17/28 brd + dev eth0", "addr add fe80::17/64 dev eth0 nodad") // a wrong mask
	sweep := func(want string, c SweepConfig) SweepStats {
		t.Helper()
		c.Sealed, c.Port, c.Wait = true, port, max(c.Wait, 500*time.Millisecond)
		got, stats := gather(t, c)
		var names []string
		for _, a := range got {
			names = append(names, fmt.Sprintf("%s=%v", a.Host.Hostname, a.From.Addr()))
		}
		slices.Sort(names)
		if text := strings.Join(names, " "); text != want {
			t.Errorf("%+v:\n got %s\nwant %s\n%+v", c, text, want, stats)
		}
		return stats
	}
	const all = "pi1=10.77.0.11 pi2=10.79.0.12 pi3=fe80::13%lan1 pi4=fe80::14%lan1 pi5=10.81.0.15 pi7=fe80::17%lan0"
	if stats := sweep(all, SweepConfig{}); len(stats.Warnings) != 0 {
		t.Errorf("warnings = %q", stats.Warnings)
	}
	sweep("pi1=10.77.0.11 pi2=10.79.0.12 pi7=fe80::17%lan0", SweepConfig{Interfaces: []string{"lan0"}})
	sweep("pi6=10.90.0.16", SweepConfig{Interfaces: []string{"docker0"}})
	sweep("pi3=fe80::13%lan1", SweepConfig{To: []string{"fe80::13%lan1"}})
	sweep("pi1=10.77.0.11 pi2=10.79.0.12", SweepConfig{To: []string{"10.77.0.0/26", "10.79.0.8/29"}})
	sweep("pi1=10.77.0.11", SweepConfig{To: []string{"10.77.0.255"}})
	// An interface that fails is reported, the others go on. One whose directed broadcast is forbidden asks by that of all.
	ip(t, "route replace prohibit 10.78.0.255/32 table local")
	ip(t, "route replace prohibit 10.77.0.255/32 table local")
	stats := sweep(all, SweepConfig{})
	if len(stats.Warnings) != 0 {
		t.Errorf("warnings = %q, want none: the address of all is still there", stats.Warnings)
	}
	ip(t, "link set lan2 down")
	sweep(strings.Replace(all, " pi5=10.81.0.15", "", 1), SweepConfig{})
	stats = sweep("pi3=fe80::13%lan1 pi4=fe80::14%lan1", SweepConfig{Interfaces: []string{"lan1", "lan2"}})
	if len(stats.Warnings) != 1 || !strings.Contains(stats.Warnings[0], `"lan2": it is down`) {
		t.Errorf("warnings = %q, want one about lan2", stats.Warnings)
	}
	crossed(t, home, port)
}

// crossed has a request come in by another interface than that of the network of its source: nobody answers it.
func crossed(t *testing.T, home *os.File, port int) {
	b, list := nsHost(t, home, "lan1", 8, port, nil, "addr add 10.66.0.18/24 brd + dev eth0", "link add other type bridge",
		"addr add 10.78.0.18/24 dev other", "link set other up", "route add 10.66.0.0/16 dev eth0")
	b.start()
	ip(t, "route replace 10.66.0.0/24 dev lan1")
	got, _ := gather(t, SweepConfig{Sealed: true, Port: port, Wait: 200 * time.Millisecond, To: []string{"10.66.0.18"}})
	if len(got) != 0 {
		t.Errorf("a request from the network of another interface (%v) is answered: %v", list, got)
	}
	b.await(offLink, 1)
	if got := b.r.Stats()[answered.String()]; got != 0 {
		t.Errorf("answered = %d, want 0", got)
	}
}
