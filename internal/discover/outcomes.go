package discover

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// outcome is the end that a datagram came to. One that is obeyed has two: answered, then published or what became of that.
type outcome uint8

const (
	answered    outcome = iota // a sealed request got its reply
	accepted                   // a request in the original form is on its way to the guard
	published                  // a request was given to Publish
	malformed                  // neither form, or broken
	tooLong                    // longer than its form may be
	unknown                    // a version, type or flag that is not known
	clock                      // further than 30 s from our time
	replayed                   // seen before
	noOperator                 // signed with a key that is not in authorized_operators
	forged                     // group tag or signature is not the operator's
	notOpen                    // sealed but unsigned, and the host is not open
	notReady                   // nothing is known yet that could be answered
	offLink                    // from another network than that of the interface it came in on
	otherIface                 // came in on an interface that is not to be answered on
	wrongSource                // does not come from where the requester says that it is
	rate                       // too many from this source, or altogether
	unselected                 // asks others: range, sample, filter, name or page
	legacyOff                  // original form, which is switched off
	guarded                    // the guard refused replyto
	badTopic                   // topic names another host, or belongs to discovery or to commands
	duplicate                  // published already under this id
	destination                // too many for this requester's or this endpoint's broker
	busy                       // a queue is full
	sendFailed                 // the reply could not be sent
	readFailed
	installed  // the requester was put into the kernel's table of neighbours
	strangers  // it was not, by the rules of that
	challenged // the clocks differ; the requester was told how to ask all the same
	repeated   // asks what was answered in this round, or too many rounds
	excessive  // its reply would have made more bytes go out than came in
	noRelay    // about relaying, which this host does not do, or not for that sweep
	relaying   // a sweep is relayed
	relayed    // a request was sent on for an operator who is elsewhere
	sieved     // the kernel has dropped it, see gate
	overflow   // the kernel had no room for it
	outcomes
)

var outcomeNames = [outcomes]string{"answered", "accepted", "published", "malformed", "too_long", "version", "clock", "replayed", "operator", "signature",
	"not_open", "not_ready", "off_link", "other_interface", "wrong_source", "rate", "not_selected", "legacy_off", "guard", "topic",
	"duplicate", "destination_rate", "busy", "send_failed", "read_failed",
	"neighbour_installed", "neighbour_refused", "challenged", "repeated", "excessive", "no_relay", "relaying", "relayed", "filtered", "overflow"}

// String returns the name that the outcome has in Stats.
func (o outcome) String() string { return outcomeNames[o] }

// ordinary reports whether the outcome is part of a day without trouble, and so not worth a line in the log.
func (o outcome) ordinary() bool {
	switch o {
	case answered, accepted, published, unselected, duplicate, installed, challenged, repeated, relaying, relayed:
		return true
	}
	return false
}

// tally counts outcomes and says now and then, in one line, what has been dropped. It is safe for concurrent use.
type tally struct {
	counts   [outcomes]atomic.Uint64
	unlogged [outcomes]atomic.Uint64
	next     [outcomes]atomic.Int64 // when the outcome may be logged again, in Unix nanoseconds
	lines    chan logLine           // to whoever may block on the log; full: the line is left out, the count kept
}

type logLine struct {
	outcome outcome
	count   uint64
	example any
}

// logEvery is how often one outcome is logged.
const logEvery = time.Minute

// note counts an outcome; example says more of it in the log, and is called only if there is to be a line.
func (t *tally) note(o outcome, now time.Time, example func() any) {
	t.counts[o].Add(1)
	if o.ordinary() {
		return
	}
	t.unlogged[o].Add(1)
	due := t.next[o].Load()
	at := now.UnixNano()
	if at < due && at > due-2*int64(logEvery) || !t.next[o].CompareAndSwap(due, at+int64(logEvery)) {
		return
	}
	n := t.unlogged[o].Swap(0)
	select {
	case t.lines <- logLine{o, n, example()}:
	default:
		t.unlogged[o].Add(n)
		t.next[o].Store(due)
	}
}

// say counts an outcome and logs it at once, if the log can keep up.
func (t *tally) say(o outcome, what string) {
	t.counts[o].Add(1)
	select {
	case t.lines <- logLine{o, 1, what}:
	default:
	}
}

// write logs one line.
func (l logLine) write(log *slog.Logger) {
	switch l.outcome {
	case installed:
		log.Info("requester installed as neighbour", "neighbour", l.example)
		return
	case relaying:
		log.Info("sweep is relayed", "sweep", l.example)
		return
	case strangers:
		log.Warn("requesters not installed as neighbours", "count", l.count, "why", l.example)
		return
	}
	log.Warn("dropped requests", "outcome", l.outcome.String(), "count", l.count, "example", l.example)
}

// all returns the counts by name.
func (t *tally) all() map[string]uint64 {
	out := make(map[string]uint64, outcomes)
	for o := range outcomes {
		out[o.String()] = t.counts[o].Load()
	}
	return out
}
