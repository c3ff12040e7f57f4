package discover

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	maxStrangers = 32                     // key ids whose requests the kernel drops
	learnPause   = 100 * time.Millisecond // between two that are learned: each time the kernel has a program to check and to translate
)

// gate is a filter of a host's socket, by which the kernel drops what would come to nothing anyway, and in a flood a part of everything:
// what it drops does not wake the host. It never drops all of a requester who is obeyed, for anyone on the link can send in his name. It is
// safe for concurrent use. Where the kernel takes no filter, everything comes.
type gate struct {
	mu      sync.Mutex
	raw     syscall.RawConn // of the socket; nil: there is no gate
	set     *settings       // under which the rules were learned
	rules   gateRules
	learned time.Time // when the last of them was
	hushed  time.Time // when the last hush was
	drops   uint32    // of the socket, as it was last asked
	total   uint64    // that were counted

	framed atomic.Bool // tails of requests can be believed, see frameProgram
}

// gateRules say what the kernel drops, beside what is in neither form.
type gateRules struct {
	deaf      bool      // everything that is not sealed
	strangers [][8]byte // requests with these key ids, the oldest first; zeros: those that are not signed
	hush      hush      // requests that ask the same again and have heard the host
	part
}

// part is what the kernel lets through of what it does not drop anyway: one of so many, if that is more than 1, by their numbers, of which
// turn chooses. The requests of a sweep are numbered as they come, so that one of so many comes for certain; left to chance, now and then
// none would. And the first one of each sweep comes, unless strict, as a host that is asked no more than once would be found late.
type part struct {
	of, turn uint32
	strict   bool
}

// renew forgets what was learned under other settings than these.
func (g *gate) renew(set *settings) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.set = set
	if g.raw == nil {
		return
	}
	g.must(gateRules{part: g.rules.part})
}

// learn has the kernel drop what is of the same kind as a datagram that came to nothing under set, and always will.
func (g *gate) learn(d *datagram, o outcome, set *settings) {
	if o != legacyOff && o != noOperator && o != notOpen {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.takes(set, d.at.Sub(g.learned), learnPause) {
		return
	}
	rules := g.rules
	switch {
	case o == legacyOff && !rules.deaf:
		rules.deaf = true
	case o != legacyOff && isRequest(d.b):
		id := [8]byte(d.b[offRequestOperator:])
		if slices.Contains(rules.strangers, id) {
			return // this one was on its way
		}
		rules.strangers = append(slices.Clone(rules.strangers[max(0, len(rules.strangers)+1-maxStrangers):]), id)
	default:
		return
	}
	g.learned = d.at
	g.put(rules)
}

// takes reports whether there may be another rule of what came under set: there is a gate, the settings are the same, and so long has passed
// since the one before, or the clock was set back. g.mu is held.
func (g *gate) takes(set *settings, since, pause time.Duration) bool {
	return g.raw != nil && g.set == set && (since < 0 || since >= pause)
}

// thin has the kernel let this part through.
func (g *gate) thin(p part) {
	g.mu.Lock()
	defer g.mu.Unlock()
	rules := g.rules
	if rules.part = p; g.raw != nil {
		g.must(rules)
	}
}

// must is put for rules that let more through than those of before: if the kernel refuses them, it is to have no filter at all.
func (g *gate) must(rules gateRules) {
	ok := g.put(rules)
	if g.framed.Store(ok); !ok {
		unfilter(g.raw)
		g.raw = nil
	}
}

// put has the kernel obey the rules. If it refuses, those of before stay in force.
func (g *gate) put(rules gateRules) bool {
	if attachTo(g.raw, rules) != nil {
		return false
	}
	g.rules = rules
	return true
}

// dropped counts what the kernel has dropped, and returns how much that is since the start. The kernel counts together what the filter
// drops and what there is no room for; but if there was none, then much waits to be read.
func (g *gate) dropped(t *tally) uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.raw == nil {
		return g.total
	}
	s := memInfoOf(g.raw)
	if s.buffer == 0 {
		return g.total // it is closed, or the kernel does not say
	}
	n := uint64(s.drops - g.drops)
	g.drops, g.total = s.drops, g.total+n
	o := sieved
	if s.queued > s.buffer/2 {
		o = overflow
	}
	t.counts[o].Add(n)
	return g.total
}

// weigh notes how many datagrams have come by now that were good for nothing, and has the kernel drop a part of them in a flood.
func (r *Responder) weigh(bad int, now time.Time) {
	if r.flood.add(bad, now) && r.flood.judge(r.gate.dropped(&r.tally), now) {
		r.gate.thin(part{r.flood.of, rand.Uint32(), r.flood.strict})
	}
}
