package discover

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/reports"
)

// attacks are datagrams that must get no byte back and have nothing published.
func attacks(t testing.TB) []attack {
	json := func(s string) []byte { return []byte(s) }
	with := func(replyto, topic string) []byte {
		return json(`{"cmd":"status","id":1,"replyto":"` + replyto + `","topic":"` + topic + `"}`)
	}
	sealed := func(change func(q *Request)) []byte {
		q := question(9, 1)
		change(&q)
		b, err := q.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	plain := sealed(func(*Request) {})
	return []attack{
		{"0 bytes", nil, sieved},
		{"1 byte", []byte{0}, sieved},
		{"1 byte of JSON", json("{"), malformed},
		{"1,500 bytes", bytes.Repeat([]byte{0xaa}, 1500), sieved},
		{"1,500 bytes sealed", append(bytes.Clone(plain), make([]byte, 300)...), tooLong},
		{"65,507 bytes", bytes.Repeat([]byte{'x'}, 65507), sieved},
		{"65,507 bytes of JSON", append(json(`{"cmd":"status","replyto":"127.0.0.1","topic":"/t"`), bytes.Repeat([]byte{' '}, 65507-50)...), tooLong},
		{"65,507 bytes sealed", append(bytes.Clone(plain), make([]byte, 65507-len(plain))...), tooLong},
		{"white space", bytes.Repeat([]byte{' '}, 900), malformed},
		{"not JSON", json(`{cmd:status}`), malformed},
		{"JSON cut off", json(`{"cmd":"status","replyto":"127.0.0.1"`), malformed},
		{"JSON list", json(`[{"cmd":"status","replyto":"127.0.0.1","topic":"/t"}]`), sieved},
		{"two documents", json(`{"cmd":"status","replyto":"127.0.0.1","topic":"/t"}{"cmd":"status"}`), malformed},
		{"wrong types", json(`{"cmd":["status"],"replyto":"127.0.0.1","topic":"/t"}`), malformed},
		{"replyto a number", json(`{"cmd":"status","replyto":2130706433,"topic":"/t"}`), malformed},
		{"topic an object", json(`{"cmd":"status","replyto":"127.0.0.1","topic":{"a":1}}`), malformed},
		{"id an object", json(`{"cmd":"status","replyto":"127.0.0.1","topic":"/t","id":{}}`), malformed},
		{"id of 65 bytes", json(`{"cmd":"status","replyto":"127.0.0.1","topic":"/t","id":"` + strings.Repeat("x", 63) + `"}`), malformed},
		{"unknown cmd", json(`{"cmd":"reboot","replyto":"127.0.0.1","topic":"/t"}`), malformed},
		{"nested 10,000 deep", json(`{"cmd":"status","a":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`), tooLong},
		{"nested 1,000 deep", json(`{"cmd":"status","a":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`), malformed},
		{"not UTF-8", json("{\"cmd\":\"status\",\"replyto\":\"127.0.0.1\",\"topic\":\"/\xff\"}"), malformed},
		{"topic with #", with("127.0.0.1", "/stat/#"), malformed},
		{"topic with +", with("127.0.0.1", "/+/data"), malformed},
		{"topic with NUL", with("127.0.0.1", `/stat\u0000`), malformed},
		{"topic on which hosts are asked", with("127.0.0.1", "/udp/report"), badTopic},
		{"topic for commands", with("127.0.0.1", "/pizero9/gpio/set/output/pump"), badTopic},
		{"topic for commands, in the original's order", with("127.0.0.1", "set/gpio/output/pump"), badTopic},
		{"topic of 70,000 bytes", with("127.0.0.1", strings.Repeat("x", 65000)), tooLong},
		{"topic of 257 bytes", with("127.0.0.1", strings.Repeat("x", 257)), malformed},
		{"topic empty", with("127.0.0.1", ""), malformed},
		{"topic below $SYS", with("127.0.0.1", "$SYS/x"), malformed},
		{"topic below /$SYS", with("127.0.0.1", "/$SYS/x"), malformed},
		{"topic of another host", with("127.0.0.1", "/pizero7/gpio/set/pump"), badTopic},
		{"topic of another host without slash", with("127.0.0.1", "pizero7/x"), badTopic},
		{"topic of another host with slashes", with("127.0.0.1", "//pizero7"), badTopic},
		{"no replyto", json(`{"cmd":"status","topic":"/t","id":1}`), guarded},
		{"replyto a third party", with("203.0.113.9", "/t"), guarded},
		{"replyto a third party by name", with("public", "/t"), guarded},
		{"replyto a neighbour", with("192.168.1.8:1883", "/t"), guarded},
		{"replyto with credentials", with("mqtt://user:pw@127.0.0.1", "/t"), guarded},
		{"replyto octal", with("0177.0.0.1", "/t"), guarded},
		{"replyto one number", with("2130706433", "/t"), guarded},
		{"replyto with escape", with(`127.0.0.1\u0000.evil`, "/t"), guarded},
		{"replyto any", with("0.0.0.0", "/t"), guarded},
		{"replyto broadcast", with("127.255.255.255", "/t"), guarded},
		{"sealed cut", plain[:700], sieved},
		{"sealed magic only", []byte(magic), sieved},
		{"sealed of version 2", edit(plain, 4, 2), unknown},
		{"a reply", edit(plain, 5, typeReply), unknown},
		{"unknown flag", edit(plain, 7, 16), unknown},
		{"unsigned with host tags", edit(plain, 7, 8), malformed},
		{"unsigned that wants an introduction", edit(plain, 7, 2), malformed},
		{"unsigned that wants a challenge", edit(plain, 7, 4), malformed},
		{"sealed padding", edit(sealed(func(q *Request) { q.Seq = 4 }), 900, 1), malformed},
		{"signature without key", edit(plain, MinRequest-1, 1), malformed},
		{"31 s old", sealed(func(q *Request) { q.Time = q.Time.Add(-31 * time.Second) }), clock},
		{"31 s ahead", sealed(func(q *Request) { q.Time = q.Time.Add(31 * time.Second) }), clock},
		{"of another requester", sealed(func(q *Request) { q.Requester = netip.MustParseAddr("192.168.1.7") }), wrongSource},
		{"to other hosts", sealed(func(q *Request) { q.Want = "other*" }), unselected},
		{"page beyond the last", sealed(func(q *Request) { q.Page, q.Seq = 1, 2 }), unselected},
		{"body of garbage", edit(sealed(func(q *Request) { q.Seq = 3 }), requestHeader, 0xff), malformed},
	}
}

type attack struct {
	name string
	b    []byte
	want outcome
}

func attackBed(t testing.TB) *bed {
	b := newBed(t, "127.0.0.1:0", func(c *ResponderConfig) {
		c.KnownHost = func(name string) bool { return name == "pizero7" }
		c.Guard = testGuard(t, names(table))
	})
	b.r.jsonRate = newLimiter(pace{1e6, 1e6}, pace{1e6, 1e6})
	b.r.sealedRate = newLimiter(pace{1e6, 1e6}, pace{1e6, 1e6})
	b.r.Update(testHost(1, "pi"))
	return b
}

func TestAttacks(t *testing.T) {
	t.Parallel()
	b := attackBed(t)
	b.start()
	conn := b.dial("127.0.0.1")
	want := map[outcome]uint64{}
	for _, a := range attacks(t) {
		if a.want == sieved && !b.r.gate.framed.Load() {
			continue // this system has no filters
		}
		send(t, conn, a.b)
		want[a.want]++
		b.await(a.want, want[a.want])
		if t.Failed() {
			t.Fatalf("after %s", a.name)
		}
	}
	// What is allowed still works, and its reply is the first byte that came back.
	send(t, conn, mustMarshal(t, question(10, 1)))
	if r, err := ParseReply(receive(t, conn, patience)); err != nil || r.Sweep != 10 {
		t.Errorf("first datagram back = %+v, %v, want the reply to sweep 10", r, err)
	}
	if p := b.next(); p.request.ID != "10" {
		t.Errorf("first request published = %v, want id 10", p.request)
	}
	for o, n := range want {
		if got := b.r.Stats()[o.String()]; got != n {
			t.Errorf("%v counted %d times, want %d", o, got, n)
		}
	}
}

// TestReplays sends again what was answered.
func TestReplays(t *testing.T) {
	t.Parallel()
	b := startBed(t, "127.0.0.1:0", testHost(1, "pi"), nil)
	conn := b.dial("127.0.0.1")
	raw := mustMarshal(t, question(5, 1))
	send(t, conn, raw)
	if receive(t, conn, patience) == nil {
		t.Fatal("no reply")
	}
	for range 50 {
		send(t, conn, raw)
		send(t, conn, edit(raw, 59, 3)) // another round is no excuse
	}
	b.await(replayed, 100)
	if back := receive(t, conn, 20*time.Millisecond); back != nil {
		t.Errorf("a replay got %d bytes back", len(back))
	}
}

// TestOneSourceIsLimited floods with requests that are all in order.
func TestOneSourceIsLimited(t *testing.T) {
	t.Parallel()
	b := startBed(t, "127.0.0.1:0", testHost(1, "pi"), nil)
	conn := b.dial("127.0.0.1")
	const n = 3000
	for i := range uint64(n) {
		send(t, conn, mustMarshal(t, question(1000+i, 1)))
	}
	b.await(rate, n/2)
	if got := b.r.Stats()["answered"]; got < uint64(sealedEach.burst) || got > n/2 {
		t.Errorf("%d of %d requests were answered, want about %v", got, n, sealedEach.burst)
	}
	// Another source is not affected.
	other := b.dial("127.0.0.2")
	back := false
	for seq := uint32(1); !back && seq < 100; seq++ { // the end of what may be a flood takes a moment
		send(t, other, mustMarshal(t, question(1, seq)))
		back = receive(t, other, patience/100) != nil
	}
	if !back {
		t.Errorf("another source got no reply; outcomes: %v", nonzero(b.r.Stats()))
	}
}

// flood sends garbage of several kinds at a rate until ctx ends, and returns how much it sent.
func flood(ctx context.Context, t testing.TB, to netip.AddrPort, perSecond int) (sent int) {
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Error(err)
		return 0
	}
	defer func() { _ = conn.Close() }()
	rnd := rand.New(rand.NewPCG(1, 2))
	var kinds [][]byte
	for _, head := range []string{"", magic, magic + "\x01\x01\x00\x00", "{", `{"cmd":"status","replyto":"`} {
		b := make([]byte, 300)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		copy(b, head)
		kinds = append(kinds, b)
	}
	kinds = append(kinds, bytes.Repeat([]byte(`{"cmd":[`), 100), append(bytes.Repeat([]byte(`{"cmd":`), 100), bytes.Repeat([]byte(`}`), 100)...))
	kinds = append(kinds, nil, []byte("x"))
	const tick = 2 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	start := time.Now()
	for {
		select {
		case <-ctx.Done():
			return sent
		case <-ticker.C:
		}
		for due := int(time.Since(start).Seconds() * float64(perSecond)); sent < due; sent++ {
			if _, err := conn.Write(kinds[sent%len(kinds)]); err != nil {
				t.Error(err)
				return sent
			}
		}
	}
}

// TestSweepThroughGarbage sweeps while 50,000 datagrams of garbage a second come in.
func TestSweepThroughGarbage(t *testing.T) {
	if testing.Short() {
		t.Skip("loads a whole core for a second")
	}
	b := startBed(t, "127.0.0.1:0", testHost(1, "pi"), nil)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	sent := 0
	start := time.Now()
	wg.Go(func() { sent = flood(ctx, t, b.addr, 50_000) })
	b.awaitAny(5000, malformed, sieved)
	for range 3 {
		got, stats := gather(t, SweepConfig{To: []string{b.addr.String()}, Sealed: true, Wait: 5 * time.Second})
		if len(got) != 1 {
			t.Errorf("sweep found %d hosts, want 1: %+v; outcomes: %v", len(got), stats, nonzero(b.r.Stats()))
		}
	}
	cancel()
	wg.Wait()
	t.Logf("%.0f datagrams a second; outcomes: %v", float64(sent)/time.Since(start).Seconds(), nonzero(b.r.Stats()))
}

// fuzzBed is a responder that is not run, at home, and what it does.
func fuzzBed(t testing.TB) (b *bed, replies *[][]byte, to *[]netip.AddrPort) {
	b = attackBed(t)
	replies, to = new([][]byte), new([]netip.AddrPort)
	b.r.ifaces = home
	b.r.reply = func(raw, _ []byte, dst netip.AddrPort) error {
		*replies, *to = append(*replies, bytes.Clone(raw)), append(*to, dst)
		return nil
	}
	g := homeGuard(t, names(table), "collector", "10.8.0.0/16")
	b.r.Reload(nil, true, true, nil, g)
	return b, replies, to
}

// FuzzHandle gives the responder any datagram from any source on any interface: no reply is longer than what caused it or
// goes to another address, and nothing is published with an endpoint that is not the source or listed.
func FuzzHandle(f *testing.F) {
	for _, a := range attacks(f) {
		if len(a.b) <= 2000 {
			f.Add(a.b, uint32(0xc0a80107), uint8(2))
		}
	}
	good, err := vectorRequest().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, uint32(0xc0a80107), uint8(2))
	f.Add(mustSign(f, vectorRequest(), newKey(f, "op"), Secret{1}), uint32(0xc0a80107), uint8(2))
	f.Add([]byte(`{"cmd":"status","replyto":"collector","topic":"/t","id":1}`), uint32(0x7f000001), uint8(1))
	b, replies, to := fuzzBed(f)
	b.r.c.Now = func() time.Time { return vectorRequest().Time }
	list, err := home()
	if err != nil {
		f.Fatal(err)
	}
	m := machineOf(list)
	f.Fuzz(func(t *testing.T, raw []byte, from uint32, on uint8) {
		*replies, *to = nil, nil
		forget(b.r)
		src := netip.AddrFrom4([4]byte{byte(from >> 24), byte(from >> 16), byte(from >> 8), byte(from)})
		d := datagram{b: raw, src: netip.AddrPortFrom(src, 4242), at: b.r.c.Now(), iface: int(on) + 1}
		o, _ := b.r.handle(&d)
		if (o == answered) != (len(*replies) == 1) || len(*replies) > 1 {
			t.Fatalf("outcome %v with %d replies", o, len(*replies))
		}
		for i, reply := range *replies {
			if len(reply) > len(raw) || (*to)[i].Addr() != src || !unicast(src) {
				t.Fatalf("%d bytes to %v for %d bytes from %v", len(reply), (*to)[i], len(raw), src)
			}
			if _, err := ParseReply(reply); err != nil {
				t.Fatalf("reply %x: %v", reply, err)
			}
		}
		drain(t, b, m, src)
	})
}

// forget makes the responder one that has seen nothing yet, so that each input stands for itself.
func forget(r *Responder) {
	r.replay.cur, r.replay.prev = nil, nil
	r.sweeps.cur, r.sweeps.prev = nil, nil
	r.noID.cur, r.noID.prev = nil, nil
	r.paid.cur, r.paid.prev = nil, nil
	r.published.seen.cur, r.published.seen.prev = nil, nil
	r.replay.since, r.sweeps.since, r.noID.since, r.paid.since = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	r.published.seen.since, r.pending = time.Time{}, nil
	r.askRate, r.brokerRate = newLimiter(askEach, askAll), newLimiter(brokerEach, askAll)
}

// drain does what the responder's other goroutines do, and checks what is published.
func drain(t *testing.T, b *bed, m machine, src netip.Addr) {
	b.r.handDue(time.Now().Add(time.Hour))
	for {
		var j job
		select {
		case j = <-b.r.jobs:
		case j = <-b.r.names:
			b.r.check(t.Context(), &j)
		default:
			return
		}
		b.r.finish(t.Context(), j)
		select {
		case p := <-b.published:
			checkPublished(t, b, m, src, p.request)
		default:
		}
	}
}

func checkPublished(t *testing.T, b *bed, m machine, src netip.Addr, r reports.Request) {
	if r.Hostname != "pi" || reports.ValidTopic(r.Topic) != nil || strings.Contains(r.Topic, "pizero7") && strings.Trim(r.Topic, "/") == "pizero7" {
		t.Fatalf("published %+v", r)
	}
	if r.ReplyTo == b.r.c.LocalReplyTo && r.Topic == b.r.c.LocalTopic && r.Pass == "" {
		return
	}
	e, err := b.passes.Open(r, b.r.c.Now())
	if err != nil {
		t.Fatalf("published %+v: %v", r, err)
	}
	a := e.Addr.Addr()
	listed := a == netip.MustParseAddr("10.9.0.5") || netip.MustParsePrefix("10.8.0.0/16").Contains(a)
	if a != src && !(m.isOwn(src) && m.isOwn(a)) && !listed {
		t.Fatalf("published %+v from %v with endpoint %v", r, src, e)
	}
}
