package discover

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"rollcall/internal/census"
)

// maxNames is how many hosts a request of a watch may name.
const maxNames = 64

// maxChanged bounds how long ago the changes lie that a watch asks for.
const maxChanged = time.Minute

// watches reports whether a request of a watch is for this host: because it is due, named, or has changed and the requester
// has not heard so.
func (r *Request) watches(said *pages, spread census.Spread, now time.Time) bool {
	call := r.call()
	switch {
	case call.InRange(spread), slices.Contains(r.Names, said.id):
		return true
	case now.Sub(said.changed) > r.Changed:
		return false
	}
	return !call.Heard(census.MarkOf(r.Sweep, r.Salt, r.Seq, said.edition, said.id))
}

// checkWatch refuses what belongs to a watch in a request that is not one, and the other way round.
func (r *Request) checkWatch() error {
	switch {
	case r.Changed == 0 && len(r.Names) > 0:
		return errors.New("request names hosts and does not watch")
	case len(r.Names) > maxNames:
		return fmt.Errorf("request names %d hosts, more than %d", len(r.Names), maxNames)
	case r.Changed < 0 || r.Changed > maxChanged:
		return fmt.Errorf("changes of %v ago are not watched", r.Changed)
	case r.Changed > 0 && (r.Page > 0 || r.Sample > 0):
		return errors.New("request of a watch asks for a page or a sample")
	}
	return nil
}

// joinNames returns the ids one after the other.
func joinNames(names []ID) []byte {
	var b []byte
	for _, id := range names {
		b = append(b, id[:]...)
	}
	return b
}

// splitNames is the inverse of joinNames.
func splitNames(b []byte) (names []ID, err error) {
	if len(b)%len(ID{}) != 0 || len(b) > maxNames*len(ID{}) {
		return nil, fmt.Errorf("names of %d bytes", len(b))
	}
	for chunk := range slices.Chunk(b, len(ID{})) {
		names = append(names, ID(chunk))
	}
	return names, nil
}
