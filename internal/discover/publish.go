package discover

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"rollcall/reports"
)

// maxPending is how many sealed requests may wait to be published.
const maxPending = 256

// job is a request that is to be published.
type job struct {
	request  reports.Request
	from     netip.AddrPort
	own      bool
	wide     bool   // it was broadcast
	key      uint64 // under which it counts as published; 0: it has no id
	sealed   bool
	to       replyTo // to be checked by guard
	guard    *Guard
	endpoint Endpoint  // valid: checked; a pass is issued for it
	refused  error     // by the guard
	due      time.Time // when it is given to the publisher
}

// publishDelay returns how long a sealed request waits, so that what the programs of all hosts do about it does not compete
// with the replies to the sweep: longer where the answers go to the host's own broker, for which no requester waits.
func publishDelay(own bool) time.Duration {
	const (
		least, most       = 20 * time.Millisecond, 120 * time.Millisecond
		ownLeast, ownMost = 300 * time.Millisecond, 800 * time.Millisecond
	)
	if own {
		return ownLeast + rand.N(ownMost-ownLeast)
	}
	return least + rand.N(most-least)
}

// lookup checks requests whose replyto is a name, which may take a while.
func (r *Responder) lookup(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-r.names:
			r.check(ctx, &j)
			select {
			case r.jobs <- j:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (r *Responder) check(ctx context.Context, j *job) {
	j.endpoint, j.refused = j.guard.check(ctx, j.to, j.from.Addr())
}

// publisher gives requests to Publish, and writes the log: all that may take long and needs no answer.
func (r *Responder) publisher(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-r.tally.lines:
			l.write(r.c.Log)
		case j := <-r.jobs:
			r.finish(ctx, j)
		}
	}
}

// handDue gives the publisher what is due. Until then the reader keeps it, who wakes up for it: to wake another goroutine for each request
// would cost a tenth of the time that an answer takes.
func (r *Responder) handDue(now time.Time) {
	if at := r.pendingDue(); at.IsZero() || at.After(now) {
		return
	}
	r.pending = slices.DeleteFunc(r.pending, func(j job) bool {
		due := !j.due.After(now)
		if due && !enqueue(r.jobs, j) {
			r.tally.note(busy, now, func() any { return j.from.String() })
		}
		return due
	})
}

// pendingDue returns when the first request is due, zero if there is none.
func (r *Responder) pendingDue() (at time.Time) {
	for i := range r.pending {
		if due := r.pending[i].due; at.IsZero() || due.Before(at) {
			at = due
		}
	}
	return at
}

// finish publishes one request.
func (r *Responder) finish(ctx context.Context, j job) {
	now := r.c.Now()
	if j.sealed && !r.published.add(j.key, now) {
		r.tally.note(duplicate, now, nil)
		return
	}
	if j.guard != nil && !j.endpoint.Addr.IsValid() && j.refused == nil {
		r.check(ctx, &j)
	}
	if j.refused != nil {
		r.published.drop(j.key)
		r.tally.note(guarded, now, func() any { return j.from.String() + ": " + j.refused.Error() })
		return
	}
	if j.endpoint.Addr.IsValid() {
		if !j.own && !r.brokerRate.allow(j.endpoint.Addr.Addr(), now) {
			r.tally.note(destination, now, func() any { return j.from.String() + " → " + j.endpoint.Addr.String() })
			return
		}
		j.request.Pass = r.c.Passes.Issue(j.request, j.endpoint, now)
	}
	if j.own && j.wide && r.c.Swept != nil {
		r.c.Swept(j.request.ID)
	}
	r.c.Publish(j.request, j.from, j.own)
	r.tally.note(published, now, nil)
}
