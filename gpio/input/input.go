// Package input makes of the edges and reads of a GPIO line what an input is told as: a debounced level that always ends on the
// true one, a count of rising edges, and presses of a button. It is pure: no I/O, no goroutine, no clock; every method is told the
// time. Only Totals, the file of persistent totals, touches the disk.
package input

import (
	"math"
	"time"
)

// DefaultRateWindow is over what time a rate is taken where Options does not say.
const DefaultRateWindow = 10 * time.Second

// maxDelay is how late an edge may be told at most. One that seems later shows that the kernel's clock has jumped.
const maxDelay = time.Minute

// Presses of a button, as Outcome has them.
const (
	Single = "single"
	Double = "double"
	Long   = "long"
)

// Options says how an input is read. The zero value takes every edge as it comes, and counts none.
type Options struct {
	// Settle is how long a line must be quiet before its level counts: the debounce where the kernel has none. A level that
	// lasted exactly so long counts.
	Settle     time.Duration
	Count      bool          // count rising edges that survived the debounce
	RateWindow time.Duration // over what time the rate is taken; 0: DefaultRateWindow
	Long       time.Duration // how long a press is a long one, told while it lasts; 0: none are told of
	// Double is within what time, from the beginning of one to the beginning of the other, two presses are a double click, which
	// is told as the second begins; 0: none are told of. Without Long and Double no press at all is told of.
	Double time.Duration
	// Seq is the number of the last edge that the line had before New: 0 for a line just requested, Input.Seq of the Input
	// before where the line was kept.
	Seq uint32
}

// Outcome is what an edge, a read or the passing of time has made of an input.
type Outcome struct {
	Changed bool   // Level is another than before
	Level   bool   // the debounced level
	Press   string // Single, Double or Long as it is known, or ""; if there is one more, Next is due at once
	Lost    uint32 // edges that the kernel or the caller dropped before this one
	Reread  bool   // something was missed: the caller is to read the line and tell Read of it
	Counted bool   // the count went up by one
}

// Input is an input. It is not safe for concurrent use.
type Input struct {
	o     Options
	start time.Time

	offset time.Duration // what the kernel's clock is behind the time since start, at the most
	synced bool          // offset is known
	mark   time.Duration // of what was last taken into account, since start, as are all times below
	seq    uint32

	level bool          // debounced
	raw   bool          // as last heard of; waits for Settle where it is not level
	rawAt time.Duration // since when

	readAt    time.Duration // of the last Read, or New
	readLevel bool          // and what it found
	ahead     int           // edges that Reads have taken into account and that are still to be told of

	presses presses
	told    []string // presses that are not handed out yet
	count   uint64
	total   uint64
	rate    rate
}

// New returns an input of which the level is known, but not since when: a button that is held is no press.
func New(o Options, level bool, now time.Time) *Input {
	if o.RateWindow <= 0 {
		o.RateWindow = DefaultRateWindow
	}
	i := &Input{o: o, start: now, level: level, raw: level, readLevel: level, seq: o.Seq}
	i.presses = presses{long: max(o.Long, 0), double: max(o.Double, 0)}
	if o.Count {
		i.rate = newRate(o.RateWindow)
	}
	return i
}

// Level returns the debounced level.
func (i *Input) Level() bool { return i.level }

// Seq returns the number of the newest edge.
func (i *Input) Seq() uint32 { return i.seq }

// Edge tells of an edge as the kernel did: when it was on the kernel's monotonic clock, and its number, which 0 stands for where
// the kernel has none. Edges must be told in order, and those that have come before a Tick before it, or the Tick takes a level
// for settled that was not.
func (i *Input) Edge(rising bool, at time.Duration, seq uint32, now time.Time) Outcome {
	var out Outcome
	first := !i.synced
	t := i.kernelTime(at, now)
	i.sequence(seq, &out)
	stale := t <= i.readAt // Read knows what has become of the line since
	t = max(t, i.mark)
	i.advance(t, &out)
	if i.foreseen(rising) && (stale || first) && out.Lost == 0 {
		i.ahead--
		out.Reread = !stale && rising != i.raw // it may have been another
		return i.done(out)
	}
	if rising == i.raw || stale && rising != i.readLevel {
		out.Reread = true // the edge before was missed, or there is one more to come
	}
	i.ahead, i.mark = 0, t
	if i.o.Settle > 0 {
		i.raw, i.rawAt = rising, t
	} else {
		i.sharp(rising, t, &out)
	}
	i.advance(t, &out) // what waited for a level that was gone
	return i.done(out)
}

// foreseen reports whether the edge is the first of those that Read has taken into account. They take turns, and the last of them
// led to the newest level.
func (i *Input) foreseen(rising bool) bool {
	return i.ahead > 0 && rising == (i.raw == (i.ahead%2 == 1))
}

// sharp takes an edge that needs no debounce.
func (i *Input) sharp(rising bool, t time.Duration, out *Outcome) {
	if rising == i.raw {
		if rising { // it went off in between, unseen
			i.presses.release(t, &i.told)
			i.presses.press(t, &i.told)
			i.add(t, out)
		}
		return
	}
	i.raw, i.rawAt = rising, t
	i.settle(out)
}

// Read tells of the level that the line was found to have: a scan, or a re-read. It settles like an edge.
func (i *Input) Read(level bool, now time.Time) Outcome {
	var out Outcome
	t := max(now.Sub(i.start), i.mark)
	i.advance(t, &out)
	i.readAt, i.readLevel = t, level
	if level != i.raw {
		i.raw, i.rawAt, i.mark = level, t, t
		i.ahead++
		if i.o.Settle <= 0 {
			i.settle(&out)
		}
	}
	i.advance(t, &out)
	return i.done(out)
}

// Tick tells that time has passed. It is due at Next; more often does no harm.
func (i *Input) Tick(now time.Time) Outcome {
	var out Outcome
	i.advance(now.Sub(i.start), &out)
	return i.done(out)
}

// Next returns when Tick is due, or the zero time if nothing is waited for.
func (i *Input) Next() time.Time {
	if len(i.told) > 0 {
		return i.start.Add(i.mark)
	}
	if due, ok := i.due(); ok {
		return i.start.Add(due)
	}
	return time.Time{}
}

// kernelTime returns a time of the kernel's clock as one since start. The clocks run alike, so what is between them is what is
// between an edge and its telling at the least. While that is not known well, edges seem later than they were, and so nothing
// settles too early; what is between two edges is always exact.
func (i *Input) kernelTime(at time.Duration, now time.Time) time.Duration {
	offset := now.Sub(i.start) - at
	if late := i.offset - offset; !i.synced || late > maxDelay || late < -maxDelay {
		i.synced, i.offset = true, offset
	} else if late > 0 {
		i.offset = offset
		i.mark -= late
		i.rawAt -= late
		i.presses.at -= late
	}
	return at + i.offset
}

// sequence sees which edges are missing. The number wraps around; one that went back is that of a line requested anew.
func (i *Input) sequence(seq uint32, out *Outcome) {
	if gap := seq - i.seq - 1; gap > 0 && gap <= math.MaxInt32 {
		out.Lost, out.Reread = gap, true
	}
	i.seq = seq
}

// due returns when the passing of time will change something. While a level waits to settle, a press waits for it.
func (i *Input) due() (time.Duration, bool) {
	if i.raw != i.level {
		return i.rawAt + i.o.Settle, true
	}
	return i.presses.due()
}

// advance does what the passing of time until t does.
func (i *Input) advance(t time.Duration, out *Outcome) {
	for due, ok := i.due(); ok && due <= t; due, ok = i.due() {
		i.mark = max(i.mark, due)
		if i.raw != i.level {
			i.settle(out)
			continue
		}
		i.presses.pass(&i.told)
	}
}

// settle makes the newest level the level.
func (i *Input) settle(out *Outcome) {
	i.level, out.Changed = i.raw, true
	if !i.level {
		i.presses.release(i.rawAt, &i.told)
		return
	}
	i.presses.press(i.rawAt, &i.told)
	i.add(i.rawAt, out)
}

// done completes an outcome.
func (i *Input) done(out Outcome) Outcome {
	out.Level = i.level
	if len(i.told) > 0 {
		out.Press = i.told[0]
		i.told = i.told[1:]
	}
	return out
}
