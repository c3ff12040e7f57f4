package discover

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/reports"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = time.Minute

// resolverFunc is a name service for tests.
type resolverFunc func(ctx context.Context, host string) ([]netip.Addr, error)

func (f resolverFunc) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	return f(ctx, host)
}

// nobody is a name service that knows no name.
var nobody = resolverFunc(func(_ context.Context, host string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
})

// publication is one call of Publish.
type publication struct {
	request reports.Request
	from    netip.AddrPort
	own     bool
}

// bed is a responder with its surroundings, on a socket of its own on the loopback.
type bed struct {
	t         testing.TB
	r         *Responder
	addr      netip.AddrPort
	passes    *Passes
	published chan publication
}

func testHost(n byte, name string, services ...Service) Host {
	return Host{ID: ID{1, 2, 3, 4, 5, 6, 7, n}, Hostname: name, OS: "linux", Arch: "arm64", Version: "1.2", Open: true,
		Addrs: []netip.Addr{netip.MustParseAddr("192.168.1.50")}, Started: time.Now().Add(-time.Hour),
		Brokers: []string{"tcp://127.0.0.1:1883"}, Services: services}
}

func testGuard(t testing.TB, res Resolver, allowed ...string) *Guard {
	t.Helper()
	g, err := NewGuard(allowed, res)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// newBed makes a responder that is not run yet. change may be nil.
func newBed(t testing.TB, listen string, change func(*ResponderConfig)) *bed {
	t.Helper()
	conn, err := Listen(listen)
	if err != nil {
		t.Fatal(err)
	}
	passes, err := LoadPasses(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), passes: passes, published: make(chan publication, 4096)}
	c := ResponderConfig{Conn: conn, Legacy: true, Open: true, Guard: testGuard(t, nobody), Passes: passes,
		LocalReplyTo: "127.0.0.1:1883", LocalTopic: "/rollcall/original", Log: slog.New(slog.DiscardHandler),
		Publish: func(r reports.Request, from netip.AddrPort, own bool) { b.published <- publication{r, from, own} }}
	if change != nil {
		change(&c)
	}
	if b.r, err = NewResponder(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return b
}

// startBed makes and runs a responder that speaks for h.
func startBed(t testing.TB, listen string, h Host, change func(*ResponderConfig)) *bed {
	t.Helper()
	b := newBed(t, listen, change)
	b.r.Update(h)
	b.start()
	return b
}

func (b *bed) start() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.r.Run(ctx); err != nil {
			b.t.Errorf("Run() = %v, want nil", err)
		}
	})
	b.t.Cleanup(func() { cancel(); wg.Wait() })
}

// next returns the next request that was published.
func (b *bed) next() publication {
	b.t.Helper()
	select {
	case p := <-b.published:
		return p
	case <-time.After(patience):
		b.t.Fatalf("nothing was published; outcomes: %v", nonzero(b.r.Stats()))
		return publication{}
	}
}

// await waits until the outcome was counted n times.
func (b *bed) await(o outcome, n uint64) {
	b.t.Helper()
	b.awaitAny(n, o)
}

// awaitAny waits until these outcomes were counted n times in all.
func (b *bed) awaitAny(n uint64, all ...outcome) {
	b.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	count := func() (sum uint64) {
		stats := b.r.Stats()
		for _, o := range all {
			sum += stats[o.String()]
		}
		return sum
	}
	for count() < n {
		select {
		case <-tick.C:
		case <-deadline.C:
			b.t.Fatalf("outcomes %v were not counted %d times; outcomes: %v", all, n, nonzero(b.r.Stats()))
		}
	}
}

func nonzero(m map[string]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for k, v := range m {
		if v != 0 {
			out[k] = v
		}
	}
	return out
}

// dial opens a socket on the loopback address that sends to the bed.
func (b *bed) dial(local string) *net.UDPConn {
	b.t.Helper()
	conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(local)}, net.UDPAddrFromAddrPort(b.addr))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func send(t testing.TB, conn *net.UDPConn, b []byte) {
	t.Helper()
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
}

// receive returns the next datagram, or nil if none comes within the time.
func receive(t testing.TB, conn *net.UDPConn, within time.Duration) []byte {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2048)
	n, err := conn.Read(buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

func mustMarshal(t testing.TB, q Request) []byte {
	t.Helper()
	b, err := q.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// question returns a request that any host answers, in a round of its own.
func question(sweep uint64, seq uint32) Request {
	return Request{Sweep: sweep, Seq: seq, Round: uint16(seq), Time: time.Now(), Copies: 1}
}
