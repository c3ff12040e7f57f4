package discover

import (
	"bytes"
	"crypto/ed25519"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"rollcall/internal/trust"
)

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
				Wait: 800*time.Millisecond + time.Duration(tt.want)*10*time.Second})
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
		"cut":                          {signed(op, nil)[:MinRequest-2], sieved},
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
