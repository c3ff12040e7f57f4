package agents

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

// verbLine finds the verb of a control block that is not JSON.
var verbLine = regexp.MustCompile(`(?m)^verb:[ \t]*["']?(\w+)["']?[ \t]*$`)

// verbOf returns the verb of a control block in JSON or YAML, or "" for any other block.
func verbOf(block []byte) string {
	var c struct {
		Verb string `json:"verb"`
	}
	if json.Unmarshal(block, &c) == nil {
		return c.Verb
	}
	if m := verbLine.FindSubmatch(block); m != nil {
		return string(m[1])
	}
	return ""
}

// control carries out the runner's own verbs and gives every other block to the agent.
func (s *service) control(a *asked) {
	block, _ := a.Value.([]byte) // always, by ParseCommand
	switch verbOf(block) {
	case "poll":
		s.controlPoll(a, block)
		return
	case "refresh":
		s.controlRefresh(a, block)
		return
	}
	if !s.free(a) {
		return
	}
	actuator, ok := s.inst.agent.(Actuator)
	if !ok {
		a.failed(reports.Errorf(reports.CodeUnsupported, "the service knows the verbs poll and refresh only"))
		return
	}
	s.apply(a, func(ctx context.Context) (reports.Reading, error) { return actuator.Apply(ctx, a.Command) })
}

// ownVerb is a control block with one of the runner's own verbs.
type ownVerb struct {
	Verb  string            `yaml:"verb"`
	Path  string            `yaml:"path"`
	Value *reports.Duration `yaml:"value"`
	ID    config.Node       `yaml:"id"`    // read by ask
	Reply config.Node       `yaml:"reply"` // read by ask
}

func parseOwnVerb(block []byte) (ownVerb, error) {
	var v ownVerb
	n, err := config.ParseNode("control", block)
	if err == nil {
		err = n.Decode(&v)
	}
	if err != nil {
		return v, reports.Errorf(reports.CodeBadPayload, "%w", err)
	}
	return v, nil
}

// controlPoll changes how often points are read, until the next start: {"verb":"poll","path":"cpu","value":"5s"}. A path that
// names a branch means all below it; 0s stops the polls.
func (s *service) controlPoll(a *asked, block []byte) {
	v, err := parseOwnVerb(block)
	switch {
	case err != nil:
	case v.Value == nil:
		err = reports.Errorf(reports.CodeBadPayload, `poll needs a value, such as "5s"`)
	case *v.Value != 0 && time.Duration(*v.Value) < minPoll:
		err = reports.Errorf(reports.CodeOutOfRange, "%s is less than %s", v.Value, minPoll)
	}
	if err != nil {
		a.failed(err)
		return
	}
	if !s.free(a) {
		return
	}
	desc := *s.described.Load()
	desc.Points = append([]reports.Point(nil), desc.Points...)
	if len(desc.Below(v.Path)) == 0 {
		a.failed(s.unknown(v.Path))
		return
	}
	if err := s.unpaced(desc.Below(v.Path), time.Duration(*v.Value)); err != nil {
		a.failed(err)
		return
	}
	now, every, changed := time.Now(), time.Duration(*v.Value), map[string]string{}
	for i, p := range desc.Points {
		if s.schedule.points[p.Path] == nil || v.Path != "" && p.Path != v.Path && !strings.HasPrefix(p.Path, v.Path+"/") {
			continue
		}
		f := s.filters[p.Path]
		f.rules = f.rules.polled(every)
		f.point = f.rules.describe(f.own)
		desc.Points[i] = f.point
		s.polls[p.Path] = every
		s.schedule.set(p.Path, every, now)
		changed[p.Path] = every.String()
	}
	if len(changed) == 0 {
		a.failed(reports.Errorf(reports.CodeUnsupported, "%s is not polled", v.Path))
		return
	}
	if err := s.keepDescription(desc); err != nil {
		s.log.Warn("publish description", "err", err) // longer by the digits of an interval
	}
	a.done(changed)
}

// controlRefresh reads every point and publishes everything that is retained again.
func (s *service) controlRefresh(a *asked, block []byte) {
	if _, err := parseOwnVerb(block); err != nil {
		a.failed(err)
		return
	}
	if !s.free(a) {
		return
	}
	desc := *s.described.Load()
	if err := s.keepDescription(desc); err != nil {
		a.failed(err)
		return
	}
	s.out.Keep(s.statusMessage(s.status))
	s.publishFaults()
	for _, f := range s.filters {
		if f.hasSent {
			s.publish(f)
		}
	}
	var paths []string
	for _, p := range desc.Points {
		if p.Access.Has(reports.Get) {
			paths = append(paths, p.Path)
		}
	}
	if _, ok := s.inst.agent.(Sampler); !ok || len(paths) == 0 {
		s.answerValues(a, paths, s.lastKnown(paths))
		return
	}
	s.readFor(a, paths, mostTimeout)
}

// setup has the agent take a new set-up, and describes it anew.
func (s *service) setup(a *asked) {
	doc, _ := a.Value.([]byte) // always, by ParseCommand
	if !s.waiting() && !s.free(a) {
		return
	}
	agent, ok := s.inst.agent.(Setupper)
	if !ok {
		a.failed(reports.Errorf(reports.CodeUnsupported, "the service can't be set up"))
		return
	}
	inst, desc := s.inst, reports.Service{}
	s.begin("setup", setupTimeout,
		func(ctx context.Context) error {
			if err := agent.Setup(ctx, doc); err != nil {
				return err
			}
			desc = inst.agent.Describe()
			return nil
		},
		func(err error) {
			if err != nil {
				s.release()
				a.failed(badSetup(err))
				return
			}
			inst.waits = nil
			if err := s.describe(desc); err != nil {
				s.held = nil
				a.failed(reports.Errorf(reports.CodeDevice, "%w", err))
				s.fail(err)
				return
			}
			s.log.Info("set up", "points", len(desc.Points))
			s.afterSetup(a)
		},
		func(err error) {
			s.call.holds = false
			s.release()
			a.failed(err)
		})
	s.call.holds = true
}

// afterSetup reads and publishes every point, so that the states are there when the set-up is answered.
func (s *service) afterSetup(a *asked) {
	s.release()
	answer := func(error) {
		s.drain()
		a.done(nil)
	}
	paths, timeout := readable(s.described.Load().Points)
	if _, ok := s.inst.agent.(Sampler); !ok || len(paths) == 0 {
		answer(nil)
		return
	}
	s.schedule.due(time.Now()) // this is what is due
	inst, got := s.inst, sampled{}
	s.begin("read after setup", timeout,
		func(ctx context.Context) error { got = inst.sample(ctx, paths, always); return got.panicked },
		func(err error) {
			at := time.Now()
			for _, path := range paths {
				_, _ = s.sampledOne(path, got, at, true) // it notes the fault
			}
			answer(err)
		}, answer) // in time or not, it is set up
}

// badSetup gives an error of Setup its code, unless it has one or says more by itself.
func badSetup(err error) error {
	if _, coded := errors.AsType[*reports.Error](err); coded {
		return err
	}
	if _, panicked := errors.AsType[*panicError](err); panicked {
		return err
	}
	return reports.Errorf(reports.CodeBadSetup, "%w", err)
}

// getSetup answers with the document that would make the present set-up.
func (s *service) getSetup(a *asked) {
	if !s.waiting() && !s.free(a) {
		return
	}
	agent, ok := s.inst.agent.(Setupper)
	if !ok {
		a.failed(reports.Errorf(reports.CodeUnsupported, "the service has no setup"))
		return
	}
	var doc []byte
	s.begin("get setup", commandTimeout,
		func(context.Context) (err error) { doc, err = agent.CurrentSetup(); return err },
		func(err error) {
			if err != nil {
				a.failed(err)
				return
			}
			a.done(string(doc))
		}, a.failed)
}
