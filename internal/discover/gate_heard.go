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

// hushOf returns what is known of the question of a datagram, and false if there is too little.
func hushOf(d *datagram, q *Request, spread census.Spread) (h hush, ok bool) {
	start := filterStart(q)
	if q.FilterHashes < hushBits || !bytes.HasPrefix(d.b[requestHeader+start:], q.Filter) {
		return h, false
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
	return h, true
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

// ready reports whether ignore may do something.
func (g *gate) ready(d *datagram, set *settings) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.takes(set, d.at.Sub(g.hushed), hushPause)
}

// ignore has the kernel drop what asks the same as a request under set that says that it has heard this host: each copy would wake it.
func (g *gate) ignore(d *datagram, q *Request, spread census.Spread, set *settings) {
	if q.Copies < hushFrom {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.takes(set, d.at.Sub(g.hushed), hushPause) {
		return
	}
	h, ok := hushOf(d, q, spread)
	if !ok || h.same(&g.rules.hush) {
		return
	}
	g.hushed = d.at
	rules := g.rules
	rules.hush = h
	g.put(rules)
}
