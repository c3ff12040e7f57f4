package agentstest

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rollcall/agents"
	"rollcall/reports"
)

// checkApply sets every point that can be read and set to the value that it has, and tries what can't be done.
func (s suite) checkApply(t *testing.T) {
	a := s.start(t)
	actuator, ok := a.(agents.Actuator)
	if !ok {
		t.Skip("the agent is no Actuator")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if sampler, ok := a.(agents.Sampler); ok {
		for _, p := range readable(a.Describe()) {
			if !p.Access.Has(reports.Set) {
				continue
			}
			now, err := sampler.Sample(ctx, p.Path)
			if err != nil {
				t.Errorf("Sample(%s): %v", p.Path, err)
				continue
			}
			value := now.Value
			if parsed, err := p.ParseValue(reports.FormatValue(value)); err == nil {
				value = parsed // as it comes from the runner
			}
			r, err := actuator.Apply(ctx, reports.Command{Verb: "set", Path: p.Path, Value: value})
			if err == nil {
				err = checkReading(p, r)
			}
			if err != nil || reports.FormatValue(r.Value) != reports.FormatValue(now.Value) {
				t.Errorf("set %s to %v, which it had, reads back %v, %v", p.Path, now.Value, r.Value, err)
			}
		}
	}
	before := a.Describe()
	for _, c := range []reports.Command{
		{Verb: "set", Path: "no/such/point", Value: true},
		{Verb: "control", Value: []byte("no_such_verb")},
		{Verb: "control", Value: []byte(`{"verb":"no_such_verb"}`)},
		{Verb: "control", Value: []byte{}},
	} {
		if r, err := actuator.Apply(ctx, c); err == nil {
			t.Errorf("Apply(%s %q %s) = %+v, want an error", c.Verb, c.Path, quote(c.Value), r)
		}
	}
	if diff := cmp.Diff(before, a.Describe()); diff != "" {
		t.Errorf("what was refused has changed the description:\n%s", diff)
	}
}

// checkSetup sets the agent up as it is, refuses a bad document whole, and finds the set-up again after a restart.
func (s suite) checkSetup(t *testing.T) {
	a := s.start(t)
	agent, ok := a.(agents.Setupper)
	if !ok {
		t.Skip("the agent is no Setupper")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	current := func(agent agents.Setupper) string {
		t.Helper()
		doc, err := agent.CurrentSetup()
		if err != nil {
			t.Fatalf("CurrentSetup: %v", err)
		}
		return string(doc)
	}
	doc, desc := current(agent), a.Describe()
	unchanged := func(after string) {
		t.Helper()
		if diff := cmp.Diff(doc, current(agent)); diff != "" {
			t.Errorf("%s, the set-up is another:\n%s", after, diff)
		}
		if diff := cmp.Diff(desc, a.Describe()); diff != "" {
			t.Errorf("%s, the description is another:\n%s", after, diff)
		}
	}
	for _, bad := range []string{"no_such_key: 1", "{", "[]", "just words", "\x00", doc + "\nno_such_key: 1\n"} {
		if err := agent.Setup(ctx, []byte(bad)); err == nil {
			t.Errorf("Setup(%q) is not refused", bad)
		}
		unchanged("after a set-up that was refused")
	}
	if err := agent.Setup(ctx, []byte(doc)); err != nil {
		t.Fatalf("Setup refuses what CurrentSetup gave:\n%s\n%v", doc, err)
	}
	unchanged("after the set-up that was in force already")
	if err := a.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	again := s.start(t)
	if diff := cmp.Diff(doc, current(again.(agents.Setupper))); diff != "" {
		t.Errorf("after a restart the set-up is another:\n%s", diff)
	}
	if diff := cmp.Diff(desc, again.Describe()); diff != "" {
		t.Errorf("after a restart the description is another:\n%s", diff)
	}
}

// checkClose closes the agent twice, and waits for the end of its events.
func (s suite) checkClose(t *testing.T) {
	a := s.start(t)
	n, notifies := a.(agents.Notifier)
	var events <-chan reports.Reading
	if notifies {
		if events = n.Events(); events != n.Events() {
			t.Error("Events returns another channel the second time")
		}
	}
	for range 2 {
		if err := a.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	for notifies {
		select {
		case _, notifies = <-events:
		case <-late.C:
			t.Fatal("the channel of events is still open after Close")
		}
	}
	_ = a.Describe() // must still be safe
}

// quote returns the value of a command for an error.
func quote(v any) string {
	if b, ok := v.([]byte); ok {
		return strconv.Quote(string(b))
	}
	return fmt.Sprint(v)
}
