package discover

import (
	"bytes"
	"encoding/binary"
	"time"

	"rollcall/internal/census"
)

const (
	hushFrom  = 4                     // requests whose answers are to be sent so often come about as often themselves
	hushBits  = 12                    // of the host in the filter that the kernel looks for
	hushPause = 20 * time.Millisecond // between two such requests: each takes as much time as to be woken three times
)

// hush are the places of a request that show that it is the same question as one which says that it has heard this host: version and
// flags, sweep, salt, length and place of the filter, and some of the host's bits in it. Anybody may have made that one, for nobody has
// looked at its signature; but of the requests in whose filter the host is not, he can have the kernel drop one of 2^hushBits at most.
// The zero value is none.
type hush struct {
	words [7]word
	bits  []bit
	size  int // of the part of a request in which they all are
}

// word are four bytes of a request, in network order.
type word struct {
	at    int
	value uint32
}

// bit is one that is set.
type bit struct {
	at   int // of the byte
	mask uint8
}

// hushOf returns what the question of a datagram is known by; none if there is too little, or few copies of it to be expected.
func hushOf(d *datagram, q *Request, spread census.Spread) (h hush) {
	start := filterStart(q)
	if q.Copies < hushFrom || q.FilterHashes < hushBits || !bytes.HasPrefix(d.b[requestHeader+start:], q.Filter) {
		return h
	}
	const head = requestHeader - 2 // the body's length; its first field is the filter, of which the head ends within eight bytes
	for i, at := range [...]int{offRequestSweep + 4, offRequestSalt + 4, offRequestSweep, offRequestSalt, len(magic), head, head + 4} {
		h.words[i] = word{at, binary.BigEndian.Uint32(d.b[at:])}
	}
	for _, n := range spread.Bits(hushBits, len(q.Filter)) {
		b := bit{requestHeader + start + int(n/8), 1 << (n % 8)}
		h.bits = append(h.bits, b)
		h.size = max(h.size, b.at+1)
	}
	return h
}

// filterStart returns where the filter begins in a body of which it is the first field (RFC 8949 §3): behind the heads of the map, of the
// key and of the byte string.
func filterStart(q *Request) int {
	switch n := len(q.Filter); {
	case n < 24:
		return 3
	case n < 256:
		return 4
	}
	return 5
}

// same reports whether it is the same question.
func (h *hush) same(o *hush) bool { return h.words == o.words }

// ignore has the kernel drop what asks the same as a request under set by which this host was heard: each copy would wake it.
func (g *gate) ignore(h *hush, at time.Time, set *settings) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.size == 0 || h.same(&g.rules.hush) || !g.takes(set, at.Sub(g.hushed), hushPause) {
		return
	}
	g.hushed = at
	rules := g.rules
	rules.hush = *h
	g.put(rules)
}
