package agents

import (
	"encoding/json"
	"sync/atomic"
	"time"

	"rollcall/internal/bus"
	"rollcall/reports"
)

// healthEvery is how often a health that has changed is published at most. All services of a process do so at the same moment, so
// that it costs one wake-up of the processor.
const healthEvery = time.Minute

// health counts what a service does, for its topic status/health. The counters may be used from everywhere; the rest belongs to the
// loop.
type health struct {
	reads, readErrors, events, commands, commandErrors, publishes, failures, connects atomic.Uint64

	since   time.Time
	beat    time.Time
	dropped func() uint64  // by the connection; nil: there is none
	told    reports.Health // what was published last
	due     time.Time      // when what has changed since is; zero: nothing has
}

// now returns the counters.
func (h *health) now() reports.Health {
	out := reports.Health{Since: h.since, Reads: h.reads.Load(), ReadErrors: h.readErrors.Load(), Events: h.events.Load(), Commands: h.commands.Load(),
		CommandErrors: h.commandErrors.Load(), Publishes: h.publishes.Load(), Failures: h.failures.Load(), Connects: h.connects.Load()}
	if h.dropped != nil {
		out.Dropped = h.dropped()
	}
	return out
}

// changed notes whether there is something to be published, and reports whether it is time to.
func (h *health) changed(now time.Time) bool {
	switch {
	case h.now() == h.told:
		h.due = time.Time{}
	case h.due.IsZero():
		h.due = h.beat.Add((now.Sub(h.beat)/healthEvery + 1) * healthEvery)
	}
	return !h.due.IsZero() && !now.Before(h.due)
}

// publishHealth publishes the counters as they are.
func (s *service) publishHealth() {
	s.health.told, s.health.due = s.health.now(), time.Time{}
	payload, err := json.Marshal(s.health.told)
	if err != nil {
		s.log.Error("health", "err", err) // a time beyond the year 9999
		return
	}
	s.out.Keep(bus.Message{Topic: s.topics.To(reports.HealthTail), Payload: payload, QoS: 1, Retained: true})
}

// getHealth answers with the counters, and publishes them.
func (s *service) getHealth(a *asked) {
	s.publishHealth()
	a.done(s.health.told)
}
