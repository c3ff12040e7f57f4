package network

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"rollcall/reports/janitoo/wire"
)

// maxOfNode bounds the values of one node, so that one can't take the others' room.
const maxOfNode = 4096

// overhead is about what a node or value costs beside its text, in bytes.
const overhead = 128

// store is the map itself, bounded.
type store struct {
	limits  Limits
	nodes   map[wire.Hadd]*entry
	values  int
	bytes   int
	refused int // nodes and values there was no room for
}

// entry is a node.
type entry struct {
	wire.Node
	values  map[valueKey]json.RawMessage
	size    int       // of the node without its values
	seen    time.Time // a sign of it, also through others
	heard   time.Time // its own heartbeat; zero: none yet
	stepped time.Time // its state, because it was overdue
	count   int       // of looks at which it was overdue
}

// valueKey is a value of a node. The genre is that of the request that it answers to.
type valueKey struct {
	genre wire.Genre
	uuid  string
	index int
}

func newStore(l Limits) store { return store{limits: l, nodes: map[wire.Hadd]*entry{}} }

// fits reports whether there is room for more, and counts what there is none for.
func (s *store) fits(nodes, values, bytes int) bool {
	if len(s.nodes)+nodes > s.limits.Nodes || s.values+values > s.limits.Values || s.bytes+bytes > s.limits.Bytes {
		s.refused++
		return false
	}
	s.values += values
	s.bytes += bytes
	return true
}

func sizeOf(w wire.Node) int { return len(wire.Marshal(w)) + overhead }

// add adds a node, whose state is PENDING until it is known. A dead one makes room.
func (s *store) add(w wire.Node, now time.Time) bool {
	w.State = wire.Pending
	size := sizeOf(w)
	if len(s.nodes) >= s.limits.Nodes {
		s.bury()
	}
	if !s.fits(1, 0, size) {
		return false
	}
	s.nodes[w.Hadd] = &entry{Node: w, values: map[valueKey]json.RawMessage{}, size: size, seen: now}
	return true
}

// bury drops the dead nodes.
func (s *store) bury() {
	for hadd, e := range s.nodes {
		if e.State == wire.Dead {
			s.drop(hadd)
		}
	}
}

// replace takes what a node says of itself now. Its state stays.
func (s *store) replace(e *entry, w wire.Node) bool {
	w.State = e.State
	size := sizeOf(w)
	if !s.fits(0, 0, size-e.size) {
		return false
	}
	e.Node, e.size = w, size
	return true
}

// drop removes a node and its values.
func (s *store) drop(hadd wire.Hadd) {
	e := s.nodes[hadd]
	s.bytes -= e.size
	for k, raw := range e.values {
		s.bytes -= cost(k, raw)
		s.values--
	}
	delete(s.nodes, hadd)
}

func cost(k valueKey, raw json.RawMessage) int { return len(k.uuid) + len(raw) + overhead }

func keyOf(v wire.Value) valueKey { return valueKey{v.Genre, v.UUID, v.Index} }

// keep stores a value of a node that is known.
func (s *store) keep(v stored) {
	e, k, raw := s.nodes[v.hadd], v.key, v.raw
	old, had := e.values[k]
	switch {
	case had && !s.fits(0, 0, len(raw)-len(old)):
		return
	case !had && (len(e.values) >= maxOfNode || !s.fits(0, 1, cost(k, raw))):
		return
	}
	e.values[k] = raw
}

// value returns the stored value with the address, genre, uuid and index of v.
func (s *store) value(v wire.Value) (wire.Value, bool) {
	e := s.nodes[v.Hadd]
	if e == nil {
		return wire.Value{}, false
	}
	return read(e.values[keyOf(v)])
}

func read(raw json.RawMessage) (wire.Value, bool) {
	if raw == nil {
		return wire.Value{}, false
	}
	all, err := wire.ParseValues(raw)
	if err != nil || len(all) != 1 {
		return wire.Value{}, false // it was parsed before
	}
	return all[0], true
}

// of returns the nodes that a heartbeat is about.
func (s *store) of(h wire.Heartbeat) (out []*entry) {
	if hadd := h.Hadd(); hadd != "" {
		if e := s.nodes[hadd]; e != nil {
			out = append(out, e)
		}
		return out
	}
	for hadd, e := range s.nodes {
		if hadd.Ctrl() == h.Ctrl {
			out = append(out, e)
		}
	}
	return out
}

// with returns the addresses that have something to say to a request, in order.
func (s *store) with(info string) []wire.Hadd {
	genre, _ := wire.InfoGenre(info)
	var out []wire.Hadd
	for hadd, e := range s.nodes {
		if genre == 0 || e.has(genre) {
			out = append(out, hadd)
		}
	}
	slices.Sort(out)
	return out
}

func (e *entry) has(g wire.Genre) bool {
	for k := range e.values {
		if k.genre == g {
			return true
		}
	}
	return false
}

// sizeFor returns about how many bytes a node has of a genre.
func (e *entry) sizeFor(g wire.Genre) int {
	if g == 0 {
		return e.size
	}
	n := 0
	for k, raw := range e.values {
		if k.genre == g {
			n += len(raw)
		}
	}
	return n
}

// chunks cuts the answer to a request into pieces; there is always one.
func (s *store) chunks(info string) [][]wire.Hadd {
	genre, _ := wire.InfoGenre(info)
	out := [][]wire.Hadd{nil}
	size := 0
	for _, hadd := range s.with(info) {
		last, more := len(out)-1, s.nodes[hadd].sizeFor(genre)
		if len(out[last]) == maxEntries || (size > 0 && size+more > maxChunk) {
			out, last, size = append(out, nil), last+1, 0
		}
		out[last] = append(out[last], hadd)
		size += more
	}
	return out
}

// data makes the data of a discovery reply about some nodes, in the shape that the request has it in (JANITOO.md §1.4).
func (s *store) data(info string, hadds []wire.Hadd) map[string]any {
	genre, _ := wire.InfoGenre(info)
	out := map[string]any{}
	for _, hadd := range hadds {
		e := s.nodes[hadd]
		switch {
		case e == nil: // dropped since
		case genre == 0:
			out[e.UUID] = e.Node
		case genre == wire.System || genre == wire.Command:
			out[string(hadd)] = e.flat(genre)
		default:
			out[string(hadd)] = e.indexed(genre)
		}
	}
	return out
}

// flat returns the values of a genre by uuid, the first instance of each.
func (e *entry) flat(g wire.Genre) map[string]json.RawMessage {
	out, first := map[string]json.RawMessage{}, map[string]int{}
	for k, raw := range e.values {
		if i, had := first[k.uuid]; k.genre == g && (!had || k.index < i) {
			out[k.uuid], first[k.uuid] = raw, k.index
		}
	}
	return out
}

// indexed returns the values of a genre by uuid and index.
func (e *entry) indexed(g wire.Genre) map[string]map[string]json.RawMessage {
	out := map[string]map[string]json.RawMessage{}
	for k, raw := range e.values {
		if k.genre != g {
			continue
		}
		if out[k.uuid] == nil {
			out[k.uuid] = map[string]json.RawMessage{}
		}
		out[k.uuid][strconv.Itoa(k.index)] = raw
	}
	return out
}

// sorted returns all addresses in order.
func (s *store) sorted() []wire.Hadd { return slices.Sorted(maps.Keys(s.nodes)) }
