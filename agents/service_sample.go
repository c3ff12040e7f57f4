package agents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rollcall/internal/bus"
	"rollcall/reports"
)

// fastPoll is the interval below which states go out at QoS 0: the next one makes up for a lost one.
const fastPoll = time.Second

// starving is how late a sample may be before it goes before a command.
const starving = time.Second

// sampleTimeout is how long a sample of a point that is polled at the interval may take.
func sampleTimeout(every time.Duration) time.Duration {
	if every == 0 {
		return commandTimeout
	}
	return min(every/5*4, mostTimeout)
}

// timeoutOr returns how long a sample may take that the options give so long; 0: as long as is usual, or less where that is polled often.
func timeoutOr(said reports.Duration, usual time.Duration, poll reports.Duration) time.Duration {
	return cmp.Or(time.Duration(said), min(usual, sampleTimeout(time.Duration(poll))))
}

// leastPollFor returns the shortest poll that leaves a sample so much time.
func leastPollFor(timeout time.Duration) time.Duration { return timeout * 5 / 4 }

// overdue reports whether samples have waited too long for the worker.
func (s *service) overdue(now time.Time) bool {
	next := s.schedule.next()
	return s.ready && (len(s.batches) > 0 || !next.IsZero() && now.Sub(next) > starving)
}

// sampleSlice is how long a job that reads one point after the other begins with another.
const sampleSlice = 5 * time.Millisecond

// sampleNext gives the worker the next points that are due. Those that are due together are one job. If the agent can't read them
// together, the job ends before the next point when it has taken a while or a command has come, which need not wait for all of them.
func (s *service) sampleNext(now time.Time) {
	if len(s.batches) == 0 {
		s.batches = s.schedule.due(now)
	}
	if len(s.batches) == 0 {
		return
	}
	paths, every := s.batches[0].paths, s.batches[0].every
	s.batches = s.batches[1:]
	s.sampledLast = true
	more := func() bool { return len(s.inbox) == 0 && time.Since(now) < sampleSlice }
	inst, got := s.inst, sampled{}
	var renewed *reports.Service
	s.begin("sample "+shortList(paths), sampleTimeout(every),
		func(ctx context.Context) error {
			if got = inst.sample(ctx, paths, more); got.panicked == nil {
				renewed = inst.renewed()
			}
			return got.panicked
		},
		func(error) {
			at := time.Now()
			for _, path := range paths[:len(paths)-len(got.left)] {
				s.sampledOne(path, got, at, false)
			}
			if len(got.left) > 0 && s.ready {
				s.batches = slices.Insert(s.batches, 0, batch{every, got.left})
			}
			if renewed != nil && s.ready {
				if err := s.describe(*renewed); err != nil {
					s.fail(err)
				}
			}
		},
		func(error) {})
}

// renewed returns what the agent says of itself if that is something else than before by what it was told or has read, or nil.
// It is called in the worker.
func (i *instance) renewed() *reports.Service {
	n, ok := i.agent.(Renewer)
	if !ok || !n.Renewed() {
		return nil
	}
	desc := i.agent.Describe()
	return &desc
}

// shortList names paths for an error.
func shortList(paths []string) string {
	const most = 3
	if len(paths) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(paths[:most], ", "), len(paths)-most)
	}
	return strings.Join(paths, ", ")
}

// sampled is what came of reading points: each is in one of the maps, or left.
type sampled struct {
	readings map[string]reports.Reading
	errs     map[string]error
	left     []string  // not looked at
	began    time.Time // what has no time was read then or later
	panicked error
}

// sample reads the points, in one call if the agent can, and if not as long as there may be more. It is called in the worker.
func (i *instance) sample(ctx context.Context, paths []string, more func() bool) sampled {
	got := sampled{readings: make(map[string]reports.Reading, len(paths)), errs: map[string]error{}, began: time.Now()}
	if b, ok := i.agent.(BatchSampler); ok {
		var readings []reports.Reading
		err := guard(func() (err error) { readings, err = b.SampleAll(ctx, paths); return err })
		for _, r := range readings {
			got.readings[r.Path] = r
		}
		got.miss(paths, err)
		return got
	}
	for n, path := range paths {
		if n > 0 && !more() {
			got.left = paths[n:]
			break
		}
		err := ctx.Err()
		if err == nil {
			var r reports.Reading
			if err = guard(func() (err error) { r, err = i.agent.(Sampler).Sample(ctx, path); return err }); err == nil {
				got.readings[path] = r
				continue
			}
		}
		got.miss([]string{path}, err)
	}
	return got
}

// always lets sample read all points.
func always() bool { return true }

// errLeftOut is why a point has no reading of which the agent says nothing.
var errLeftOut = errors.New("the agent has left it out")

// miss notes why the paths that have no reading have none: for each the parts of a joined error that begin with its path and a
// colon, and where there is none those that begin with nobody's.
func (got *sampled) miss(paths []string, err error) {
	if p, ok := errors.AsType[*panicError](err); ok {
		got.panicked = p
	}
	own := map[string][]error{}
	for _, part := range partsOf(err) {
		path, why := subject(part)
		if !slices.Contains(paths, path) {
			path, why = "", part
		}
		own[path] = append(own[path], why)
	}
	for _, path := range paths {
		if _, ok := got.readings[path]; !ok {
			got.errs[path] = inTime(cmp.Or(errors.Join(own[path]...), errors.Join(own[""]...), errLeftOut))
		}
	}
}

// partsOf returns the errors that errors.Join has made one of, however deep. An error of several that has words of its own, as
// fmt.Errorf makes it, is one.
func partsOf(err error) []error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		if all := errors.Join(many.Unwrap()...); all != nil && all.Error() == err.Error() {
			var parts []error
			for _, part := range many.Unwrap() {
				parts = append(parts, partsOf(part)...)
			}
			return parts
		}
	}
	return []error{err}
}

// subject takes the path off an error that begins with one.
func subject(err error) (path string, why error) {
	path, rest, _ := strings.Cut(err.Error(), ": ")
	_, coded := err.(*reports.Error)
	if inner := errors.Unwrap(err); inner != nil && !coded && inner.Error() == rest {
		return path, inner
	}
	return path, err
}

// sampledOne takes what came of reading one point, publishes it as its filter says, or whatever it says if now is forced, and
// returns the reading as it is published.
func (s *service) sampledOne(path string, got sampled, at time.Time, forced bool) (reports.Reading, error) {
	err := got.errs[path]
	if err == nil {
		r := got.readings[path]
		if r.Time.IsZero() {
			r.Time = got.began
		}
		if r, err = s.took(path, r, at, forced); err == nil {
			s.health.reads.Add(1)
			s.schedule.ok(path, at)
			return r, nil
		}
	}
	s.health.readErrors.Add(1)
	s.schedule.failed(path, at)
	if f := s.filters[path]; f != nil && !f.stale { // a stale point has said so already, with what was wrong
		s.fault(path, "sample "+path+": "+err.Error())
	}
	return reports.Reading{}, err
}

// drained is how many events are taken at once at most, so that an agent that never stops can't hold up the loop.
const drained = 1024

// drain takes the events that the agent has put on its channel by now.
func (s *service) drain() {
	for range drained {
		select {
		case r, ok := <-s.events:
			if !ok { // finish, or setStuck's call when it comes back, sees to it
				s.events, s.mute = nil, true
				return
			}
			s.event(r, true)
		default:
			return
		}
	}
}

// release takes the events that were held.
func (s *service) release() {
	held := s.held
	s.held = nil
	for _, r := range held {
		s.event(r, true)
	}
}

// disorder is how much older than the last one a reading may be to be taken for one that was overtaken on its way, such as a
// sample by the edge that came after it. With more it is the clock that was set back.
const disorder = 10 * time.Second

// took takes a reading from the agent: calibrates it, publishes it if its filter or the caller says so, and takes the
// point's fault away. It returns what is then known of the point.
func (s *service) took(path string, r reports.Reading, at time.Time, forced bool) (reports.Reading, error) {
	f := s.filters[path]
	if f == nil {
		return r, reports.Errorf(reports.CodeDevice, "the agent has given a value for %.40q, which is no point of it", path)
	}
	if r.Stale && r.Value == nil {
		return r, nil // it has none yet
	}
	r, err := f.take(r, at)
	if err != nil || r.Stale {
		return r, err
	}
	s.cured(path)
	if late := f.last.Time.Sub(r.Time); late > 0 && late < disorder && f.own.Access.Has(reports.Get) {
		r = f.last // each event of a point that has no state counts
	}
	if forced {
		f.force(r, at)
		s.publish(f)
	} else if f.offer(r, at) {
		s.publish(f)
	}
	return r, nil
}

// publish sends the newest value of a point: as retained state if it can be read, as a message of the moment if it is an event.
func (s *service) publish(f *filter) {
	s.health.publishes.Add(1)
	m := bus.Message{Topic: s.topics.To(f.own.Path), Payload: []byte(reports.FormatValue(f.last.Value)), QoS: 1}
	switch {
	case f.own.Access.Has(reports.Get):
		m.Retained = true
		if f.rules.poll > 0 && f.rules.poll < fastPoll {
			m.QoS = 0
		}
		s.out.Keep(m)
	case f.own.Access.Has(reports.Event):
		s.out.Send(m)
	}
}

// tick lets the filters do what is due: publish what waited, publish again, empty what has become stale.
func (s *service) tick(now time.Time) {
	if s.health.changed(now) {
		s.publishHealth()
	}
	for path, f := range s.filters {
		switch f.tick(now) {
		case publish:
			s.publish(f)
		case wentStale:
			s.empty(s.topics.To(path))
			why := ""
			if i := s.faults.index(path); i >= 0 {
				why = ": " + s.faults[i].text
			}
			s.fault(path, fmt.Sprintf("%s is stale, there was no value for %s%s", path, f.rules.staleAfter, why))
		}
	}
}

// event takes a reading that the agent gave by itself.
func (s *service) event(r reports.Reading, ok bool) {
	if !ok {
		s.events = nil
		if s.mute = s.call != nil; !s.mute { // if the worker is at work, finish sees to it
			s.fail(s.muted())
		}
		return
	}
	if s.call != nil && s.call.holds && len(s.held) < drained {
		s.held = append(s.held, r)
		return
	}
	if _, err := s.took(r.Path, r, time.Now(), false); err != nil {
		if s.filters[r.Path] == nil {
			s.log.Warn("event refused", "err", err)
			return
		}
		s.fault(r.Path, "event of "+r.Path+": "+err.Error())
		return
	}
	s.health.events.Add(1)
}
