package discover

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// filtered is a request of a round whose filter holds everybody, or nobody.
func filtered(sweep uint64, round uint16, seq uint32, heard bool) Request {
	q := question4(sweep, seq)
	q.Round, q.Salt, q.Filter, q.FilterHashes = round, 7, make([]byte, 32), 4
	if heard {
		for i := range q.Filter {
			q.Filter[i] = 0xff
		}
	}
	return q
}

// TestNeedlessCopies has a host look at a request by which it was heard, and at others: copies alone are known without a further look.
func TestNeedlessCopies(t *testing.T) {
	t.Parallel()
	op := newKey(t, "op")
	first := mustSign(t, filtered(3, 2, 5, true), op)
	later := filtered(3, 2, 6, true)
	later.Time = later.Time.Add(time.Millisecond)
	other := filtered(3, 2, 6, true)
	other.Filter[31] = 0xfe
	var n needless
	set, now := &settings{}, time.Now()
	from := question4(3, 1).Requester
	d := func(b []byte, port uint16) *datagram {
		return &datagram{b: b, src: netip.AddrPortFrom(from, port), at: now}
	}
	if n.again(d(first, 9), set) {
		t.Error("a request is a copy of none")
	}
	n.note(d(first, 9), set, hush{})
	for name, tt := range map[string]struct {
		b    []byte
		port uint16
		want bool
	}{
		"the same":        {first, 9, true},
		"a copy":          {mustSign(t, later, op), 9, true},
		"another port":    {first, 10, false},
		"another round":   {mustSign(t, filtered(3, 3, 6, true), op), 9, false},
		"another sweep":   {mustSign(t, filtered(4, 2, 6, true), op), 9, false},
		"another filter":  {mustSign(t, other, op), 9, false},
		"another key":     {mustSign(t, later, newKey(t, "other")), 9, false},
		"a byte too few":  {first[:len(first)-1], 9, false},
		"nothing":         {nil, 9, false},
		"all bytes equal": {slices.Clone(first), 9, true},
	} {
		if got := n.again(d(tt.b, tt.port), set); got != tt.want {
			t.Errorf("%s: again() = %v, want %v", name, got, tt.want)
		}
	}
	for name, tt := range map[string]struct {
		set   *settings
		later time.Duration
		want  bool
	}{"soon": {set, copyAge, true}, "late": {set, copyAge + 1, false}, "clock set back": {set, -time.Hour, false}, "after a reload": {&settings{}, 0, false}} {
		c := d(first, 9)
		c.at = now.Add(tt.later)
		if got := n.again(c, tt.set); got != tt.want {
			t.Errorf("%s: again() = %v, want %v", name, got, tt.want)
		}
	}
	tagged := mustSign(t, filtered(5, 1, 1, true), newKey(t, "op"), Secret{1})
	n.note(d(tagged, 9), set, hush{})
	if n.again(d(tagged, 9), set) {
		t.Error("a request with host tags, which are of time and number too, is taken for a copy")
	}
	n.note(d(first, 9), set, hush{})
	for i := range first { // but time, sequence number, tag and signature
		b := slices.Clone(first)
		b[i] ^= 1
		may := i >= 16 && i < 24 || i >= 60 && i < 64 || i >= len(b)-signatureSize-groupTagSize
		if got := n.again(d(b, 9), set); got != may {
			t.Errorf("byte %d changed: again() = %v, want %v", i, got, may)
		}
	}
}

// TestHostAfterNeedless has somebody else than the operator say that a host was heard: it answers the operator all the same, also while
// it looks at nothing because of that.
func TestHostAfterNeedless(t *testing.T) {
	t.Parallel()
	host, op := newKey(t, "host"), newKey(t, "op")
	b := closedBed(t, host, obeying(op), nil)
	b.start()
	conn := b.dial("127.0.0.1")
	forged := mustSign(t, filtered(5, 1, 1, true), op)
	forged[len(forged)-1] ^= 1 // its signature
	var copies [][]byte
	for range 8 {
		copies = append(copies, forged)
	}
	b.silent(conn, unselected, copies...)
	for seq := uint32(2); seq < 5; seq++ {
		send(t, conn, forged)
		send(t, conn, mustSign(t, filtered(5, uint16(seq), seq, false), op))
		if back := receive(t, conn, patience); back == nil {
			t.Fatalf("no answer in round %d; outcomes: %v", seq, nonzero(b.r.Stats()))
		}
	}
	if got := b.r.Stats()[unselected.String()]; got != 11 {
		t.Errorf("%d requests were not for the host, want 11", got)
	}
}
