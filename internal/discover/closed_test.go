package discover

import (
	"bytes"
	"crypto/ed25519"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/internal/trust"
)

func newKey(t testing.TB, comment string) trust.Key {
	t.Helper()
	k, err := trust.NewKey(comment)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// obeying returns the Operators of these keys.
func obeying(keys ...trust.Key) Operators {
	return func(id [8]byte) (ed25519.PublicKey, bool) {
		i := slices.IndexFunc(keys, func(k trust.Key) bool { return k.ID() == id })
		if i < 0 {
			return nil, false
		}
		return public(keys[i]), true
	}
}

// closedHost is a host that answers its operators.
func closedHost(n byte, name string, services ...Service) Host {
	h := testHost(n, name, services...)
	h.Open = false
	return h
}

// closedBed is a responder with the key host that obeys operators, and that started long ago.
func closedBed(t testing.TB, host trust.Key, operators Operators, change func(*ResponderConfig)) *bed {
	t.Helper()
	b := newBed(t, "127.0.0.1:0", func(c *ResponderConfig) {
		c.Open, c.Legacy, c.Key, c.Operators = false, false, host, operators
		if change != nil {
			change(c)
		}
	})
	b.r.authority.started = b.r.authority.started.Add(-2 * time.Hour)
	b.r.Update(closedHost(1, "pi"))
	return b
}

// question4 is a request from loopback that any closed host answers its operator.
func question4(sweep uint64, seq uint32) Request {
	q := question(sweep, seq)
	q.Requester, q.PrefixLen = netip.MustParseAddr("127.0.0.1"), 8
	return q
}

func mustSign(t testing.TB, q Request, k trust.Key) []byte {
	t.Helper()
	b, err := q.Sign(k)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// knows is what a laptop knows that has seen these hosts before.
func knows(keys map[ID]trust.Key) func(ID) (ed25519.PublicKey, bool) {
	return func(id ID) (ed25519.PublicKey, bool) {
		k, ok := keys[id]
		if !ok {
			return nil, false
		}
		return public(k), true
	}
}

// A sweep with a key finds a closed host, whether it has met it before or not; one without a key, or with a wrong one, finds
// nobody.
func TestSealedSweep(t *testing.T) {
	t.Parallel()
	host, op, other, stranger := newKey(t, "host"), newKey(t, "op"), newKey(t, "other"), newKey(t, "stranger")
	b := closedBed(t, host, obeying(op, other), nil)
	b.r.Update(closedHost(1, "pi", services(100, 20)...))
	b.start()
	id := closedHost(1, "pi").ID
	met := knows(map[ID]trust.Key{id: host})
	for name, tt := range map[string]struct {
		key    Key
		known  func(ID) (ed25519.PublicKey, bool)
		expect []Known
		want   int
	}{
		"first contact":              {op, nil, nil, 1},
		"first contact among others": {op, nil, []Known{{ID: ID{9}}}, 1},
		"known":                      {op, met, []Known{{ID: id}}, 1},
		"another operator":           {other, met, []Known{{ID: id}}, 1},
		"stranger":                   {stranger, met, nil, 0},
		"no key":                     {nil, nil, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, stats := gather(t, SweepConfig{To: []string{b.addr.String()}, Sealed: true, Key: tt.key, Known: tt.known, Expect: tt.expect,
				Wait: 800 * time.Millisecond})
			if len(got) != tt.want || len(stats.Changed) != 0 {
				t.Fatalf("%d hosts, %+v; outcomes: %v", len(got), stats, nonzero(b.r.Stats()))
			}
			if tt.want == 1 {
				h := got[0].Host
				if h.Hostname != "pi" || h.Open || !h.Key.Equal(public(host)) || len(h.Services) != 100 {
					t.Errorf("host is %q, open %v, with %d services and key %x", h.Hostname, h.Open, len(h.Services), h.Key)
				}
			} else if stats.Received != 0 {
				t.Errorf("%d datagrams came back, want 0 bytes", stats.Received)
			}
		})
	}
}

// Bystanders read nothing of what a host says; only at first contact it signs.
func TestSealedReplyHidesAll(t *testing.T) {
	t.Parallel()
	host, op := newKey(t, "host"), newKey(t, "op")
	b := closedBed(t, host, obeying(op), nil)
	b.start()
	conn := b.dial("127.0.0.1")
	for seq, introduce := range []bool{true, false} {
		q := question4(5, uint32(seq+1))
		q.Introduce = introduce
		raw := mustSign(t, q, op)
		send(t, conn, raw)
		got := receive(t, conn, patience)
		r, err := ParseReply(got)
		if err != nil || r.Flags&FlagSealed == 0 || (r.Flags&FlagSigned != 0) != introduce || r.Key != host.ID() {
			t.Fatalf("reply is %+v, %v", r, err)
		}
		if len(got) > len(raw) {
			t.Errorf("reply has %d bytes, its request %d", len(got), len(raw))
		}
		for _, secret := range []string{"pi", "linux", "192.168", string([]byte{192, 168, 1, 50}), "arm64", "tcp://"} {
			if bytes.Contains(got[replyHeader:], []byte(secret)) && len(secret) > 2 {
				t.Errorf("reply says %q to bystanders", secret)
			}
		}
	}
}

// silent sends datagrams that each must come to the end want, without a byte back.
func (b *bed) silent(conn *net.UDPConn, o outcome, datagrams ...[]byte) {
	b.t.Helper()
	before := b.r.Stats()[o.String()]
	for _, d := range datagrams {
		send(b.t, conn, d)
	}
	b.await(o, before+uint64(len(datagrams)))
	if back := receive(b.t, conn, 10*time.Millisecond); back != nil {
		b.t.Errorf("%v: %d bytes came back", o, len(back))
	}
}

func TestClosedAttacks(t *testing.T) {
	t.Parallel()
	host, op, gone, stranger := newKey(t, "host"), newKey(t, "op"), newKey(t, "gone"), newKey(t, "stranger")
	b := closedBed(t, host, obeying(op, gone), nil)
	b.start()
	conn := b.dial("127.0.0.1")
	seq := uint32(0)
	signed := func(k trust.Key, change func(*Request)) []byte {
		seq++
		q := question4(77, seq)
		if change != nil {
			change(&q)
		}
		return mustSign(t, q, k)
	}
	other := mustSign(t, question4(77, 1000), stranger)
	id := op.ID()
	copy(other[24:], id[:]) // says that it is the operator's
	for name, tt := range map[string]struct {
		b    []byte
		want outcome
	}{
		"unsigned":                     {mustMarshal(t, question4(1, 1)), notOpen},
		"original form":                {[]byte(`{"cmd":"status","replyto":"127.0.0.1","topic":"/t","id":1}`), legacyOff},
		"wrong operator":               {signed(stranger, nil), noOperator},
		"wrong operator's signature":   {other, forged},
		"31 s old":                     {signed(op, func(q *Request) { q.Time = q.Time.Add(-31 * time.Second) }), clock},
		"31 s ahead":                   {signed(op, func(q *Request) { q.Time = q.Time.Add(31 * time.Second) }), clock},
		"of another requester":         {signed(op, func(q *Request) { q.Requester = netip.MustParseAddr("127.0.0.9") }), wrongSource},
		"of no requester":              {signed(op, func(q *Request) { q.Requester = netip.Addr{} }), wrongSource},
		"window of an hour, odd range": {signed(op, func(q *Request) { q.Window, q.Lo, q.Hi = time.Hour, 2, 1 }), unselected},
		"filter of all ones":           {signed(op, func(q *Request) { q.Filter, q.FilterHashes = bytes.Repeat([]byte{255}, 900), 255 }), unselected},
		"cookie of nobody":             {signed(op, func(q *Request) { q.Time, q.Cookie = q.Time.Add(-time.Hour), make([]byte, cookieSize) }), clock},
		"cut":                          {signed(op, nil)[:MinRequest-2], malformed},
		"longer than it was":           {append(signed(op, nil), 0, 0), forged},
	} {
		b.silent(conn, tt.want, tt.b)
		if t.Failed() {
			t.Fatalf("after %s; outcomes: %v", name, nonzero(b.r.Stats()))
		}
	}
	// Who was removed is a stranger from the next datagram on.
	send(t, conn, signed(gone, nil))
	if receive(t, conn, patience) == nil {
		t.Fatal("no answer before the operator was removed")
	}
	b.r.Reload(nil, false, false, obeying(op), nil)
	b.silent(conn, noOperator, signed(gone, nil))
	send(t, conn, signed(op, nil))
	if receive(t, conn, patience) == nil {
		t.Fatalf("the operator who stayed got no answer; outcomes: %v", nonzero(b.r.Stats()))
	}
}

// TestClosedBitFlips changes every bit of a good request.
func TestClosedBitFlips(t *testing.T) {
	t.Parallel()
	host, op := newKey(t, "host"), newKey(t, "op")
	b := closedBed(t, host, obeying(op), nil)
	sent := 0
	b.r.reply = func([]byte, []byte, netip.AddrPort) error { sent++; return nil }
	b.r.sealedRate = newLimiter(pace{1e9, 1e9}, pace{1e9, 1e9})
	good := mustSign(t, question4(5, 1), op)
	d := datagram{src: netip.MustParseAddrPort("127.0.0.1:4242"), at: time.Now(), iface: 1}
	for i := range len(good) * 8 {
		b.r.authority.checks = map[int]bucket{}
		d.b = bytes.Clone(good)
		d.b[i/8] ^= 1 << (i % 8)
		if o, _ := b.r.handle(&d); sent != 0 || o == answered {
			t.Fatalf("request with bit %d of byte %d changed is %v", i%8, i/8, o)
		}
	}
	d.b = bytes.Clone(good)
	if o, err := b.r.handle(&d); o != answered || sent != 1 {
		t.Errorf("good request is %v, %v after all those", o, err)
	}
}

// TestClosedReplays sends a good request again: at once, later, after a restart, from elsewhere.
func TestClosedReplays(t *testing.T) {
	t.Parallel()
	host, op := newKey(t, "host"), newKey(t, "op")
	floorFile := filepath.Join(t.TempDir(), "floors.json")
	now := time.Now()
	boot := func() (*bed, *int) {
		b := newBed(t, "127.0.0.1:0", func(c *ResponderConfig) {
			c.Open, c.Legacy, c.Key, c.Operators, c.Floors = false, false, host, obeying(op), floorFile
			c.Now = func() time.Time { return now }
		})
		b.r.Update(closedHost(1, "pi"))
		b.r.ifaces = home
		b.r.refresh(now, 0)
		sent := new(int)
		b.r.reply = func([]byte, []byte, netip.AddrPort) error { *sent++; return nil }
		return b, sent
	}
	from := func(b *bed, src string, iface int, raw []byte) outcome {
		o, _ := b.r.handle(&datagram{b: bytes.Clone(raw), src: netip.MustParseAddrPort(src), at: now, iface: iface})
		return o
	}
	b, sent := boot()
	now = now.Add(time.Minute)
	q := question(5, 1)
	q.Time, q.Requester = now, netip.MustParseAddr("192.168.1.7")
	raw := mustSign(t, q, op)
	ahead := q // by a clock that is 20 s ahead
	ahead.Seq, ahead.Round, ahead.Time = 2, 2, now.Add(20*time.Second)
	rawAhead := mustSign(t, ahead, op)
	for _, tt := range []struct {
		src   string
		iface int
		want  outcome
	}{
		{"192.168.1.8:5000", 2, wrongSource}, {"127.0.0.1:5000", 1, wrongSource}, {"192.168.1.7:5000", 1, offLink},
		{"192.168.1.7:5000", 2, answered}, {"192.168.1.7:5000", 2, replayed}, {"192.168.1.7:5001", 2, replayed},
	} {
		if got := from(b, tt.src, tt.iface, raw); got != tt.want {
			t.Errorf("request from %s on %d is %v, want %v", tt.src, tt.iface, got, tt.want)
		}
	}
	if got := from(b, "192.168.1.7:5000", 2, rawAhead); got != answered {
		t.Errorf("request 20 s ahead is %v", got)
	}
	for _, later := range []time.Duration{time.Second, 8 * time.Second, 21 * time.Second, time.Hour} {
		now = now.Add(later)
		for _, again := range [][]byte{raw, rawAhead} {
			if got := from(b, "192.168.1.7:5000", 2, again); got != replayed && got != clock {
				t.Errorf("replay %v later is %v", later, got)
			}
		}
	}
	if *sent != 2 {
		t.Errorf("%d replies, want 2", *sent)
	}
	// The process starts anew, a second after it has answered.
	now = q.Time.Add(time.Second)
	b, sent = boot()
	for range 40 {
		now = now.Add(time.Second)
		for _, again := range [][]byte{raw, rawAhead} {
			if got := from(b, "192.168.1.7:5000", 2, again); got != clock || *sent != 0 {
				t.Errorf("replay after a restart is %v", got)
			}
		}
	}
	fresh := q
	fresh.Time = now
	if got := from(b, "192.168.1.7:5000", 2, mustSign(t, fresh, op)); got != answered || *sent != 1 {
		t.Errorf("new request after a restart is %v, %d replies", got, *sent)
	}
}

// TestClocksDiffer sweeps a host whose clock is an hour off, either way.
func TestClocksDiffer(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{-time.Hour, time.Hour, 31 * time.Second} {
		t.Run(skew.String(), func(t *testing.T) {
			t.Parallel()
			host, op, stranger := newKey(t, "host"), newKey(t, "op"), newKey(t, "stranger")
			b := closedBed(t, host, obeying(op), func(c *ResponderConfig) { c.Now = func() time.Time { return time.Now().Add(skew) } })
			b.r.authority.started = b.r.authority.started.Add(-2 * time.Hour)
			b.r.Update(closedHost(1, "pi", services(100, 20)...))
			b.start()
			id := closedHost(1, "pi").ID
			for name, c := range map[string]SweepConfig{"first contact": {}, "known": {Expect: []Known{{ID: id}}, Known: knows(map[ID]trust.Key{id: host})}} {
				c.To, c.Sealed, c.Key, c.Wait = []string{b.addr.String()}, true, op, 2*time.Second
				got, stats := gather(t, c)
				if len(got) != 1 || len(got[0].Host.Services) != 100 || stats.Clocks != 1 {
					t.Errorf("%s: %d hosts, %+v; outcomes: %v", name, len(got), stats, nonzero(b.r.Stats()))
				}
			}
			if got, stats := gather(t, SweepConfig{To: []string{b.addr.String()}, Sealed: true, Key: stranger, Wait: 400 * time.Millisecond}); len(got) != 0 || stats.Received != 0 {
				t.Errorf("a stranger with another clock got %d datagrams", stats.Received)
			}
		})
	}
}

// TestChallengeIsNoHole replays what asks for challenges and what answers them.
func TestChallengeIsNoHole(t *testing.T) {
	t.Parallel()
	host, op := newKey(t, "host"), newKey(t, "op")
	now := time.Now()
	file := filepath.Join(t.TempDir(), "floors.json")
	var out [][]byte
	boot := func() *bed {
		b := closedBed(t, host, obeying(op), func(c *ResponderConfig) { c.Floors, c.Now = file, func() time.Time { return now } })
		b.r.ifaces = home
		b.r.refresh(now, 0)
		out = nil
		b.r.reply = func(raw, _ []byte, _ netip.AddrPort) error { out = append(out, bytes.Clone(raw)); return nil }
		return b
	}
	handle := func(b *bed, q Request) outcome {
		b.r.authority.checks = map[int]bucket{}
		o, _ := b.r.handle(&datagram{b: mustSign(t, q, op), src: netip.AddrPortFrom(q.Requester, 5000), at: now, iface: 2})
		return o
	}
	b := boot()
	q := question(5, 1)
	q.Requester, q.Clock, q.Time = netip.MustParseAddr("192.168.1.7"), true, now.Add(-time.Hour)
	asked := q
	if o := handle(b, q); o != challenged || len(out) != 1 {
		t.Fatalf("request with another clock is %v", o)
	}
	opener := newOpener(SweepConfig{ID: 5, Key: op, Known: knows(map[ID]trust.Key{closedHost(1, "").ID: host})})
	r, err := ParseReply(out[0])
	if err == nil {
		err = opener.open(out[0], &r, netip.MustParseAddr("192.168.1.50"))
	}
	if err != nil || len(r.Cookie) != cookieSize {
		t.Fatalf("challenge is %+v, %v", r, err)
	}
	q.Clock, q.Cookie = false, r.Cookie
	for _, tt := range []struct {
		name   string
		change func(q *Request)
		later  time.Duration
		want   outcome
	}{
		{"of another sweep", func(q *Request) { q.Seq, q.Sweep = 2, 6 }, 0, clock},
		{"of another requester", func(q *Request) { q.Seq, q.Requester = 3, netip.MustParseAddr("192.168.1.8") }, 0, clock},
		{"changed", func(q *Request) { q.Seq, q.Cookie = 4, edit(q.Cookie, 3, q.Cookie[3]^1) }, 0, clock},
		{"right", func(q *Request) { q.Seq = 5 }, 0, answered},
		{"right, again", func(q *Request) { q.Seq = 5 }, 0, replayed},
		{"old", func(q *Request) { q.Seq = 6 }, 31 * time.Second, clock},
	} {
		q := q
		tt.change(&q)
		now = now.Add(tt.later)
		if o := handle(b, q); o != tt.want {
			t.Errorf("cookie %s: %v, want %v", tt.name, o, tt.want)
		}
	}
	// What asked for the challenge gets none again: soon, late, or after a restart.
	for _, later := range []time.Duration{0, time.Minute, time.Hour * 5} {
		now = now.Add(later)
		if o := handle(b, asked); o != replayed {
			t.Errorf("request for a challenge %v later is %v", later, o)
		}
	}
	b = boot()
	for name, q := range map[string]Request{"for a challenge": asked, "with a cookie": q} {
		q.Seq += 10
		if o := handle(b, q); (o != replayed && o != clock) || len(out) != 0 {
			t.Errorf("request %s after a restart is %v", name, o)
		}
	}
}

// TestKeyChanged: a host that has another key than it had is not believed, and told of.
func TestKeyChanged(t *testing.T) {
	t.Parallel()
	host, op, old := newKey(t, "host"), newKey(t, "op"), newKey(t, "old")
	id := closedHost(1, "pi").ID
	closed := closedBed(t, host, obeying(op), nil)
	closed.start()
	open := startBed(t, "127.0.0.1:0", testHost(1, "pi"), nil)
	for name, tt := range map[string]struct {
		at  *bed
		now ed25519.PublicKey
	}{"another key": {closed, public(host)}, "no key": {open, nil}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, expect := range [][]Known{nil, {{ID: id}}} {
				got, stats := gather(t, SweepConfig{To: []string{tt.at.addr.String()}, Sealed: true, Key: op, Expect: expect,
					Known: knows(map[ID]trust.Key{id: old}), Wait: 500 * time.Millisecond})
				if len(got) != 0 || len(stats.Changed) != 1 {
					t.Fatalf("%d hosts, changes %+v", len(got), stats.Changed)
				}
				c := stats.Changed[0]
				if c.Host != id || c.Hostname != "pi" || !c.Was.Equal(public(old)) || !bytes.Equal(c.Now, tt.now) {
					t.Errorf("change is %+v", c)
				}
			}
		})
	}
}

// TestRepliesAttacked holds replies that a laptop must not believe.
func TestRepliesAttacked(t *testing.T) {
	t.Parallel()
	host, op, evil, otherOp := newKey(t, "host"), newKey(t, "op"), newKey(t, "evil"), newKey(t, "other")
	var out []byte
	from := netip.MustParseAddr("192.168.1.50")
	ask := func(k trust.Key, sweep uint64, by trust.Key, introduce bool) []byte {
		b := closedBed(t, k, obeying(op, otherOp), nil)
		b.r.reply = func(raw, _ []byte, _ netip.AddrPort) error { out = bytes.Clone(raw); return nil }
		q := question4(sweep, 1)
		q.Introduce = introduce
		if o, err := b.r.handle(&datagram{b: mustSign(t, q, by), src: netip.MustParseAddrPort("127.0.0.1:9"), at: time.Now(), iface: 1}); o != answered {
			t.Fatal(o, err)
		}
		return out
	}
	open := func(raw []byte, known bool) error {
		c := SweepConfig{ID: 5, Key: op}
		if known {
			c.Known = knows(map[ID]trust.Key{closedHost(1, "").ID: host})
		}
		r, err := ParseReply(raw)
		if err == nil {
			err = newOpener(c).open(raw, &r, from)
		}
		return err
	}
	good, goodSigned := ask(host, 5, op, false), ask(host, 5, op, true)
	if err := open(good, true); err != nil {
		t.Fatal(err)
	}
	for _, known := range []bool{true, false} {
		if err := open(goodSigned, known); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		raw   []byte
		known bool
		want  string
	}{
		"another sweep":          {ask(host, 6, op, true), true, "another sweep"},
		"another operator's":     {ask(host, 5, otherOp, true), true, "not sealed for this operator"},
		"another host's id":      {ask(evil, 5, op, true), true, "key has changed"},
		"not introduced":         {ask(evil, 5, op, false), false, "not signed"},
		"another host unsigned":  {ask(evil, 5, op, false), true, "not signed"},
		"too long":               {append(bytes.Clone(goodSigned), make([]byte, 65507-len(goodSigned))...), true, "too long"},
		"sweep of another reply": {edit(ask(host, 6, op, true), offSweep, good[offSweep:offSweep+8]...), true, "not sealed for this operator"},
	} {
		if err := open(tt.raw, tt.known); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	for i := range good {
		if err := open(edit(good, i, good[i]^0x10), true); err == nil {
			t.Errorf("reply with byte %d changed is believed", i)
		}
	}
	for i := range goodSigned {
		if err := open(edit(goodSigned, i, goodSigned[i]^0x10), false); err == nil {
			t.Errorf("signed reply with byte %d changed is believed", i)
		}
	}
}

// Forgers who don't know the operator's public key cost no signature check, and the operator is answered all the while.
func TestForgedFlood(t *testing.T) {
	t.Parallel()
	host, op := newKey(t, "host"), newKey(t, "op")
	b := closedBed(t, host, obeying(op), nil)
	replies := 0
	b.r.reply = func([]byte, []byte, netip.AddrPort) error { replies++; return nil }
	b.r.sealedRate = newLimiter(pace{1e9, 1e9}, pace{1e9, 1e9})
	good := mustSign(t, question4(5, 1), op)
	d := datagram{src: netip.MustParseAddrPort("127.0.0.1:4242"), at: time.Now(), iface: 1}
	for i := range 10_000 {
		d.b = edit(good, 60, byte(i>>24), byte(i>>16), byte(i>>8)|0x80, byte(i))
		if o, _ := b.r.handle(&d); o != forged {
			t.Fatalf("forged request is %v", o)
		}
	}
	if len(b.r.authority.checks) != 0 {
		t.Error("signatures of forged requests were checked")
	}
	d.b = bytes.Clone(good)
	if o, _ := b.r.handle(&d); o != answered || replies != 1 {
		t.Errorf("good request is %v", o)
	}
}

// Signature checks are bounded, whatever comes.
func TestSignatureChecksAreBounded(t *testing.T) {
	t.Parallel()
	a := newAuthority(newKey(t, "host"), "", time.Now())
	now, n := time.Now(), 0
	for range 1000 {
		if a.allow(1, now) {
			n++
		}
	}
	if n != int(signatures.burst) || !a.allow(2, now) {
		t.Errorf("%d checks at once on one interface", n)
	}
	n = 0
	for range 10_000 {
		now = now.Add(time.Millisecond)
		if a.allow(1, now) {
			n++
		}
	}
	if n < 499 || n > 501 {
		t.Errorf("%d checks in 10 s, want 500", n)
	}
}

func BenchmarkForged(b *testing.B) {
	host, op := newKey(b, "host"), newKey(b, "op")
	bd := closedBed(b, host, obeying(op), nil)
	bd.r.sealedRate = newLimiter(pace{1e12, 1e12}, pace{1e12, 1e12})
	raw := edit(mustSign(b, question4(5, 1), op), 60, 9)
	d := datagram{b: raw, src: netip.MustParseAddrPort("127.0.0.1:4242"), at: time.Now(), iface: 1}
	b.ReportAllocs()
	for b.Loop() {
		if o, _ := bd.r.handle(&d); o != forged {
			b.Fatal(o)
		}
	}
}

func BenchmarkSealedReply(b *testing.B) {
	host, op := newKey(b, "host"), newKey(b, "op")
	bd := closedBed(b, host, obeying(op), nil)
	bd.r.Update(closedHost(1, "pi", services(10, 8)...))
	bd.r.sealedRate = newLimiter(pace{1e12, 1e12}, pace{1e12, 1e12})
	var out []byte
	bd.r.reply = func(raw, _ []byte, _ netip.AddrPort) error { out = append(out[:0], raw...); return nil }
	d := datagram{b: mustSign(b, question4(5, 1), op), src: netip.MustParseAddrPort("127.0.0.1:4242"), at: time.Now(), iface: 1}
	if o, err := bd.r.handle(&d); o != answered {
		b.Fatal(o, err)
	}
	o := newOpener(SweepConfig{ID: 5, Key: op, Known: knows(map[ID]trust.Key{closedHost(1, "").ID: host})})
	b.Run("open known", func(b *testing.B) {
		for b.Loop() {
			r, err := ParseReply(out)
			if err == nil {
				err = o.open(out, &r, netip.Addr{})
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
