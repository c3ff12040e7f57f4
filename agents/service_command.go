package agents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"rollcall/internal/bus"
	"rollcall/reports"
)

// asked is a command that waits for its one answer.
type asked struct {
	reports.Command
	s        *service
	answered bool
}

// ask parses a command. With an error it returns what it could read, so that the refusal finds its way.
func (s *service) ask(in intake) (*asked, error) {
	c, err := reports.ParseCommand(in.verb, in.path, in.payload)
	if err == nil && in.verb == "control" {
		err = envelope(&c)
	}
	switch {
	case in.retained:
		err = reports.Errorf(reports.CodeRetained, "a retained message is no command: publish it without the retain flag")
	case in.bad:
		err = reports.Errorf(reports.CodeBadTopic, "the topic is no command topic")
	case err == nil && s.ownTopic(c.Reply):
		err = reports.Errorf(reports.CodeBadTopic, "reply topic %q is below the host's own", c.Reply)
		c.Reply = ""
	}
	return &asked{Command: c, s: s}, err
}

// ownTopic reports whether a topic is below the host's name, where states, statuses and descriptions stand. A stranger who may
// command but not publish there must not have it done by us.
func (s *service) ownTopic(topic string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(topic, "/"), "/")
	return first == s.host
}

// done answers that the command was carried out.
func (a *asked) done(data any) { a.answer(reports.Done(a.Command, data)) }

// failed answers that the command was refused or has failed.
func (a *asked) failed(err error) { a.answer(reports.Failed(a.Command, err)) }

// answer sends the result, once: what comes later, from an agent that was given up, is no longer an answer.
func (a *asked) answer(r reports.Result) {
	if a.answered {
		return
	}
	a.answered = true
	a.s.health.commands.Add(1)
	if !r.OK {
		a.s.health.commandErrors.Add(1)
	}
	payload, err := json.Marshal(r)
	if err == nil && len(payload) > maxMessage {
		err = reports.Errorf(reports.CodeTooLarge, "the result has %d bytes, at most %d are allowed: ask for a branch", len(payload), maxMessage)
	}
	if err != nil {
		payload, _ = json.Marshal(reports.Failed(a.Command, err)) // strings only, which always can be marshalled
	}
	a.s.log.Debug("command", "verb", a.Verb, "path", a.Path, "ok", r.OK, "code", r.Code)
	for _, topic := range []string{a.s.topics.To("result"), a.Reply} {
		if topic != "" {
			a.s.out.Send(bus.Message{Topic: topic, Payload: payload, QoS: 1})
		}
	}
}

// handle carries out a command, or begins to.
func (s *service) handle(in intake) {
	a, err := s.ask(in)
	if err != nil {
		a.failed(err)
		return
	}
	switch a.Verb {
	case "get":
		s.get(a)
	case "set":
		s.set(a)
	case "control":
		s.control(a)
	case "setup":
		s.setup(a)
	}
}

// free reports whether the agent can be asked now, and refuses the command if not.
func (s *service) free(a *asked) bool {
	switch {
	case s.call != nil:
		a.failed(reports.Errorf(reports.CodeBusy, "the device has not returned from %q for %s",
			s.call.what, time.Since(s.call.started).Round(time.Millisecond)))
	case !s.ready:
		text := "the service has no working device at present"
		if i := s.faults.index(faultAgent); i >= 0 {
			text += ": " + s.faults[i].text
		}
		a.failed(reports.Errorf(reports.CodeOffline, "%s", text))
	default:
		return true
	}
	return false
}

// get answers with the description, the set-up, or the values of a point or branch, read afresh where they can be.
func (s *service) get(a *asked) {
	desc := s.described.Load()
	switch a.Path {
	case "description":
		a.done(*desc)
		return
	case "setup":
		s.getSetup(a)
		return
	case reports.HealthTail:
		s.getHealth(a)
		return
	case pathLog, pathLogLive:
		s.getLog(a)
		return
	}
	if !s.ready && !s.free(a) {
		return
	}
	points := desc.Below(a.Path)
	if len(points) == 0 {
		a.failed(s.unknown(a.Path))
		return
	}
	paths, timeout := readable(points)
	if len(paths) == 0 {
		a.failed(reports.Errorf(reports.CodeWriteOnly, "%s can't be read", a.Path))
		return
	}
	if !s.free(a) {
		return
	}
	if _, ok := s.inst.agent.(Sampler); !ok {
		s.answerValues(a, paths, s.lastKnown(paths))
		return
	}
	s.readFor(a, paths, timeout)
}

// readable returns which of the points can be read, and how long that may take together.
func readable(points []reports.Point) (paths []string, timeout time.Duration) {
	for _, p := range points {
		if p.Access.Has(reports.Get) {
			paths = append(paths, p.Path)
			timeout += max(sampleTimeout(time.Duration(p.Poll)), time.Second)
		}
	}
	return paths, min(timeout, mostTimeout)
}

// readFor samples the points for a command, publishes them and answers with them.
func (s *service) readFor(a *asked, paths []string, timeout time.Duration) {
	inst, got := s.inst, sampled{}
	s.begin("get "+shortList(paths), timeout,
		func(ctx context.Context) error { got = inst.sample(ctx, paths, always); return got.panicked },
		func(error) {
			at := time.Now()
			for _, path := range paths {
				r, err := s.sampledOne(path, got, at, true)
				if err != nil {
					got.errs[path] = err
				} else {
					got.readings[path] = r
				}
			}
			s.answerValues(a, paths, got)
		}, a.failed)
}

// lastKnown returns the values that the agent gave by itself.
func (s *service) lastKnown(paths []string) sampled {
	got := sampled{readings: map[string]reports.Reading{}, errs: map[string]error{}}
	for _, path := range paths {
		if f := s.filters[path]; f.last.Value != nil {
			got.readings[path] = f.last
			continue
		}
		got.errs[path] = reports.Errorf(reports.CodeDevice, "%s has no value yet", path)
	}
	return got
}

// answerValues answers a get: with the reading if one point was asked for, and with the readings by path for a branch. What
// of a branch can't be read is there as it was last known, marked stale, and named in the error.
func (s *service) answerValues(a *asked, paths []string, got sampled) {
	if len(paths) == 1 && paths[0] == a.Path {
		if err := got.errs[a.Path]; err != nil {
			a.failed(err)
			return
		}
		a.done(got.readings[a.Path])
		return
	}
	data := map[string]reports.Reading{}
	var errs []error
	for _, path := range paths {
		err := got.errs[path]
		if err == nil {
			data[path] = got.readings[path]
			continue
		}
		errs = append(errs, fmt.Errorf("%s: %w", path, err))
		if f := s.filters[path]; f != nil && f.last.Value != nil {
			last := f.last
			last.Stale = true
			data[path] = last
		}
	}
	if len(errs) > 0 && len(errs) == len(paths) {
		a.failed(reports.Errorf(reports.CodeOf(errs[0]), "%w", errors.Join(errs...)))
		return
	}
	result := reports.Done(a.Command, data)
	if len(errs) > 0 {
		result.Error = errors.Join(errs...).Error()
	}
	a.answer(result)
}

// unknown refuses a path and names what there is.
func (s *service) unknown(path string) error {
	const most = 8
	var paths []string
	for _, p := range s.described.Load().Points {
		paths = append(paths, p.Path)
	}
	more := ""
	if len(paths) > most {
		paths, more = paths[:most], ", …"
	}
	return reports.Errorf(reports.CodeUnknown, "%.80q is no point of this service; it has %s%s", path, strings.Join(paths, ", "), more)
}

// set checks a set against its point and has the agent apply it.
func (s *service) set(a *asked) {
	if !s.ready && !s.free(a) {
		return
	}
	value, err := s.checkSet(a)
	if err != nil {
		a.failed(err)
		return
	}
	if !s.free(a) {
		return
	}
	actuator, ok := s.inst.agent.(Actuator)
	if !ok {
		a.failed(reports.Errorf(reports.CodeUnsupported, "the service takes no set"))
		return
	}
	inst, f := s.inst, s.filters[a.Path]
	last, known := f.last.Value, !f.stale
	s.apply(a, func(ctx context.Context) (reports.Reading, error) {
		c := a.Command
		if _, knows := actuator.(Toggler); value == reports.Toggle && !knows {
			present, err := inst.present(ctx, c.Path, last, known)
			if err != nil {
				return reports.Reading{}, err
			}
			value = !present
		}
		c.Value = f.uncalibrate(value)
		r, err := actuator.Apply(ctx, c)
		if r.Path == "" {
			r.Path = c.Path
		}
		return r, err
	})
}

// checkSet returns the value that a set asks for, in the type of its point, or why it can't be.
func (s *service) checkSet(a *asked) (any, error) {
	f := s.filters[a.Path]
	if f == nil {
		return nil, s.unknown(a.Path)
	}
	if !f.point.Access.Has(reports.Set) {
		return nil, reports.Errorf(reports.CodeReadOnly, "%s can't be set", a.Path)
	}
	for _, key := range slices.Sorted(maps.Keys(a.Args)) {
		if !slices.Contains(f.point.Args, key) {
			known := strings.Join(append([]string{"value", "id", "reply"}, f.point.Args...), ", ")
			return nil, reports.Errorf(reports.CodeBadPayload, "unknown key %.40q; known are %s", key, known)
		}
	}
	return f.point.ParseValue(a.Value)
}

// present returns the value of a bool point, for TOGGLE: read afresh where it can be.
func (i *instance) present(ctx context.Context, path string, last any, known bool) (bool, error) {
	if sampler, ok := i.agent.(Sampler); ok {
		r, err := sampler.Sample(ctx, path)
		if err != nil {
			return false, reports.Errorf(reports.CodeOf(inTime(err)), "TOGGLE needs the present value of %s: %w", path, err)
		}
		last, known = r.Value, true
	}
	present, ok := last.(bool)
	if !ok || !known {
		return false, reports.Errorf(reports.CodeDevice, "TOGGLE needs the present value of %s, which is not known", path)
	}
	return present, nil
}

// apply has the agent carry out a set or a control, publishes what has changed and what was read back, whatever the filters
// say, and answers.
func (s *service) apply(a *asked, work func(context.Context) (reports.Reading, error)) {
	var r reports.Reading
	var renewed *reports.Service
	inst := s.inst
	s.beginApply(strings.TrimSpace(a.Verb+" "+a.Path), commandTimeout,
		func(ctx context.Context) (err error) {
			if r, err = work(ctx); r.Time.IsZero() {
				r.Time = time.Now() // what happens before the loop has it is newer
			}
			renewed = inst.renewed()
			return err
		},
		func(err error) {
			if renewed != nil && s.ready {
				if wrong := s.describe(*renewed); wrong != nil {
					a.failed(reports.Errorf(reports.CodeDevice, "%w", wrong))
					s.fail(wrong)
					return
				}
				if err == nil && r.Path == "" {
					s.afterSetup(a)
					return
				}
			}
			s.drain()
			if err == nil && r.Path != "" && r.Value != nil {
				r, err = s.took(r.Path, r, time.Now(), true)
				runtime.Gosched() // lets the state leave before the answer is made
			}
			switch {
			case err != nil:
				s.log.Info("command failed", "verb", a.Verb, "path", a.Path, "err", err)
				a.failed(err)
			case r.Path != "" && r.Value != nil:
				a.done(r)
			default:
				a.done(r.Value)
			}
		}, a.failed)
}
