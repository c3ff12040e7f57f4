package agents

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"rollcall/reports"
)

// Bounds of a call to an agent.
const (
	makeTimeout    = 5 * time.Second  // to construct an agent, for which there is no context
	commandTimeout = 5 * time.Second  // a set, a control, a sample of a point that is not polled
	setupTimeout   = 10 * time.Second // a setup, which may open every line of a chip
	mostTimeout    = 10 * time.Second // a sample of a slow point
	closeTimeout   = 2 * time.Second  // what a stop waits for
)

// instance is an agent with the worker from which all its methods are called, one at a time.
type instance struct {
	agent Agent
	waits Setupper    // the agent, if it came with an error and can do nothing but take a set-up
	link  *link       // of the agent; nil: it has none
	jobs  chan func() // has room for one: a job is only given to an idle worker
}

func newInstance(l *link) *instance {
	i := &instance{link: l, jobs: make(chan func(), 1)}
	go i.work() // ends with retire; an agent that never returns from a call keeps it, which is said in the log
	return i
}

func (i *instance) work() {
	for job := range i.jobs {
		job()
	}
}

// retire ends the worker after its present job, and the link of its agent.
func (i *instance) retire() {
	i.link.end()
	close(i.jobs)
}

// abandon leaves an agent that does not return, and has the worker close it should it ever.
func (i *instance) abandon(outcomes <-chan error) {
	i.jobs <- func() {
		<-outcomes // nobody waits for it any more
		if i.agent != nil {
			_ = guard(i.agent.Close) // nobody is left to be told
		}
	}
	i.retire()
}

// call is what the worker is doing.
type call struct {
	what    string
	started time.Time
	stuckAt time.Time
	stuck   bool
	holds   bool // events wait for its end
	cancel  context.CancelFunc
	then    func(error) // called by the loop with what the agent's method returned, however late
	giveUp  func(error) // called by the loop, before then, if the method did not return in time
}

// panicError is a panic in an agent's method.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// errMute is why an agent is made anew whose channel of events has ended without its Close.
var errMute = errors.New("the agent has stopped giving events")

// guard calls f and makes an error of its panic.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return f()
}

// begin has the worker do work, with a context of the timeout. When it has returned, then is called in the loop; when it does
// not return in time, in spite of its context, giveUp is called first, and the agent counts as stuck until it does.
func (s *service) begin(what string, timeout time.Duration, work func(context.Context) error, then, giveUp func(error)) {
	job := s.job(what, timeout, work, then, giveUp)
	s.inst.jobs <- func() { s.outcomes <- job() }
}

// lentMost is how long an agent may have the goroutine of the loop. A timer that ends before all others costs a system call, so this
// is no shorter than somebody would notice.
const lentMost = 100 * time.Millisecond

// beginApply is begin, but an agent that is Prompt works in the goroutine of the loop, which saves two switches. If that takes long,
// another goroutine takes the loop over, and this one ends with the work: no field of s may be touched after beginApply.
func (s *service) beginApply(what string, timeout time.Duration, work func(context.Context) error, then, giveUp func(error)) {
	if _, ok := s.inst.agent.(Prompt); !ok {
		s.begin(what, timeout, work, then, giveUp)
		return
	}
	job := s.job(what, timeout, work, then, giveUp)
	s.lent.Store(true)
	s.relief.Reset(lentMost)
	err := job()
	if !s.lent.CompareAndSwap(true, false) {
		s.outcomes <- err
		runtime.Goexit()
	}
	s.relief.Stop()
	s.finish(err)
}

// job makes work the present call, and returns what carries it out.
func (s *service) job(what string, timeout time.Duration, work func(context.Context) error, then, giveUp func(error)) func() error {
	now := time.Now()
	ctx := &callContext{Context: s.ctx, at: now.Add(timeout)}
	grace := min(max(timeout/4, 20*time.Millisecond), time.Second)
	s.call = &call{what: what, started: now, stuckAt: now.Add(timeout + grace), cancel: ctx.cancel, then: then, giveUp: giveUp}
	return func() error { return guard(func() error { return work(ctx) }) }
}

// finish ends the present call with what it returned.
func (s *service) finish(err error) {
	c := s.call
	s.call = nil
	c.cancel()
	if c.stuck {
		s.log.Warn("agent returned at last", "call", c.what, "after", time.Since(c.started).Round(time.Millisecond))
		s.cured(faultStuck)
	}
	c.then(inTime(err))
	if p, ok := errors.AsType[*panicError](err); ok {
		s.log.Error("agent panicked", "call", c.what, "err", p, "stack", string(p.stack))
		if s.inst != nil { // nil: it was in its Close
			s.inst.waits = nil
			s.fail(fmt.Errorf("%s: %w", c.what, p))
		}
	}
	if s.mute && s.call == nil && s.ready {
		s.fail(s.muted())
	}
}

// muted returns why the agent gives no events any more.
func (s *service) muted() error {
	f, ok := s.inst.agent.(Failer)
	if !ok {
		return errMute
	}
	var why error
	if err := guard(func() error { why = f.Err(); return nil }); err != nil {
		why = err
	}
	if why == nil {
		return errMute
	}
	return fmt.Errorf("%w: %w", errMute, why)
}

// setStuck marks the present call as one that does not come back.
func (s *service) setStuck() {
	c := s.call
	c.stuck = true
	took := time.Since(c.started).Round(time.Millisecond)
	s.log.Warn("agent does not return", "call", c.what, "after", took)
	s.fault(faultStuck, fmt.Sprintf("%s: has not returned for %s", c.what, took))
	c.giveUp(reports.Errorf(reports.CodeTimeout, "%s: the device did not answer within %s", c.what, took))
}

// inTime gives an error that comes from the end of a context the code that says so.
func inTime(err error) error {
	if _, coded := errors.AsType[*reports.Error](err); coded {
		return err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return reports.Errorf(reports.CodeTimeout, "the device did not answer in time: %w", err)
	case errors.Is(err, context.Canceled):
		return reports.Errorf(reports.CodeOffline, "the service is being stopped: %w", err)
	}
	return err
}

// make begins to construct the agent.
func (s *service) make() {
	s.unlink()
	s.inst = newInstance(s.links.open())
	s.retryAt = time.Time{}
	inst, desc := s.inst, reports.Service{}
	heir, refused := s.handover.heir, error(nil)
	s.handover.heir = nil
	if heir != nil {
		inst.agent = heir
	}
	s.begin("start", makeTimeout, func(context.Context) error {
		agent, why, err := s.handover.make(heir, s.entry, s.entry.with(s.log, inst.link))
		refused = why
		if err != nil {
			if setupper, ok := agent.(Setupper); ok {
				inst.agent, inst.waits = agent, setupper
			}
			return err
		}
		if agent == nil {
			return errors.New("the factory made no agent")
		}
		inst.agent = agent
		desc = agent.Describe()
		return nil
	}, func(err error) {
		if err == nil {
			err = s.describe(desc)
			s.refuse(refused)
		}
		if _, panicked := errors.AsType[*panicError](err); err != nil && !panicked { // finish sees to a panic
			s.fail(fmt.Errorf("start: %w", err))
		}
		s.started()
	}, func(error) { s.started() })
}

// started says that the first attempt has come to an end.
func (s *service) started() {
	select {
	case <-s.first:
	default:
		close(s.first)
	}
}

// fail takes the agent out of service because of err and sets the time for the next attempt. The agent is closed, or, if it
// only waits for a set-up, kept until then. The status is offline in both cases: whoever looks at a sweep or switches by the
// status wants to know whether the service does its work, and this one does none of it. That it can be cured by a set-up, and
// how, stands on the error topic.
func (s *service) fail(err error) {
	now := time.Now()
	if !s.since.IsZero() && now.Sub(s.since) > backoffMost {
		s.failures = 0
	}
	s.failures++
	s.health.failures.Add(1)
	s.since = time.Time{}
	wait := backoff(backoffLeast, s.failures, backoffMost, s.schedule.jitter())
	s.log.Warn("agent failed", "err", err, "retry_in", wait.Round(time.Millisecond))
	s.ready, s.mute, s.events, s.batches = false, false, nil, nil
	s.setStatus(reports.Offline)
	s.fault(faultAgent, err.Error())
	s.retryAt = now.Add(wait)
	if !s.waiting() {
		s.closeAgent()
	}
}

// waiting reports whether there is an agent that came with an error and waits for a set-up.
func (s *service) waiting() bool { return s.call == nil && s.inst != nil && s.inst.waits != nil }

// closeAgent closes the agent that there may be and lets its worker go.
func (s *service) closeAgent() {
	inst := s.inst
	if inst.agent == nil {
		inst.retire()
		s.inst = nil
		return
	}
	s.begin("close", closeTimeout, func(context.Context) error { return inst.agent.Close() }, func(err error) {
		if err != nil {
			s.log.Warn("close agent", "err", err)
		}
		s.drain() // what its outputs were left as
		s.ready, s.mute = false, false
		inst.agent = nil
		inst.retire()
		s.inst = nil
	}, func(error) { inst.link.end() })
}

// callContext is the context of a call. It has no timer before somebody waits for its end, since most calls are over at once.
type callContext struct {
	context.Context
	at time.Time

	mu    sync.Mutex
	timed context.Context // made by Done
	stop  context.CancelFunc
	ended bool
}

// Deadline implements context.Context.
func (c *callContext) Deadline() (time.Time, bool) { return c.at, true }

// Done implements context.Context.
func (c *callContext) Done() <-chan struct{} { return c.deadline().Done() }

// Err implements context.Context.
func (c *callContext) Err() error {
	c.mu.Lock()
	timed, ended := c.timed, c.ended
	c.mu.Unlock()
	switch {
	case timed != nil:
		return timed.Err()
	case ended:
		return context.Canceled
	case c.Context.Err() != nil:
		return c.Context.Err()
	case !time.Now().Before(c.at):
		return context.DeadlineExceeded
	}
	return nil
}

// deadline returns the context that ends as this one does.
func (c *callContext) deadline() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.stop = context.WithDeadline(c.Context, c.at)
		if c.ended {
			c.stop()
		}
	}
	return c.timed
}

// cancel ends it.
func (c *callContext) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.stop != nil {
		c.stop()
	}
}
