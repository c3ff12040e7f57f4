package agents

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/reports"
)

// waitingAgents makes agents that come with an error until one is fixed, and remembers them.
type waitingAgents struct {
	mu    sync.Mutex
	made  []*fakeAgent
	fixed bool
	equip func(*fakeAgent)
}

func (w *waitingAgents) make() (Agent, error) {
	a := newFake()
	if w.equip != nil {
		w.equip(a)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made = append(w.made, a)
	if w.fixed {
		return a, nil
	}
	return a, errors.New("saved set-up: s.setup.yaml:3: pin: no such line")
}

// fix lets the agents that are made from now on work.
func (w *waitingAgents) fix() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fixed = true
}

// closed returns how often each agent was closed.
func (w *waitingAgents) closed() (n []int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.made {
		a.mu.Lock()
		n = append(n, a.closed)
		a.mu.Unlock()
	}
	return n
}

func TestAgentThatWaitsForASetup(t *testing.T) {
	t.Parallel()
	w := &waitingAgents{}
	inBubble(t, nil, w.make, func(b *bench) {
		const fault = "start: saved set-up: s.setup.yaml:3: pin: no such line"
		b.wantState("status", "offline")
		b.wantState("error", fault)
		b.wantState("relay", "")
		select {
		case <-b.first:
		default:
			t.Error("first is still open")
		}
		for tail, payload := range map[string]string{"set/relay": "ON", "get/relay": "", "get": "", "control": `{"verb":"x"}`} {
			b.do(tail, payload)
			if r := b.wantCodes(reports.CodeOffline); len(r) == 1 && !strings.HasSuffix(r[0].Error, fault) {
				t.Errorf("%s: %s, want why", tail, r[0].Error)
			}
		}
		b.do("get/setup", "")
		if r := b.wantCodes(""); r[0].Data != "a: 1\n" {
			t.Errorf("get/setup: %+v", r)
		}
		b.do("setup", "a: 2\n")
		b.wantCodes("")
		b.wantState("status", "online")
		b.wantState("error", "")
		b.wantState("relay", "OFF")
		b.after(time.Hour)
		if n := w.closed(); !slices.Equal(n, []int{0}) {
			t.Errorf("agents were closed %v times, want one that stays", n)
		}
	})
}

// A set-up that is refused leaves all as it is; meanwhile the agent is made anew from time to time, and works once it can.
func TestAgentThatWaitsIsMadeAnew(t *testing.T) {
	t.Parallel()
	w := &waitingAgents{equip: func(a *fakeAgent) {
		a.onSetup = func(context.Context, []byte) error { return errors.New("setup:1: no") }
	}}
	inBubble(t, nil, w.make, func(b *bench) {
		b.do("setup", "a: 2\n")
		b.wantCodes(reports.CodeBadSetup)
		b.wantState("status", "offline")
		b.after(10 * time.Minute)
		if n := len(w.closed()); n < 10 || n > 20 {
			t.Errorf("%d agents in 10 minutes, want a back-off up to one a minute", n)
		}
		w.fix()
		b.after(time.Minute)
		b.wantState("status", "online")
		b.wantState("error", "")
		n := w.closed()
		for i, times := range n {
			if want := min(1, len(n)-1-i); times != want {
				t.Errorf("agent %d of %d was closed %d times, want %d", i+1, len(n), times, want)
			}
		}
	})
}

func TestAgentThatWaitsAndPanics(t *testing.T) {
	t.Parallel()
	w := &waitingAgents{equip: func(a *fakeAgent) {
		a.onSetup = func(context.Context, []byte) error { panic("boom") }
	}}
	inBubble(t, nil, w.make, func(b *bench) {
		b.do("setup", "a: 2\n")
		b.wantCodes(reports.CodeDevice)
		b.wantState("error", "setup: panic: boom")
		if w.closed()[0] != 1 {
			t.Error("the agent that panicked was not closed")
		}
		w.fix()
		b.after(time.Minute)
		b.wantState("status", "online")
	})
}

// A description that can't be, after the set-up, takes the agent out of service like any other.
func TestAgentThatWaitsAndDescribesBadly(t *testing.T) {
	t.Parallel()
	w := &waitingAgents{}
	w.equip = func(a *fakeAgent) {
		a.onSetup = func(context.Context, []byte) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.points[0].Path = "set/x"
			return nil
		}
	}
	inBubble(t, nil, w.make, func(b *bench) {
		b.do("setup", "a: 2\n")
		b.wantCodes(reports.CodeDevice)
		b.wantState("status", "offline")
		if w.closed()[0] != 1 {
			t.Error("the agent was not closed")
		}
	})
}

// What comes with an error and takes no set-up is of no use.
func TestAgentWithErrorThatTakesNoSetup(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func() (Agent, error) { return onlySampler{newFake()}, errors.New("no device") }, func(b *bench) {
		b.wantState("error", "start: no device")
		b.do("setup", "a: 2\n")
		b.wantCodes(reports.CodeOffline)
		b.after(time.Hour)
		b.wantState("status", "offline")
	})
}
