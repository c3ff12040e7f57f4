package discover

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"
)

// lull is for how long a host looks at nothing after a requester has said that it has heard it. What comes next are most likely
// more copies of the same, which would wake it one by one; others wait for so long at most.
const lull = 10 * time.Millisecond

// needless is the last request by which a requester has said that it has heard this host, to know its copies by. The zero value is
// none.
type needless struct {
	from netip.AddrPort
	b    []byte
}

// note remembers the request. What comes of an equal one must depend on nothing else.
func (n *needless) note(d *datagram) {
	n.from, n.b = d.src, append(n.b[:0], d.b...)
	d.needless = true
}

// again reports whether the datagram is a copy of the request: whether nothing but time, sequence number, group tag and signature
// is another. Whoever has made it, it would come to the same end.
func (n *needless) again(d *datagram) bool {
	b, trailer := d.b, signatureSize
	if len(b) < MinRequest || len(b) != len(n.b) || d.src != n.from {
		return false
	}
	if binary.BigEndian.Uint16(b[6:])&flagSignedRequest != 0 {
		trailer += groupTagSize
	}
	end := len(b) - trailer
	return bytes.Equal(b[:16], n.b[:16]) && bytes.Equal(b[24:60], n.b[24:60]) && bytes.Equal(b[64:end], n.b[64:end])
}
