package census

import (
	"crypto/sha256"
	"encoding/binary"
)

// ID is the id of a host.
type ID = [8]byte

// Spread holds the hashes of one host in one round of one sweep. They are keyed by sweep and salt, so that nobody can choose
// an id that always hides in a filter or always comes first. Its words are, in this order, the four of SHA-256(sweep id, salt,
// host id).
type Spread struct {
	Place  uint64 // in the range of a request
	Sample uint64 // against the sample of a request
	Slot   uint64 // in the window
	Bloom  uint64 // of which the bits in the filter are made
}

// SpreadOf returns the hashes of a host.
func SpreadOf(sweep, salt uint64, id ID) Spread {
	var in [24]byte
	binary.BigEndian.PutUint64(in[:], sweep)
	binary.BigEndian.PutUint64(in[8:], salt)
	copy(in[16:], id[:])
	h := sha256.Sum256(in[:])
	return Spread{binary.BigEndian.Uint64(h[:]), binary.BigEndian.Uint64(h[8:]),
		binary.BigEndian.Uint64(h[16:]), binary.BigEndian.Uint64(h[24:])}
}

// Call is that part of a request which decides who answers it.
type Call struct {
	Sample uint64 // hosts whose sample hash is below it answer; 0: all
	Lo, Hi uint64 // hosts whose place is in [Lo, Hi) answer; Hi 0: no upper bound
	Salt   uint64 // of the hashes
	Filter []byte // Bloom filter of hosts already heard; empty: none was
	Hashes uint8  // bits of a host in the filter
}

// Heard reports whether the host is in the filter.
func (c *Call) Heard(s Spread) bool {
	if len(c.Filter) == 0 {
		return false
	}
	for i := range c.Hashes {
		n := s.bit(i, len(c.Filter))
		if c.Filter[n/8]&(1<<(n%8)) == 0 {
			return false
		}
	}
	return true
}

// InRange reports whether the host is among those that the request is for, whether it was heard or not.
func (c *Call) InRange(s Spread) bool {
	return s.Place >= c.Lo && (c.Hi == 0 || s.Place < c.Hi) && (c.Sample == 0 || s.Sample < c.Sample)
}

// Add puts a host into the filter.
func (c *Call) Add(s Spread) {
	for i := range c.Hashes {
		n := s.bit(i, len(c.Filter))
		c.Filter[n/8] |= 1 << (n % 8)
	}
}

// Bits returns the places of the host's first n bits in a filter of size bytes; n is at most the filter's number of hashes. A place is
// 8 × that of the byte, and the bit's in it, of which 0 is the least.
func (s Spread) Bits(n uint8, size int) []uint64 {
	out := make([]uint64, n)
	for i := range n {
		out[i] = s.bit(i, size)
	}
	return out
}

// bit returns the place of the host's i-th bit in a filter of size bytes.
func (s Spread) bit(i uint8, size int) uint64 {
	step := s.Bloom&0xffffffff | 1
	return (s.Bloom>>32 + uint64(i)*step) % (uint64(size) * 8)
}

// MarkOf returns the hashes by which a watch says that it has heard a host in an edition of what it says of itself; others for
// each request, so that whom a filter hides by chance it hides once.
func MarkOf(sweep, salt uint64, seq uint32, edition uint16, id ID) Spread {
	return SpreadOf(sweep, salt^(uint64(seq)<<16|uint64(edition)), id)
}
