package discover

import (
	"time"

	"rollcall/internal/census"
)

// Card is what a host says of itself, encoded, for who speaks for many hosts: the simulated fleet. A Responder has its own.
type Card struct{ p *pages }

// NewCard encodes a host. The error is for one that can't be said at all.
func NewCard(h Host) (*Card, error) {
	p, err := encodePages(h, 1)
	if p == nil {
		return nil, err
	}
	return &Card{p}, nil
}

// Size returns the length of a page's reply in bytes, 0 if there is no such page.
func (c *Card) Size(page uint8) int {
	if int(page) >= len(c.p.data) {
		return 0
	}
	return len(c.p.data[page])
}

// Asked reports whether a request asks this host, whose hashes in the round these are and which has so much of its sweep behind
// it; heard is true if it does not because the requester has heard the host.
func (c *Card) Asked(q *Request, s census.Spread, a *census.Attendance, now time.Time) (answer, heard bool) {
	o, heard := meantFor(q, c.p, s, a, now)
	return o == answered, heard
}

// Reply appends the reply with a page to dst; its header fields that differ from reply to reply are those of r.
func (c *Card) Reply(dst []byte, page uint8, r Reply) []byte {
	start := len(dst)
	dst = append(dst, c.p.data[page]...)
	r.MAC = c.p.mac
	r.patch(dst[start:])
	return dst
}
