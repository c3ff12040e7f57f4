package network

import (
	"slices"
	"time"

	"rollcall/reports/janitoo/wire"
)

// Bounds of asking controllers one by one.
const (
	maxControllers = 4096                   // that are asked, or have been
	maxUnknown     = 256                    // of them, that have only been heard of
	maxAsked       = 20                     // at a time
	askPause       = 100 * time.Millisecond // then
	firstAsk       = 2 * time.Second        // after a controller is known; what it has to say mostly comes by then
	askAgain       = 10 * time.Second       // a controller that has a new node is asked anew, this often at most
	askLongest     = 5 * time.Minute
	maxTries       = 8 // then a controller that has said nothing is forgotten
)

// ask knows which controllers have answered which of the six requests.
type ask struct {
	ctrls   map[int]*asked
	empties map[string]int   // answers to all that had no data, and so nobody's name
	parts   map[string]*part // of the primary's answers
	unknown int              // of ctrls: not in the map
	soonest time.Time        // when somebody is to be asked; zero: nobody
}

// asked is a controller.
type asked struct {
	answers uint8 // bit i: has answered wire.Infos()[i]
	known   bool  // it has nodes in the map
	tries   int
	last    time.Time
	at      time.Time // when it is to be asked
}

// part counts the pieces of an answer of the primary.
type part struct {
	of      int // 0: it does not say
	got     map[int]bool
	partial bool // it does not know all yet
}

const allAnswers = 1<<6 - 1

func newAsk() ask {
	return ask{ctrls: map[int]*asked{}, empties: map[string]int{}, parts: map[string]*part{}}
}

func bit(info string) uint8 { return 1 << max(0, slices.Index(wire.Infos(), info)) }

// anew forgets who has answered.
func (a *ask) anew() {
	clear(a.empties)
	clear(a.parts)
	for _, c := range a.ctrls {
		c.answers, c.tries = 0, 0
	}
}

func (a *ask) plan(c *asked, at time.Time) {
	c.at = at
	if a.soonest.IsZero() || at.Before(a.soonest) {
		a.soonest = at
	}
}

// of returns the controller, which it makes up to maxControllers of; nil: there are too many.
func (a *ask) of(ctrl int) *asked {
	c := a.ctrls[ctrl]
	if c == nil && len(a.ctrls) < maxControllers {
		c = &asked{}
		a.ctrls[ctrl] = c
	}
	return c
}

// resume plans the controllers that have not said all.
func (a *ask) resume(now time.Time) {
	for _, c := range a.ctrls {
		if c.answers != allAnswers && c.at.IsZero() {
			a.plan(c, now.Add(firstAsk))
		}
	}
}

// wants notes that a node of the controller has been heard of that the map lacks.
func (a *ask) wants(ctrl int, now time.Time) {
	_, old := a.ctrls[ctrl]
	if !old && a.unknown >= maxUnknown {
		return
	}
	c := a.of(ctrl)
	switch {
	case c == nil:
	case !old:
		a.unknown++
		a.plan(c, now)
	case c.known: // it has a node that it had not when it answered
		c.answers = 0
		if at := later(now, c.last.Add(askAgain)); c.at.IsZero() || at.Before(c.at) {
			a.plan(c, at)
		}
	}
}

// alive notes a sign of a controller. One that had not said all, and was given up or is asked seldom by now, is asked again.
func (a *ask) alive(ctrl int, now time.Time) {
	c := a.ctrls[ctrl]
	if c != nil && c.known && c.answers != allAnswers && now.Sub(c.last) >= askAgain {
		c.tries = 0
		a.plan(c, now)
	}
}

// known notes that the map has a node of the controller.
func (a *ask) known(ctrl int, now time.Time) {
	_, old := a.ctrls[ctrl]
	if c := a.of(ctrl); c != nil && !c.known {
		if old {
			a.unknown--
		}
		c.known = true
		a.plan(c, now.Add(firstAsk))
	}
}

// has notes an answer of a controller that is known.
func (a *ask) has(ctrl int, info string) {
	if c := a.ctrls[ctrl]; c != nil {
		c.answers |= bit(info)
	}
}

// allHave reports whether all known controllers have answered, and notes it where some had nothing to say.
func (a *ask) allHave(info string) bool {
	missing, has := -a.empties[info], bit(info)
	for _, c := range a.ctrls {
		if c.known && c.answers&has == 0 {
			missing++
		}
	}
	if missing > 0 {
		return false
	}
	a.note(info)
	return true
}

// note notes that all known controllers have answered.
func (a *ask) note(info string) {
	has := bit(info)
	for _, c := range a.ctrls {
		if c.known {
			c.answers |= has
		}
	}
}

// complete reports whether everybody who is known has answered everything, and nobody is heard of who is not.
func (a *ask) complete() bool {
	for _, c := range a.ctrls {
		if !c.known || c.answers != allAnswers {
			return false
		}
	}
	return true
}

// resolved reports whether the primary has said all of what info names. The original's says no number of pieces.
func (a *ask) resolved(info string) bool {
	p := a.parts[info]
	return p != nil && (p.of == 0 || len(p.got) >= p.of)
}

// askOn asks the controllers whose time has come for what they have not said, each at its own address.
func (n *Network) askOn() {
	if n.state != Started || !due(n.ask.soonest, n.now) {
		return
	}
	n.ask.soonest = time.Time{}
	count := 0
	for ctrl, c := range n.ask.ctrls {
		switch {
		case c.answers == allAnswers:
			c.at, c.tries = time.Time{}, 0
			continue
		case c.at.IsZero():
			continue
		case c.tries >= maxTries:
			c.at = time.Time{}
			if !c.known {
				n.ask.unknown--
				delete(n.ask.ctrls, ctrl)
			}
			continue
		case due(c.at, n.now) && count < maxAsked:
			count++
			n.askOne(ctrl, c)
		}
		n.ask.plan(c, later(c.at, n.now.Add(askPause)))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// askOne asks a controller. Its answer repeats the address, so that one without data tells whose it is.
func (n *Network) askOne(ctrl int, c *asked) {
	hadd := wire.NewHadd(ctrl, 0)
	for _, info := range wire.Infos() {
		if c.answers&bit(info) != 0 {
			continue
		}
		payload := wire.Marshal(map[string]any{"uuid": info, "genre": wire.System, "cmd_class": wire.CmdDiscovery, "reply_hadd": n.cfg.Own, "hadd": hadd})
		n.send(Message{wire.RequestTopic(hadd), payload})
	}
	c.last = n.now
	c.at = n.now.Add(min(time.Second<<min(c.tries, 10), askLongest))
	c.tries++
}

// heardChunk takes a piece of the primary's answer.
func (n *Network) heardChunk(r reply) {
	if n.acting() {
		return
	}
	chunk, of := r.chunk, r.chunks
	p := n.ask.parts[r.info]
	if p == nil {
		p = &part{got: map[int]bool{}}
		n.ask.parts[r.info] = p
	}
	if of > 0 && of <= maxChunks && chunk >= 0 && chunk < of {
		p.of = of
		p.got[chunk] = true
	}
	p.partial = p.partial || r.partial
	if p.of > 0 && n.ask.resolved(r.info) && !p.partial {
		n.ask.note(r.info)
	}
	if n.primary.hadd == "" {
		n.primary.hadd = unnamed
	}
	n.primary.last = n.now
	if n.state != Resolv {
		return
	}
	n.step.until = n.now.Add(quietResolv)
	for _, info := range wire.Infos() {
		if p := n.ask.parts[info]; p == nil || p.of == 0 || !n.ask.resolved(info) {
			return
		}
	}
	n.stepEnds()
}
