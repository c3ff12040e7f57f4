package agents

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"rollcall/internal/bus"
	"rollcall/reports"
)

// loop runs the service until ctx ends. It never waits for the agent: a call that does not come back leaves it free to answer.
func (s *service) loop(ctx context.Context) {
	s.ctx = ctx
	s.out.Keep(s.statusMessage(reports.Offline))
	s.timer = time.NewTimer(0)
	s.relief = time.AfterFunc(time.Hour, func() {
		if s.lent.CompareAndSwap(true, false) {
			s.rounds()
		}
	})
	s.relief.Stop()
	go s.rounds() // or who has relieved it closes over
	<-s.over
}

// rounds is the loop.
func (s *service) rounds() {
	for s.ctx.Err() == nil {
		s.work(time.Now())
		s.timer.Reset(s.untilNext(time.Now()))
		var inbox <-chan intake
		if s.call == nil || s.call.stuck {
			inbox = s.inbox
		}
		select {
		case <-s.ctx.Done():
		case in := <-inbox:
			s.sampledLast = false
			s.handle(in)
		case err := <-s.outcomes:
			s.finish(err)
		case r, ok := <-s.events:
			s.event(r, ok)
			runtime.Gosched() // lets the state leave before what else is due
		case m := <-s.retained:
			s.found(m)
		case n := <-s.links.notes:
			s.linkNote(n)
		case s.alive <- struct{}{}:
		case <-s.timer.C:
		}
	}
	s.stop()
	s.timer.Stop()
	s.relief.Stop()
	close(s.over)
}

// work does what is due: it lets the filters have their turn and gives the idle worker its next job.
func (s *service) work(now time.Time) {
	if s.call != nil && !s.call.stuck && !now.Before(s.call.stuckAt) {
		s.setStuck()
	}
	s.tick(now)
	switch {
	case s.call != nil:
	case len(s.inbox) > 0 && (s.sampledLast || !s.overdue(now)):
		// Commands go before samples, but can't keep them off for ever.
	case s.inst == nil && !now.Before(s.retryAt):
		s.make()
	case s.waiting() && !now.Before(s.retryAt):
		s.closeAgent()
	case s.ready:
		s.sampleNext(now)
	}
}

// untilNext returns how long the loop may wait for something to happen.
func (s *service) untilNext(now time.Time) time.Duration {
	var at time.Time
	switch {
	case s.call != nil && !s.call.stuck:
		at = s.call.stuckAt
	case s.call == nil && (s.inst == nil || s.waiting()):
		at = s.retryAt
	case s.call == nil && s.ready:
		at = s.schedule.next()
	}
	for _, f := range s.filters {
		if next := f.next(); !next.IsZero() {
			at = earlier(at, next)
		}
	}
	if due := s.health.due; !due.IsZero() {
		at = earlier(at, due)
	}
	if at.IsZero() {
		return time.Hour // nothing is due by itself
	}
	return max(at.Sub(now), 0)
}

// stop ends what the worker is doing, refuses what still waits, and closes the agent.
func (s *service) stop() {
	defer s.close()
	grace := time.NewTimer(closeTimeout - lentMost) // an agent may have kept the loop for as long
	defer grace.Stop()
	for range 2 { // the present call, then the close of the agent
		if s.call != nil {
			select {
			case err := <-s.outcomes:
				s.finish(err)
			case <-grace.C:
				s.log.Error("agent does not return; it is left as it is", "call", s.call.what)
				s.call.giveUp(reports.Errorf(reports.CodeOffline, "%s: the service is being stopped", s.call.what))
				s.inst.abandon(s.outcomes)
				s.started()
				return
			}
		}
		if s.call == nil && s.inst != nil && !s.leave() {
			s.closeAgent()
		}
	}
	s.started()
}

// describe takes the agent into service, or its new description after a setup: it publishes the description and the status,
// empties the topics of points that are gone, and has every point sampled.
func (s *service) describe(desc reports.Service) error {
	now := time.Now()
	desc.Name = s.entry.name
	if desc.Function == "" {
		desc.Function = s.entry.kind
	}
	desc.Points = slices.Clone(desc.Points)
	desc = desc.On(s.host)
	if err := desc.Validate(); err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	_, sampled := s.inst.agent.(Sampler)
	filters, sched := map[string]*filter{}, newSchedule(s.schedule.beat, s.schedule.jitter)
	for i, p := range desc.Points {
		f := s.filterFor(p, now)
		filters[p.Path], desc.Points[i] = f, f.point
		if sampled && p.Access.Has(reports.Get) {
			sched.set(p.Path, f.rules.poll, now)
		}
	}
	if err := s.keepDescription(desc); err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	s.filters, s.schedule, s.batches = filters, sched, nil
	s.warnUnused(desc)
	s.emptyGone()
	if n, ok := s.inst.agent.(Notifier); ok {
		s.events = n.Events()
	}
	s.ready, s.since = true, now
	s.faults.keep(func(key string) bool {
		return key == faultStuck || filters[key] != nil || strings.HasPrefix(key, faultLink)
	})
	s.publishFaults()
	s.setStatus(reports.Online)
	return nil
}

// maxMessage is how long a message to the broker may be: above 128 KiB the embedded broker neither retains nor queues it.
const maxMessage = 120 * 1024

// warnUnused says which keys of "points" in the configuration match no point: a slip, or a point that is not there now.
func (s *service) warnUnused(desc reports.Service) {
	for pattern := range s.entry.points {
		if !slices.ContainsFunc(desc.Points, func(p reports.Point) bool { return matches(pattern, p.Path) }) {
			s.log.Warn("points in the configuration match no point", "pattern", pattern)
		}
	}
}

// keepDescription publishes the description and remembers it.
func (s *service) keepDescription(desc reports.Service) error {
	payload, err := json.Marshal(desc)
	if err != nil {
		return err
	}
	if len(payload) > maxMessage {
		return fmt.Errorf("%d points make a description of %d bytes, at most %d are allowed", len(desc.Points), len(payload), maxMessage)
	}
	s.described.Store(&desc)
	s.out.Keep(bus.Message{Topic: s.topics.To("description"), Payload: payload, QoS: 1, Retained: true})
	return nil
}

// filterFor returns the filter of a point: the one that there is, with all that it remembers, if the point is the same.
func (s *service) filterFor(p reports.Point, now time.Time) *filter {
	r := s.pace(p, rulesFor(p, s.entry.points))
	if every, ok := s.polls[p.Path]; ok {
		r = r.polled(every)
	}
	if f := s.filters[p.Path]; f != nil && f.own.Type == p.Type && f.own.Unit == p.Unit && f.own.Access == p.Access {
		f.own, f.rules, f.point, f.again = p, r, r.describe(p), true
		return f
	}
	return newFilter(p, r, now)
}

// found takes what stands on the service's own topics at the broker: the description that an earlier run has left, whose
// points may be gone, and a status that is not ours, such as the last will of that run which came late.
func (s *service) found(m bus.Message) {
	if m.Topic == s.topics.To("status") {
		if string(m.Payload) != string(s.status) {
			s.out.Keep(s.statusMessage(s.status))
		}
		return
	}
	var old reports.Service
	if !m.Retained || json.Unmarshal(m.Payload, &old) != nil {
		return // our own, as it was just published; or what someone else has left there
	}
	for _, p := range old.Points {
		if p.Access.Has(reports.Get) && reports.ValidPath(p.Path) == nil {
			s.ghosts[p.Path] = true
		}
	}
	if s.ready {
		s.emptyGone()
	}
}

// emptyGone empties the topics of points that are no more.
func (s *service) emptyGone() {
	for path := range s.ghosts {
		if f := s.filters[path]; f == nil || !f.own.Access.Has(reports.Get) {
			s.empty(s.topics.To(path))
			delete(s.ghosts, path)
		}
	}
	for path, f := range s.filters {
		if f.own.Access.Has(reports.Get) {
			s.ghosts[path] = true
		}
	}
}

// setStatus publishes the status if it is another.
func (s *service) setStatus(status reports.Status) {
	if s.status == status {
		return
	}
	s.status = status
	s.log.Info("status", "status", status)
	s.out.Keep(s.statusMessage(status))
	s.publishHealth()
}

// fault puts an error on the error topic, under a key by which it is cured.
func (s *service) fault(key, text string) {
	if s.faults.set(key, text) {
		s.log.Warn("fault", "about", key, "err", text)
		s.publishFaults()
	}
}

// cured takes the error with the key off the error topic.
func (s *service) cured(key string) {
	if s.faults.clear(key) {
		s.log.Info("fault cured", "about", key)
		s.publishFaults()
	}
}

func (s *service) publishFaults() {
	s.out.Keep(bus.Message{Topic: s.topics.To("error"), Payload: []byte(s.faults.text()), QoS: 1, Retained: true})
}
