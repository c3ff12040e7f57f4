package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/internal/census"
	"rollcall/reports"
)

func gather(t testing.TB, c SweepConfig) ([]Answer, SweepStats) {
	t.Helper()
	var got []Answer
	stats, err := Sweep(t.Context(), c, func(a Answer) { got = append(got, a) })
	if err != nil {
		t.Fatalf("Sweep() error = %v", err)
	}
	sort.Slice(got, func(i, j int) bool { return got[i].Host.ID[7] < got[j].Host.ID[7] })
	return got, stats
}

func TestSweepFindsHosts(t *testing.T) {
	t.Parallel()
	gpio := Service{Name: "gpio", Function: "gpio", Status: reports.Online, Points: 3, Digest: [8]byte{1}}
	heat := Service{Name: "heat", Function: "ds18b20", Status: reports.Offline, Points: 1}
	a := startBed(t, "127.0.0.2:0", testHost(1, "pi", gpio, heat), nil)
	b := startBed(t, "127.0.0.3:0", testHost(2, "pi"), nil)
	got, stats := gather(t, SweepConfig{To: []string{a.addr.String(), b.addr.String()}, Sealed: true, Wait: time.Second})
	if len(got) != 2 {
		t.Fatalf("Sweep() found %d hosts, want 2 (%+v)", len(got), stats)
	}
	one, two := got[0].Host, got[1].Host
	if one.Hostname != "pi" || two.Hostname != "pi" || one.ID == two.ID {
		t.Errorf("hosts = %s %v, %s %v, want two of the name pi", one.Hostname, one.ID, two.Hostname, two.ID)
	}
	if want := []Service{gpio, heat}; !slices.Equal(one.Services, want) {
		t.Errorf("services = %v, want %v", one.Services, want)
	}
	// This is the host itself, so a broker on loopback is one that it can use.
	if !slices.Equal(one.Brokers, []string{"tcp://127.0.0.1:1883"}) || !one.LoopbackOnly || !one.Open || one.OS != "linux" || one.Version != "1.2" {
		t.Errorf("host = %+v", one)
	}
	if age := time.Since(one.Started); age < time.Hour-time.Minute || age > time.Hour+time.Minute {
		t.Errorf("started %v ago, want an hour", age)
	}
	if got[0].From != a.addr || got[0].Interface != "lo" || got[0].After <= 0 {
		t.Errorf("answer from %v on %q after %v, want from %v on lo", got[0].From, got[0].Interface, got[0].After, a.addr)
	}
	if stats.Sent < 2 || stats.Sent > 20 || stats.Received < 2 || stats.Wrong != 0 || len(stats.Warnings) != 0 || stats.ID == 0 || stats.ID > maxSweep {
		t.Errorf("stats = %+v, want few sent, none wrong", stats)
	}
	// Both addresses have answered: there is nobody left to wait for.
	if !stats.Complete || stats.Why != "" || stats.PMiss != 0 || stats.Rounds == 0 || stats.Elapsed > 500*time.Millisecond {
		t.Errorf("stats = %+v, want complete at once", stats)
	}
}

func TestSweepByBroadcast(t *testing.T) {
	t.Parallel()
	a := startBed(t, "0.0.0.0:0", testHost(1, "pi"), nil)
	got, stats := gather(t, SweepConfig{To: []string{"127.255.255.255"}, Port: int(a.addr.Port()), Sealed: true, Wait: time.Second})
	if len(got) != 1 || stats.Wrong != 0 || got[0].From != netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), a.addr.Port()) {
		t.Errorf("Sweep() of the loopback network's broadcast address = %+v, %+v, want one host", got, stats)
	}
}

// TestSweepAsksInBothForms is udpsrv sweep --via both.
func TestSweepAsksInBothForms(t *testing.T) {
	t.Parallel()
	a := startBed(t, "127.0.0.1:0", testHost(1, "pi"), nil)
	got, stats := gather(t, SweepConfig{ID: 4711, To: []string{a.addr.String()}, Sealed: true, Legacy: true, Wait: time.Second,
		Topic: "/stat/4711", BrokerPort: 1999, ReplyTo: func(local netip.Addr) string { return local.String() + ":1999" }})
	if len(got) != 1 || stats.ID != 4711 || stats.Sent < 3 || !stats.Complete {
		t.Errorf("Sweep() = %+v, %+v, want one host, at least 3 datagrams sent", got, stats)
	}
	p := a.next()
	if p.request.ID != "4711" || p.request.ReplyTo != "127.0.0.1:1999" || p.request.Topic != "/stat/4711" {
		t.Errorf("published %+v", p.request)
	}
	a.await(duplicate, 2) // the original form again, and the sealed one when it is due
	if n := a.r.Stats()["published"]; n != 1 {
		t.Errorf("published %d times, want once", n)
	}
}

func TestSweepInTheOriginalFormOnly(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	got, stats := gather(t, SweepConfig{ID: 1241, To: []string{conn.LocalAddr().String()}, Legacy: true, Wait: 50 * time.Millisecond, Topic: "/stat/data",
		ReplyTo: func(netip.Addr) string { return "pibot01" }})
	if len(got) != 0 || stats.Sent != 2 {
		t.Errorf("Sweep() = %v, %+v, want nobody and 2 sent", got, stats)
	}
	for range 2 {
		if b := receive(t, conn, patience); string(b) != `{"cmd":"status","id":1241,"replyto":"pibot01","topic":"/stat/data"}` {
			t.Errorf("sent %s", b)
		}
	}
}

// TestSweepListsWhoIsMissing knows three hosts, of which one is there, one is silent, and one is known without an address.
func TestSweepListsWhoIsMissing(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	probed := map[uint16]bool{}
	a := newPuppet(t, "0.0.0.0", func(q Request, _ netip.AddrPort) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case q.Seq >= census.UnicastSeq:
			probed[q.Round] = true
			return nil
		case q.Round == 1:
			return replies(t, testHost(1, "pi"), 1, q)
		}
		return nil
	})
	here := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), a.addr.Port())
	there := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.77"), a.addr.Port())
	c := SweepConfig{To: []string{"127.255.255.255"}, Port: int(a.addr.Port()), Sealed: true,
		Expect: []Known{{ID: testHost(1, "").ID, At: here}, {ID: ID{8}, At: there}, {ID: ID{9}}}}
	got, stats := gather(t, c)
	if len(got) != 1 || !stats.Complete || stats.PMiss <= 0 || stats.PMiss >= census.Delta || !slices.Equal(stats.Missing, []ID{{8}, {9}}) {
		t.Errorf("Sweep() = %d hosts, %+v, want one, complete, the two others missing", len(got), stats)
	}
	if stats.Elapsed > time.Second {
		t.Errorf("sweep took %v, want less than a second", stats.Elapsed)
	}
	mu.Lock()
	if len(probed) != census.Probes {
		t.Errorf("the silent host was asked %d times by unicast, want %d", len(probed), census.Probes)
	}
	mu.Unlock()
	if got, stats := gather(t, SweepConfig{To: c.To, Port: c.Port, Sealed: true, Expect: c.Expect[:1]}); len(got) != 1 || !stats.Complete ||
		len(stats.Missing) != 0 {
		t.Errorf("Sweep() = %d hosts, %+v, want the one that is known, complete", len(got), stats)
	}
}

func TestSweepOfNobody(t *testing.T) {
	t.Parallel()
	got, stats := gather(t, SweepConfig{To: []string{"127.0.0.1:9"}, Sealed: true, Wait: 100 * time.Millisecond})
	if len(got) != 0 || stats.Sent < 2 || stats.Sent > 20 || stats.Complete || stats.Elapsed > patience {
		t.Errorf("Sweep() = %v, %+v, want nobody", got, stats)
	}
}

func TestSweepEndsWithItsContext(t *testing.T) {
	t.Parallel()
	a := startBed(t, "127.0.0.1:0", testHost(1, "pi"), nil)
	ctx, cancel := context.WithCancel(t.Context())
	start := time.Now()
	_, err := Sweep(ctx, SweepConfig{To: []string{a.addr.String()}, Sealed: true, Wait: time.Hour}, func(Answer) { cancel() })
	if err != nil || time.Since(start) > patience {
		t.Errorf("Sweep() = %v after %v, want nil at once", err, time.Since(start))
	}
}

func TestSweepRefuses(t *testing.T) {
	t.Parallel()
	good := SweepConfig{To: []string{"127.0.0.1:9"}, Sealed: true, Wait: time.Millisecond}
	for name, tt := range map[string]struct {
		change func(c *SweepConfig)
		want   string
	}{
		"id":              {func(c *SweepConfig) { c.ID = 1 << 53 }, "not below 2^53"},
		"port":            {func(c *SweepConfig) { c.Port = 65536 }, "port 65536"},
		"no form":         {func(c *SweepConfig) { c.Sealed = false }, "neither form"},
		"no replyto":      {func(c *SweepConfig) { c.Legacy, c.Topic = true, "/t" }, "needs a replyto"},
		"bad topic":       {func(c *SweepConfig) { c.BrokerPort, c.Topic = 1, "/#" }, "wildcard"},
		"no topic":        {func(c *SweepConfig) { c.BrokerPort = 1 }, "topic"},
		"negative wait":   {func(c *SweepConfig) { c.Wait = -1 }, "negative"},
		"to a name":       {func(c *SweepConfig) { c.To = []string{"pibot01"} }, `"pibot01" is neither an address`},
		"to a link":       {func(c *SweepConfig) { c.To = []string{"fe80::1"} }, "needs the interface"},
		"to a big range":  {func(c *SweepConfig) { c.To = []string{"10.0.0.0/8"} }, "more than 4096 addresses"},
		"to a bad range":  {func(c *SweepConfig) { c.To = []string{"10.0.0.0/33"} }, "not an IPv4 network"},
		"to an IPv6 net":  {func(c *SweepConfig) { c.To = []string{"fd00::/120"} }, "not an IPv4 network"},
		"to port 0":       {func(c *SweepConfig) { c.To = []string{"127.0.0.1:0"} }, "port 0"},
		"to any":          {func(c *SweepConfig) { c.To = []string{"0.0.0.0"} }, "not the address of a host"},
		"to a group":      {func(c *SweepConfig) { c.To = []string{"224.0.0.1"} }, "not the address of a host"},
		"no interface":    {func(c *SweepConfig) { c.To, c.Interfaces = nil, []string{"nosuch9"} }, `"nosuch9": there is none`},
		"the loopback":    {func(c *SweepConfig) { c.To, c.Interfaces = nil, []string{"lo"} }, "it is the loopback"},
		"other interface": {func(c *SweepConfig) { c.Interfaces = []string{"nosuch9"} }, `behind interface "lo"`},
	} {
		c := good
		tt.change(&c)
		if _, err := Sweep(t.Context(), c, func(Answer) {}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Sweep() error = %v, want %q", name, err, tt.want)
		}
	}
}

// TestSweepGoesOnWhenAnInterfaceFails has an interface whose address goes away before it is used.
func TestSweepGoesOnWhenAnInterfaceFails(t *testing.T) {
	t.Parallel()
	const up = net.FlagUp | net.FlagBroadcast
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skip(err)
	}
	list := []iface{
		{Index: 99, Name: "gone0", Flags: up, Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.5/24")}},
		{Index: lo.Index, Name: "eth7", Flags: up, Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}},
	}
	a := startBed(t, "0.0.0.0:0", testHost(1, "pi"), nil)
	c := SweepConfig{Sealed: true, Port: int(a.addr.Port()), Wait: 10 * time.Second}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	found := 0
	s := newSweep(c, list, func(Answer) { found++ })
	defer s.close()
	if err := s.open(list); err != nil {
		t.Fatal(err)
	}
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found != 1 || len(s.stats.Warnings) != 1 || !strings.Contains(s.stats.Warnings[0], `"gone0": `) {
		t.Errorf("found %d hosts, warnings %q, want one of each", found, s.stats.Warnings)
	}
}

// puppet answers requests as the test wants.
type puppet struct {
	addr netip.AddrPort
	conn *net.UDPConn
}

// newPuppet runs answer for each request; what it returns is sent back, from the puppet's own address.
func newPuppet(t *testing.T, local string, answer func(q Request, from netip.AddrPort) [][]byte) *puppet {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(local)})
	if err != nil {
		t.Fatal(err)
	}
	p := &puppet{conn: conn, addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			q, err := ParseRequest(buf[:n])
			if err != nil {
				t.Errorf("sweep sent what is no request: %v", err)
				continue
			}
			for _, b := range answer(q, from) {
				if _, err := conn.WriteToUDPAddrPort(b, from); err != nil && !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
			}
		}
	})
	t.Cleanup(func() { _ = conn.Close(); wg.Wait() })
	return p
}

// replies returns the pages of a host as replies to q.
func replies(t *testing.T, h Host, edition uint16, q Request) [][]byte {
	t.Helper()
	p, err := encodePages(h, edition)
	if err != nil {
		t.Error(err)
	}
	var out [][]byte
	for _, b := range p.data {
		r := Reply{Sweep: q.Sweep, Round: q.Round, Seq: q.Seq, First: q.Seq, Tx: 1}
		r.patch(b)
		out = append(out, b)
	}
	return out
}

func TestSweepCountsWhatIsWrong(t *testing.T) {
	t.Parallel()
	liar, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 8)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = liar.Close() })
	const bad = 9
	p := newPuppet(t, "127.0.0.7", func(q Request, from netip.AddrPort) [][]byte {
		good := replies(t, testHost(1, "pi"), 1, q)[0]
		if q.Seq > 1 {
			return nil
		}
		// From an address that was not asked, and from the address asked but another port.
		if _, err := liar.WriteToUDPAddrPort(replies(t, testHost(7, "liar"), 1, q)[0], from); err != nil {
			t.Error(err)
		}
		sealed := edit(good, 7, byte(FlagSealed|FlagOpen))
		copy(sealed[16:], "thekey00")
		control := withBody(t, good, replyHeader, "a101631b5b6d")
		return [][]byte{edit(good, offSweep+7, good[offSweep+7]+1), nil, []byte("x"), []byte(`{"hostname":"pi"}`), good[:50], sealed, control,
			edit(good, offSeq, 0x7f), good}
	})
	got, stats := gather(t, SweepConfig{To: []string{p.addr.String()}, Sealed: true, Wait: 10 * time.Second})
	if len(got) != 1 || got[0].Host.Hostname != "pi" || stats.Received != bad+1 || stats.Wrong != bad {
		t.Errorf("Sweep() = %+v, %+v, want one host, %d received, %d wrong", got, stats, bad+1, bad)
	}
}

func TestSweepFetchesAllPages(t *testing.T) {
	t.Parallel()
	list := services(1000, 12)
	a := startBed(t, "127.0.0.1:0", testHost(1, "big", list...), nil)
	got, stats := gather(t, SweepConfig{To: []string{a.addr.String()}, Sealed: true, Wait: 30 * time.Second})
	if len(got) != 1 || !slices.Equal(got[0].Host.Services, list) {
		t.Fatalf("Sweep() = %d hosts, %+v, want one with %d services", len(got), stats, len(list))
	}
	if pages := len(a.r.said.Load().data); pages < 20 || stats.Sent < pages || stats.Sent > 2*pages || stats.Wrong != 0 {
		t.Errorf("stats = %+v for %d pages, want each asked for once, or on a busy machine a few again", stats, pages)
	}
}

// TestSweepFetchesLostPages has a host that loses every other request, and changes while it is asked.
func TestSweepFetchesLostPages(t *testing.T) {
	t.Parallel()
	before, after := testHost(1, "big", services(200, 12)...), testHost(1, "big", services(150, 13)...)
	var mu sync.Mutex
	n := 0
	p := newPuppet(t, "127.0.0.1", func(q Request, _ netip.AddrPort) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		n++
		switch {
		case n > 1 && n%2 == 1:
			return nil
		case n > 4:
			return replies(t, after, 2, q)[q.Page : q.Page+1]
		}
		return replies(t, before, 1, q)[q.Page : q.Page+1]
	})
	got, stats := gather(t, SweepConfig{To: []string{p.addr.String()}, Sealed: true, Wait: 30 * time.Second})
	if len(got) != 1 || !slices.Equal(got[0].Host.Services, after.Services) {
		t.Errorf("Sweep() = %d hosts, %+v, want the services that the host has since it changed", len(got), stats)
	}
}

func TestSweepGivesUpOnPages(t *testing.T) {
	t.Parallel()
	h := testHost(1, "big", services(200, 12)...)
	p := newPuppet(t, "127.0.0.1", func(q Request, _ netip.AddrPort) [][]byte {
		if q.Page > 1 {
			return nil
		}
		return replies(t, h, 1, q)[q.Page : q.Page+1]
	})
	got, stats := gather(t, SweepConfig{To: []string{p.addr.String()}, Sealed: true, Wait: 30 * time.Second})
	if len(got) != 1 || len(got[0].Host.Services) < 40 || len(got[0].Host.Services) >= 200 {
		t.Fatalf("Sweep() = %+v, want the host with what came", got)
	}
	if len(stats.Warnings) != 1 || !strings.Contains(stats.Warnings[0], "host big") || stats.Elapsed >= 30*time.Second || stats.Sent > 40 {
		t.Errorf("stats = %+v, want a warning that names the host, an early end, and few requests", stats)
	}
	// At the end of Wait the host is told of with what came until then.
	got, stats = gather(t, SweepConfig{To: []string{p.addr.String()}, Sealed: true, Wait: 150 * time.Millisecond})
	if len(got) != 1 || len(stats.Warnings) != 1 {
		t.Errorf("Sweep() for 150ms = %+v, %+v, want the host, with a warning", got, stats)
	}
}

// TestSweepDoesNotTrustBrokers looks at a reply from another machine.
func TestSweepDoesNotTrustBrokers(t *testing.T) {
	t.Parallel()
	list, err := home()
	if err != nil {
		t.Fatal(err)
	}
	s := &sweep{machine: machineOf(list)}
	remote, own := netip.MustParseAddr("192.168.1.7"), netip.MustParseAddr("192.168.1.50")
	tests := []struct {
		from    netip.Addr
		flags   ReplyFlags
		brokers string
		want    string
		only    bool
	}{
		{remote, 0, "tcp://127.0.0.1:1883", "", true},
		{remote, FlagLoopbackOnly, "tcp://localhost:1883 ws://[::1]:9001", "", true},
		{remote, FlagLoopbackOnly, "", "", true},
		{remote, 0, "", "", false},
		{remote, 0, "tcp://127.0.0.1:1883 tcp://192.168.1.7:1883", "tcp://192.168.1.7:1883", false},
		{own, FlagLoopbackOnly, "tcp://127.0.0.1:1883", "tcp://127.0.0.1:1883", true},
		{own, 0, "tcp://127.0.0.1:1883 tcp://192.168.1.50:1883", "tcp://127.0.0.1:1883 tcp://192.168.1.50:1883", false},
	}
	for _, tt := range tests {
		h := s.host(Reply{Flags: tt.flags, Body: ReplyBody{Brokers: strings.Fields(tt.brokers)}}, tt.from)
		if got := strings.Join(h.Brokers, " "); got != tt.want || h.LoopbackOnly != tt.only {
			t.Errorf("brokers %q of %v = %q, loopback only %v, want %q, %v", tt.brokers, tt.from, got, h.LoopbackOnly, tt.want, tt.only)
		}
	}
}

// TestSweepOfMany sweeps more hosts than the default socket buffer has room for replies of.
func TestSweepOfMany(t *testing.T) {
	t.Parallel()
	const n = 300
	var to []string
	for i := range n {
		p := newPuppet(t, fmt.Sprintf("127.0.1.%d", i%250+1), func(q Request, _ netip.AddrPort) [][]byte {
			h := testHost(0, "pi")
			h.ID[6], h.ID[7] = byte(i>>8), byte(i)
			return replies(t, h, 1, q)
		})
		to = append(to, p.addr.String())
	}
	got, stats := gather(t, SweepConfig{To: to, Sealed: true, Wait: 30 * time.Second})
	if len(got) != n || stats.Wrong != 0 {
		t.Errorf("Sweep() found %d hosts, %+v, want %d", len(got), stats, n)
	}
}
