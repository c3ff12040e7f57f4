package discover

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"path"
	"strings"

	"rollcall/reports"
)

// spread holds the hashes of one host in one round of one sweep. They are keyed by sweep and salt, so that nobody can choose
// an id that always hides in a filter or always comes first.
type spread struct{ place, sample, slot, bloom uint64 }

func spreadOf(sweep, salt uint64, id ID) spread {
	var in [24]byte
	binary.BigEndian.PutUint64(in[:], sweep)
	binary.BigEndian.PutUint64(in[8:], salt)
	copy(in[16:], id[:])
	h := sha256.Sum256(in[:])
	return spread{binary.BigEndian.Uint64(h[:]), binary.BigEndian.Uint64(h[8:]),
		binary.BigEndian.Uint64(h[16:]), binary.BigEndian.Uint64(h[24:])}
}

// selects reports whether the host is asked: in range and sample, not in the filter, and of a wanted name. The order is that
// of PROTOCOL.md §2. name is in lower case.
func (r *Request) selects(id ID, name string) bool {
	s := spreadOf(r.Sweep, r.Salt, id)
	switch {
	case s.place < r.Lo || (r.Hi != 0 && s.place >= r.Hi):
		return false
	case r.Sample != 0 && s.sample >= r.Sample:
		return false
	case r.heard(s):
		return false
	}
	return wanted(r.Want, name)
}

// heard reports whether the host is in the filter.
func (r *Request) heard(s spread) bool {
	if len(r.Filter) == 0 {
		return false
	}
	for i := range r.FilterHashes {
		n := s.bit(i, len(r.Filter))
		if r.Filter[n/8]&(1<<(n%8)) == 0 {
			return false
		}
	}
	return true
}

// bit returns the place of the host's i-th bit in a filter of size bytes.
func (s spread) bit(i uint8, size int) uint64 {
	step := s.bloom&0xffffffff | 1
	return (s.bloom>>32 + uint64(i)*step) % (uint64(size) * 8)
}

// wanted reports whether the pattern, in which * and ? stand for any characters, covers the name in lower case.
func wanted(pattern, name string) bool {
	if pattern == "" || pattern == "*" {
		return true
	}
	ok, err := path.Match(strings.ToLower(pattern), name)
	return ok && err == nil
}

// validPattern returns an error unless s is "" or a host's name in which * and ? may stand.
func validPattern(s string) error {
	if s == "" || strings.Trim(s, "*?") == "" && len(s) <= reports.MaxName {
		return nil
	}
	if err := reports.ValidName(strings.NewReplacer("*", "", "?", "").Replace(s)); err != nil || len(s) > reports.MaxName {
		return fmt.Errorf("pattern %.64q: only A-Z, a-z, 0-9, _, -, * and ? are allowed, %d bytes at most", s, reports.MaxName)
	}
	return nil
}
