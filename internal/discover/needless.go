package discover

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"

	"rollcall/internal/census"
)

// copyAge is for how long a copy is known by its bytes.
const copyAge = time.Second

// needless are the last requests, by IPv4 and by IPv6, by which a requester has said that it has heard this host, to know their
// copies by. The zero value is none.
type needless [2]struct {
	from netip.AddrPort
	at   time.Time
	set  *settings
	b    []byte
	hush hush // what the kernel knows its copies by, if it is to drop them
}

// note remembers the request. What comes of an equal one must depend on nothing else.
func (n *needless) note(d *datagram, set *settings, h hush) {
	l := &n[d.family()]
	l.from, l.at, l.set, l.b, l.hush = d.src, d.at, set, append(l.b[:0], d.b...), h
}

// lately reports whether a host that reads this request by which it was heard was woken by another one of the same sweep not long ago.
func (n *needless) lately(d *datagram) bool {
	l := &n[d.family()]
	since := d.at.Sub(l.at)
	return len(l.b) >= MinRequest && bytes.Equal(l.b[offRequestSweep:offRequestSweep+8], d.b[offRequestSweep:offRequestSweep+8]) && since > 0 && since <= copyAge
}

// family returns which of the two the datagram came by.
func (d *datagram) family() int {
	if d.src.Addr().Is4() {
		return 0
	}
	return 1
}

// again reports whether the datagram is a copy of the request: whether nothing but time, sequence number, group tag and signature
// is another. Whoever has made it, it would come to the same end.
func (n *needless) again(d *datagram, set *settings) bool {
	l, b, trailer := &n[d.family()], d.b, signatureSize
	if len(b) < MinRequest || len(b) != len(l.b) || d.src != l.from || set != l.set || d.at.Sub(l.at).Abs() > copyAge {
		return false
	}
	switch flags := binary.BigEndian.Uint16(b[6:]); {
	case flags&flagHostTags != 0:
		return false // they are of time and number too
	case flags&flagSignedRequest != 0:
		trailer += groupTagSize
	}
	end := len(b) - trailer
	return bytes.Equal(b[:16], l.b[:16]) && bytes.Equal(b[24:60], l.b[24:60]) && bytes.Equal(b[64:end], l.b[64:end])
}

// heardBy takes note of a request by which its requester has heard this host. To have the kernel drop those that ask the same costs a host as
// much as to be woken by three of them, at a time when others have to answer: it is done when the host is woken for the second time.
func (r *Responder) heardBy(d *datagram, q *Request, spread census.Spread, set *settings) {
	again := r.needless.lately(d)
	r.needless.note(d, set, hushOf(d, q, spread))
	if again {
		r.hushCopies(d, set)
	}
}

// wokenAgain is heardBy for a copy of a request that was noted.
func (r *Responder) wokenAgain(d *datagram, set *settings) {
	if r.needless.lately(d) {
		r.hushCopies(d, set)
	}
}

// hushCopies has the kernel drop what asks the same as the request that was noted, which came as the datagram did.
func (r *Responder) hushCopies(d *datagram, set *settings) {
	r.gate.ignore(&r.needless[d.family()].hush, d.at, set)
}
