package discover

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"rollcall/internal/census"
)

// questionOf is a request of a round of which hosts are to answer eight times, with a filter in which these hosts are.
func questionOf(sweep, salt uint64, seq uint32, hosts ...ID) Request {
	q := question4(sweep, seq)
	q.Round, q.Salt, q.Copies = 3, salt, census.MaxCopies
	c := census.Call{Salt: salt, Filter: make([]byte, 408), Hashes: 22}
	for _, id := range hosts {
		c.Add(census.SpreadOf(sweep, salt, id))
	}
	q.Filter, q.FilterHashes = c.Filter, c.Hashes
	return q
}

// TestHush has the kernel know what asks the same as a request that has heard the host, and nothing else.
func TestHush(t *testing.T) {
	t.Parallel()
	op := newKey(t, "op")
	me, other := newKey(t, "me").ID(), newKey(t, "other").ID()
	first := questionOf(5, 7, 3, me, other)
	raw := mustSign(t, first, op)
	h := hushOf(&datagram{b: raw}, &first, census.SpreadOf(5, 7, me))
	if h.size == 0 {
		t.Fatal("it is known by nothing")
	}
	rules := gateRules{hush: h}
	clock, later := first, first
	clock.Clock = true
	later.Time, later.Seq, later.Round = later.Time.Add(time.Second), 4, 4
	want := first
	want.Want = "pi*" // stands behind the filter
	for _, tt := range []struct {
		name string
		b    []byte
		want bool
	}{
		{"the same", raw, false},
		{"with a tail", withTail(bytes.Clone(raw)), false},
		{"a copy in the next round", mustSign(t, later, op), false},
		{"more in the filter", mustSign(t, questionOf(5, 7, 4, me, other, ID{1}), op), false},
		{"of another length", mustSign(t, want, op), true},
		{"host not in the filter", mustSign(t, questionOf(5, 7, 4, other), op), true},
		{"nobody in the filter", mustSign(t, questionOf(5, 7, 4), op), true},
		{"no filter", mustSign(t, question4(5, 4), op), true},
		{"another salt", mustSign(t, questionOf(5, 8, 4, me, other), op), true},
		{"another salt's upper half", mustSign(t, questionOf(5, 7+1<<32, 4, me, other), op), true},
		{"another sweep", mustSign(t, questionOf(6, 7, 4, me, other), op), true},
		{"about clocks", mustSign(t, clock, op), true},
		{"original", original(1, "127.0.0.1"), true},
		{"ticket", append([]byte(magic+"\x01\x04\x01\x00"), make([]byte, ticketSize-8)...), true},
	} {
		if got := through(t, rules, tt.b); got != tt.want {
			t.Errorf("%s: through = %v, want %v", tt.name, got, tt.want)
		}
	}
	for _, w := range h.words { // of another question
		for i := range 4 {
			if b := edit(raw, w.at+i, raw[w.at+i]^1); !through(t, rules, b) {
				t.Errorf("byte %d changed: it is dropped", w.at+i)
			}
		}
	}
	// A forged one has other fields before the filter, or a filter of another size.
	for name, change := range map[string]func(*Request){
		"another place": func(q *Request) { q.Filter = q.Filter[:200] },
		"another size":  func(q *Request) { q.Filter = append(bytes.Clone(q.Filter), 0xff) },
		"a few bytes":   func(q *Request) { q.Filter = []byte{0xff} },
	} {
		forged := first
		change(&forged)
		b := mustSign(t, forged, op)
		h := hushOf(&datagram{b: b}, &forged, census.SpreadOf(5, 7, me))
		if h.size == 0 || !through(t, gateRules{hush: h}, raw) || through(t, gateRules{hush: h}, b) && len(forged.Filter) == 1 {
			t.Errorf("%s: it has requests of another form dropped, or is none", name)
		}
	}
	few, rare := first, first
	few.FilterHashes, rare.Copies = hushBits-1, hushFrom-1
	for name, q := range map[string]*Request{"few bits a host": &few, "few copies": &rare} {
		if h := hushOf(&datagram{b: raw}, q, census.SpreadOf(5, 7, me)); h.size > 0 {
			t.Errorf("%s are enough", name)
		}
	}
}

// TestHushedHost has a host that was heard not be woken by copies, and answer who has not heard it, also where somebody else has sent the
// same question in the operator's name, but with the host in the filter.
func TestHushedHost(t *testing.T) {
	t.Parallel()
	op, host := newKey(t, "op"), newKey(t, "host")
	b := closedBed(t, host, obeying(op), nil)
	b.start()
	if !b.r.gate.framed.Load() {
		t.Skip("this kernel takes no filter")
	}
	me := b.r.said.Load().id
	conn, seq := b.dial("127.0.0.1"), uint32(0)
	ask := func(salt uint64, forged bool, hosts ...ID) func() []byte {
		return func() []byte {
			seq++
			raw := mustSign(t, questionOf(100+salt%10, salt, seq, hosts...), op)
			if forged {
				raw[len(raw)-1] ^= 1 // of the signature
			}
			return raw
		}
	}
	for salt, forged := range map[uint64]bool{1: false, 2: true} {
		b.asked(conn, sieved, ask(salt, forged, me, ID{1}))
		before := b.r.Stats()
		for range 10 {
			send(t, conn, ask(salt, forged, me, ID{1})())
		}
		b.asked(conn, unselected, ask(salt+10, false, me)) // which came after them
		after := b.r.Stats()
		if n := after[sieved.String()] - before[sieved.String()]; n != 10 {
			t.Errorf("forged %v: %d of 10 copies were dropped", forged, n)
		}
		b.asked(conn, sieved, ask(salt, forged, me))
		send(t, conn, ask(salt, false, ID{1})())
		if receive(t, conn, patience) == nil {
			t.Errorf("forged %v: who has not heard the host is not answered; outcomes: %v", forged, nonzero(b.r.Stats()))
		}
		seq += 100
	}
}

// TestHushWaits: a host does not go to its kernel for a request that wakes it once, nor for copies that it reads together with it.
func TestHushWaits(t *testing.T) {
	t.Parallel()
	op := newKey(t, "op")
	type come struct {
		sweep, salt uint64
		seq         uint32
		after       time.Duration // since the first
	}
	for name, tt := range map[string]struct {
		comes []come
		want  bool
	}{
		"once":                   {[]come{{5, 7, 3, 0}}, false},
		"two read together":      {[]come{{5, 7, 3, 0}, {5, 7, 4, 0}}, false},
		"a copy":                 {[]come{{5, 7, 3, 0}, {5, 7, 4, time.Millisecond}}, true},
		"a third, not the other": {[]come{{5, 7, 3, 0}, {5, 7, 4, 0}, {5, 7, 5, time.Millisecond}}, true},
		"another question":       {[]come{{5, 7, 3, 0}, {5, 8, 4, time.Millisecond}}, true},
		"another sweep":          {[]come{{5, 7, 3, 0}, {6, 7, 4, time.Millisecond}}, false},
		"long after":             {[]come{{5, 7, 3, 0}, {5, 7, 4, copyAge + time.Millisecond}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			b := closedBed(t, newKey(t, "host"), obeying(op), func(c *ResponderConfig) { c.Now = func() time.Time { return now } })
			if !b.r.gate.framed.Load() {
				t.Skip("this kernel takes no filter")
			}
			me := b.r.said.Load().id
			for _, c := range tt.comes {
				raw := mustSign(t, questionOf(c.sweep, c.salt, c.seq, me), op)
				o, err := b.r.handle(&datagram{b: raw, src: netip.MustParseAddrPort("127.0.0.1:9"), at: now.Add(c.after), iface: 1})
				if o != unselected || err != nil {
					t.Fatalf("request %d: %v, %v", c.seq, o, err)
				}
			}
			if got := b.r.gate.rules.hush.size > 0; got != tt.want {
				t.Errorf("the kernel drops what asks the same: %v, want %v", got, tt.want)
			}
		})
	}
}
