package agents

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/reports"
)

func TestConstructorThatFails(t *testing.T) {
	t.Parallel()
	var tries atomic.Int64
	inBubble(t, nil, func() (Agent, error) {
		switch tries.Add(1) {
		case 1:
			return nil, errors.New("chip is missing")
		case 2:
			panic("broken driver")
		case 3:
			return nil, nil
		}
		return newFake(), nil
	}, func(b *bench) {
		b.wantState("status", "offline")
		b.wantState("error", "start: chip is missing")
		b.do("set/relay", "ON")
		b.do("get", "")
		b.do("control", "x")
		b.do("setup", "x")
		b.do("get/description", "")
		b.wantCodes(reports.CodeOffline, reports.CodeOffline, reports.CodeOffline, reports.CodeOffline, "")
		b.after(1100 * time.Millisecond)
		b.wantState("error", "start: panic: broken driver")
		b.after(10 * time.Second)
		b.wantState("status", "online")
		b.wantState("error", "")
		if n := tries.Load(); n != 4 {
			t.Errorf("%d attempts, want 4", n)
		}
	})
}

func TestConstructorIsRetriedWithBackoff(t *testing.T) {
	t.Parallel()
	var tries atomic.Int64
	inBubble(t, nil, func() (Agent, error) { tries.Add(1); return nil, errors.New("no") }, func(b *bench) {
		b.after(time.Hour)
		if n := tries.Load(); n < 60 || n > 75 {
			t.Errorf("%d attempts in an hour, want one a minute and a few at first", n)
		}
	})
}

func TestBadDescriptionIsAFailure(t *testing.T) {
	t.Parallel()
	many := newFake()
	for range 2000 {
		many.points = append(many.points, reports.Point{Path: strings.Repeat("x", 100), Type: reports.Int, Access: reports.Get})
	}
	twice, big := newFake(), newFake()
	twice.points = append(twice.points, twice.points[0])
	for i := range 2000 {
		big.points = append(big.points, reports.Point{Path: "p" + reports.FormatValue(i), Type: reports.Int, Access: reports.Get, Help: strings.Repeat("x", 100)})
	}
	for name, tt := range map[string]struct {
		agent *fakeAgent
		want  string
	}{"a point twice": {twice, "stands twice"}, "too long for the broker": {big, "at most"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, nil, same(tt.agent), func(b *bench) {
				b.wantState("status", "offline")
				if got := b.state("/h/s/error"); !strings.Contains(got, tt.want) {
					t.Errorf("error = %q, want %q in it", got, tt.want)
				}
				if tt.agent.closed != 1 {
					t.Errorf("closed %d times, want once", tt.agent.closed)
				}
			})
		})
	}
}

func TestPanicRebuildsTheAgent(t *testing.T) {
	t.Parallel()
	for name, boom := range map[string]func(*fakeAgent){
		"sample": func(a *fakeAgent) {
			a.onSample = func(context.Context, string) (reports.Reading, error) { panic("boom") }
		},
		"apply": func(a *fakeAgent) {
			a.onApply = func(context.Context, reports.Command) (reports.Reading, error) { panic("boom") }
		},
		"prompt apply": func(a *fakeAgent) {
			a.onApply = func(context.Context, reports.Command) (reports.Reading, error) { panic("boom") }
		},
		"setup": func(a *fakeAgent) { a.onSetup = func(context.Context, []byte) error { panic("boom") } },
		"close too": func(a *fakeAgent) {
			a.onApply = func(context.Context, reports.Command) (reports.Reading, error) { panic("boom") }
			a.onClose = func() error { panic("bang") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := newFake()
			boom(bad)
			var made atomic.Int64
			inBubble(t, nil, func() (Agent, error) {
				if made.Add(1) > 1 {
					return newFake(), nil
				}
				if strings.HasPrefix(name, "prompt") {
					return promptFake{bad}, nil
				}
				return bad, nil
			}, func(b *bench) {
				b.do("set/relay", "ON")
				b.do("setup", "x: 1")
				b.wantState("status", "offline")
				if got := b.state("/h/s/error"); !strings.Contains(got, "panic: boom") {
					t.Errorf("error = %q", got)
				}
				if n := len(b.results(t)); n != 2 {
					t.Errorf("%d results for two commands", n)
				}
				if bad.closed != 1 {
					t.Errorf("closed %d times, want once", bad.closed)
				}
				b.after(1100 * time.Millisecond)
				b.wantState("status", "online")
				b.wantState("error", "")
				b.do("set/relay", "ON")
				b.wantCodes("")
				if n := made.Load(); n != 2 {
					t.Errorf("%d agents were made, want 2", n)
				}
			})
		})
	}
}

// promptFake is called in the goroutine of the loop.
type promptFake struct{ *fakeAgent }

func (promptFake) Prompt() {}

// eachWay runs a test with an agent that is called by the worker and with one that is called by the loop.
func eachWay(t *testing.T, test func(t *testing.T, a *fakeAgent, as Agent)) {
	t.Run("worker", func(t *testing.T) { t.Parallel(); a := newFake(); test(t, a, a) })
	t.Run("loop", func(t *testing.T) { t.Parallel(); a := newFake(); test(t, a, promptFake{a}) })
}

// TestAgentThatDoesNotReturn has an agent that ignores its context: the command is answered in time, later ones are refused,
// and everything comes right once it returns.
func TestAgentThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, a *fakeAgent, as Agent) {
		var hold chan struct{}
		a.onApply = func(_ context.Context, c reports.Command) (reports.Reading, error) {
			<-hold
			a.put(c.Path, c.Value)
			return a.read(c.Path)
		}
		inBubble(t, nil, func() (Agent, error) { hold = make(chan struct{}); return as, nil }, func(b *bench) {
			b.do("set/relay", "ON")
			b.do("get/relay", "")
			b.wantCodes()
			b.after(commandTimeout + 2*time.Second)
			b.wantCodes(reports.CodeTimeout, reports.CodeBusy)
			b.do("set/level", "3")
			b.do("set/level", "300")
			b.do("get/description", "")
			b.wantCodes(reports.CodeBusy, reports.CodeOutOfRange, "")
			if got := b.state("/h/s/error"); !strings.Contains(got, "set relay: has not returned") {
				t.Errorf("error = %q", got)
			}
			b.wantState("status", "online")
			b.after(30 * time.Second)
			b.wantState("room/temp", "") // it went stale meanwhile
			close(hold)
			synctest.Wait()
			b.wantState("relay", "ON") // what it did at last is known
			b.after(2 * time.Second)
			b.wantState("error", "")
			b.wantState("room/temp", "20")
			b.wantCodes()
			b.do("get/relay", "")
			b.wantCodes("")
			b.do("set/relay", "OFF")
			b.wantCodes("")
		})
	})
}

func TestStopWithAnAgentThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, a *fakeAgent, as Agent) {
		var hold chan struct{}
		a.onApply = func(context.Context, reports.Command) (reports.Reading, error) { <-hold; return reports.Reading{}, nil }
		inBubble(t, nil, func() (Agent, error) { hold = make(chan struct{}); return as, nil }, func(b *bench) {
			b.do("set/relay", "ON")
			b.do("get", "")
			start := time.Now()
			b.stop()
			if took := time.Since(start); took > closeTimeout {
				t.Errorf("stop took %v, want %v at most", took, closeTimeout)
			}
			b.wantCodes(reports.CodeOffline, reports.CodeOffline)
			close(hold)
			synctest.Wait()
			if a.closed != 1 {
				t.Errorf("closed %d times after it returned at last, want once", a.closed)
			}
			b.do("get", "")
			b.wantCodes(reports.CodeOffline)
		})
	})
}
