package agents

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rollcall/reports"
)

// order returns the tails of the topics below /h/s in the order of what went out, with the payload but for results and
// descriptions, and forgets it. That of the health is left out: it comes when its minute does.
func (b *bench) order() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, m := range b.recorder.log {
		tail := strings.TrimPrefix(m.Topic, "/h/s/")
		if tail == reports.HealthTail {
			continue
		}
		if tail != "result" && tail != "description" {
			tail += "=" + string(m.Payload)
		}
		out = append(out, tail)
	}
	b.recorder.log = nil
	return out
}

// TestStatesGoBeforeTheResult has a control and a set change points beside the one they return, more than the channel of events
// holds, and a set-up change all: every state is published before the result.
func TestStatesGoBeforeTheResult(t *testing.T) {
	t.Parallel()
	a := newFake()
	a.onApply = func(_ context.Context, c reports.Command) (reports.Reading, error) {
		n := int64(10) // more than the channel has room for
		if block, _ := c.Value.([]byte); string(block) == "few" {
			n = 2
		}
		for n := range n {
			a.put("level", n)
			a.events <- reports.Reading{Path: "level", Value: n, Time: time.Now()}
		}
		a.put("room/mode", "boost")
		a.events <- reports.Reading{Path: "room/mode", Value: "boost", Time: time.Now()}
		if c.Verb == "control" {
			return reports.Reading{}, nil
		}
		a.put(c.Path, c.Value)
		return a.read(c.Path)
	}
	a.onSetup = func(_ context.Context, doc []byte) error {
		a.put("room/mode", "eco")
		a.put("level", int64(3))
		a.mu.Lock()
		defer a.mu.Unlock()
		a.points = slices.DeleteFunc(fakePoints(), func(p reports.Point) bool { return p.Path == "room/temp" })
		return nil
	}
	levels := func(from int) (out []string) {
		for n := from; n < 10; n++ {
			out = append(out, fmt.Sprintf("level=%d", n))
		}
		return out
	}
	inBubble(t, nil, same(a), func(b *bench) {
		for range 30 { // of the last event and the outcome the loop takes either first
			a.put("room/mode", "eco")
			b.do("get/room/mode", "")
			b.do("control", "few")
			if got := b.order(); !slices.Equal(got[len(got)-4:], []string{"level=0", "level=1", "room/mode=boost", "result"}) {
				t.Fatalf("control = %q", got)
			}
			b.do("control", "all")
			if diff := cmp.Diff(b.order(), append(levels(0), "result")); diff != "" {
				t.Fatalf("control (-got +want):\n%s", diff)
			}
		}
		a.put("room/mode", "eco")
		b.do("get/room/mode", "")
		b.order()
		b.do("set/relay", "ON")
		if diff := cmp.Diff(b.order(), append(levels(0), "room/mode=boost", "relay=ON", "result")); diff != "" {
			t.Errorf("set (-got +want):\n%s", diff)
		}
		b.do("setup", "b: 1")
		got := b.order()
		want := []string{"description", "error=", "room/temp=", "relay=ON", "level=3", "room/mode=eco", "result"}
		if slices.Sort(got[1:3]); len(got) > 3 {
			slices.Sort(want[1:3])
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("setup (-got +want):\n%s", diff)
		}
		b.after(time.Minute)
		if got := b.order(); len(got) != 0 {
			t.Errorf("later on: %q, want nothing: it was all read", got)
		}
	})
}

// TestSetupReadsEachPointOnce, and publishes what the agent says by itself before the result.
func TestSetupReadsEachPointOnce(t *testing.T) {
	t.Parallel()
	a := newFake()
	samples := map[string]int{}
	a.onSample = func(_ context.Context, path string) (reports.Reading, error) {
		samples[path]++
		if path == "room/mode" {
			a.events <- reports.Reading{Path: "button", Value: true}
		}
		return a.read(path)
	}
	inBubble(t, nil, same(a), func(b *bench) {
		for range 30 {
			b.after(200 * time.Millisecond)
			clear(samples)
			b.order()
			b.do("setup", "b: 1")
			if want := map[string]int{"relay": 1, "level": 1, "room/temp": 1, "room/mode": 1}; !maps.Equal(samples, want) {
				t.Fatalf("samples %v, want %v", samples, want)
			}
			if got := b.order(); got[len(got)-1] != "result" || !slices.Contains(got, "button=ON") {
				t.Fatalf("order %q, want the result last", got)
			}
		}
	})
}

// TestSetupOfAnAgentThatGivesEventsOnly publishes them before the result, those of points that are described only then included,
// and more than the channel has room for.
func TestSetupOfAnAgentThatGivesEventsOnly(t *testing.T) {
	t.Parallel()
	a := newFake()
	a.onSetup = func(_ context.Context, doc []byte) error {
		a.mu.Lock()
		a.points = append(a.points, reports.Point{Path: fmt.Sprint("new", len(a.points)), Type: reports.Int, Access: reports.Get})
		path := a.points[len(a.points)-1].Path
		a.mu.Unlock()
		for n := range int64(20) {
			a.events <- reports.Reading{Path: path, Value: n, Time: time.Now()}
		}
		if string(doc) == "bad" {
			a.points = a.points[:len(a.points)-1]
			a.events <- reports.Reading{Path: "level", Value: int64(9), Time: time.Now()}
			return errors.New("bad")
		}
		a.events <- reports.Reading{Path: "level", Value: int64(4), Time: time.Now()}
		a.events <- reports.Reading{Path: "button", Value: true}
		return nil
	}
	inBubble(t, nil, func() (Agent, error) { return eventsOnly{onlyAgent{a}, a}, nil }, func(b *bench) {
		for range 30 {
			b.order()
			b.do("setup", "b: 1")
			got := b.order()
			last := a.points[len(a.points)-1].Path
			if len(got) != 25 || got[0] != "description" || got[24] != "result" || !slices.Contains(got, last+"=19") || !slices.Contains(got, "level=4") ||
				!slices.Contains(got, "button=ON") {
				t.Fatalf("order %q, want the description, the states and the event, and the result last", got)
			}
		}
		b.wantCodes()
		b.do("setup", "bad")
		b.wantCodes(reports.CodeBadSetup)
		b.wantState("level", "9") // an edge that came meanwhile is not lost
	})
}

// eventsOnly can be set up and gives events.
type eventsOnly struct {
	onlyAgent
	a *fakeAgent
}

func (e eventsOnly) Events() <-chan reports.Reading              { return e.a.Events() }
func (e eventsOnly) Setup(ctx context.Context, doc []byte) error { return e.a.Setup(ctx, doc) }
func (e eventsOnly) CurrentSetup() ([]byte, error)               { return e.a.CurrentSetup() }

// TestSetupWithAPointThatFails is answered as done, and the point's fault stands on the error topic.
func TestSetupWithAPointThatFails(t *testing.T) {
	t.Parallel()
	a := newFake()
	a.onSample = func(ctx context.Context, path string) (reports.Reading, error) {
		switch path {
		case "level":
			return reports.Reading{}, errors.New("no such register")
		case "relay":
			<-ctx.Done()
			return reports.Reading{}, ctx.Err()
		}
		return a.read(path)
	}
	inBubble(t, nil, same(a), func(b *bench) {
		b.after(20 * time.Second)
		b.do("setup", "b: 1")
		b.after(mostTimeout)
		b.wantCodes("")
		if got := b.state("/h/s/error"); !strings.Contains(got, "sample ") {
			t.Errorf("error = %q, want the points named", got)
		}
		b.wantState("status", "online")
	})
}

// TestSetupWithAPointThatHangs is answered as done although the agent does not return from the reading that follows.
func TestSetupWithAPointThatHangs(t *testing.T) {
	t.Parallel()
	a := newFake()
	var hold chan struct{}
	hang := false
	a.onSetup = func(context.Context, []byte) error { hang = true; return nil }
	a.onSample = func(_ context.Context, path string) (reports.Reading, error) {
		if hang {
			<-hold
		}
		return a.read(path)
	}
	inBubble(t, nil, func() (Agent, error) { hold = make(chan struct{}); return a, nil }, func(b *bench) {
		b.do("setup", "b: 1")
		b.wantCodes()
		b.after(mostTimeout + 2*time.Second)
		b.wantCodes("")
		if got := b.state("/h/s/error"); !strings.Contains(got, "read after setup: has not returned") {
			t.Errorf("error = %q", got)
		}
		hang = false
		close(hold)
		b.after(time.Minute) // the other points are read as soon as their back-off lets them
		b.wantState("error", "")
		b.wantCodes()
	})
}

// TestEventsDuringASetupThatHangs wait for its end, but not for ever.
func TestEventsDuringASetupThatHangs(t *testing.T) {
	t.Parallel()
	a := newFake()
	var hold chan struct{}
	a.onSetup = func(context.Context, []byte) error { <-hold; return nil }
	inBubble(t, nil, func() (Agent, error) { hold = make(chan struct{}); return a, nil }, func(b *bench) {
		b.do("setup", "b: 1")
		a.events <- reports.Reading{Path: "level", Value: int64(9), Time: time.Now()}
		b.after(time.Second)
		b.wantState("level", "1")
		b.after(setupTimeout + time.Second)
		b.wantCodes(reports.CodeTimeout)
		b.wantState("level", "9")
		a.events <- reports.Reading{Path: "level", Value: int64(5), Time: time.Now()}
		synctest.Wait()
		b.wantState("level", "5")
		close(hold)
		synctest.Wait()
		b.wantCodes()
	})
}

// TestEventsEndDuringACommand closes the channel in the midst of an Apply that panics as well: there is one answer, and the agent
// is made anew once.
func TestEventsEndDuringACommand(t *testing.T) {
	t.Parallel()
	for _, panics := range []bool{false, true} {
		t.Run(fmt.Sprint("panics ", panics), func(t *testing.T) {
			t.Parallel()
			made := 0
			inBubble(t, nil, func() (Agent, error) {
				a := newFake()
				made++
				a.onApply = func(_ context.Context, c reports.Command) (reports.Reading, error) {
					a.events <- reports.Reading{Path: "level", Value: int64(9), Time: time.Now()}
					_ = a.Close()
					if panics {
						panic("boom")
					}
					return reports.Reading{Path: c.Path, Value: c.Value}, nil
				}
				return a, nil
			}, func(b *bench) {
				b.do("set/relay", "ON")
				want := ""
				if panics {
					want = reports.CodeDevice
				}
				b.wantCodes(want)
				b.wantState("level", "9")
				b.wantState("status", "offline")
				b.after(2 * time.Second)
				b.wantState("status", "online")
				b.wantState("level", "1")
				if made != 2 {
					t.Errorf("the agent was made %d times, want twice", made)
				}
			})
		})
	}
}

// TestReadBackAndEdge holds that of a read-back and an edge the newer one counts, however they come in.
func TestReadBackAndEdge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		edge, back time.Duration // when, from the beginning of the Apply; 0 for back: the agent does not say
		want       string
	}{
		"edge after": {2 * time.Second, time.Second, "OFF"}, "edge before": {time.Second, 2 * time.Second, "ON"}, "no time": {time.Second, 0, "ON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newFake()
			a.onApply = func(_ context.Context, c reports.Command) (reports.Reading, error) {
				began := time.Now()
				timer := time.NewTimer(3 * time.Second)
				<-timer.C
				a.put("relay", test.want == "ON") // what the line is at last
				r := reports.Reading{Path: c.Path, Value: true}
				if test.back > 0 {
					r.Time = began.Add(test.back)
				}
				a.events <- reports.Reading{Path: c.Path, Value: false, Time: began.Add(test.edge)}
				return r, nil
			}
			inBubble(t, nil, same(a), func(b *bench) {
				b.do("set/relay", "ON")
				b.after(4 * time.Second)
				b.wantState("relay", test.want)
				r := b.wantCodes("")
				if data, _ := r[0].Data.(map[string]any); data["value"] != test.want {
					t.Errorf("data = %v, want %s", r[0].Data, test.want)
				}
			})
		})
	}
}

// TestOvertakenEvents are each published if the point has no state: a press is not undone by another.
func TestOvertakenEvents(t *testing.T) {
	t.Parallel()
	a := newFake()
	a.points = append(a.points, reports.Point{Path: "press", Type: reports.Enum, Access: reports.Event, Options: []string{"single", "long"}})
	inBubble(t, nil, same(a), func(b *bench) {
		now := time.Now()
		a.events <- reports.Reading{Path: "press", Value: "long", Time: now}
		a.events <- reports.Reading{Path: "press", Value: "single", Time: now.Add(-time.Second)}
		a.events <- reports.Reading{Path: "press", Value: "long", Time: now}
		synctest.Wait()
		if got := b.sent("/h/s/press"); !slices.Equal(got, []string{"long", "single", "long"}) {
			t.Errorf("press = %q", got)
		}
	})
}

// TestStatesArePublishedAgain after a set-up and when the agent was made anew, although nothing has changed; and then no more.
func TestStatesArePublishedAgain(t *testing.T) {
	t.Parallel()
	var present *fakeAgent
	inBubble(t, nil, func() (Agent, error) { present = newFake(); return present, nil }, func(b *bench) {
		states := func() (out []string) {
			b.Helper()
			for _, line := range b.order() {
				if path, _, ok := strings.Cut(line, "="); ok && path != "error" && path != "status" {
					out = append(out, line)
				}
			}
			slices.Sort(out)
			return out
		}
		want := []string{"level=1", "relay=OFF", "room/mode=eco", "room/temp=20"}
		for _, what := range []string{"start", "setup", "remake"} {
			switch what {
			case "setup":
				b.do("setup", "b: 1")
			case "remake":
				_ = present.Close()
				b.after(2 * time.Second)
			}
			if diff := cmp.Diff(states(), want); diff != "" {
				t.Errorf("after %s (-got +want):\n%s", what, diff)
			}
			b.after(5 * time.Second)
			present.events <- reports.Reading{Path: "relay", Value: false, Time: time.Now()}
			synctest.Wait()
			if got := states(); len(got) != 0 {
				t.Errorf("later after %s: %q, want nothing", what, got)
			}
		}
	})
}

// whyAgent says why its events have ended.
type whyAgent struct {
	*fakeAgent
	err func() error
}

func (a whyAgent) Err() error { return a.err() }

// TestAgentSaysWhyEventsEnd: the reason stands on the error topic, and the agent is made anew with back-off until it can be.
func TestAgentSaysWhyEventsEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  func() error
		want string
	}{
		"why":     {func() error { return errors.New("gpiochip1 was unplugged") }, "the agent has stopped giving events: gpiochip1 was unplugged"},
		"nothing": {func() error { return nil }, "the agent has stopped giving events"},
		"panic":   {func() error { panic("boom") }, "the agent has stopped giving events: panic: boom"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var made []time.Time
			var a *fakeAgent
			inBubble(t, nil, func() (Agent, error) {
				mu.Lock()
				defer mu.Unlock()
				if made = append(made, time.Now()); len(made) > 1 && len(made) < 6 {
					return nil, errors.New("open gpiochip1: no such device")
				}
				a = newFake()
				return whyAgent{a, test.err}, nil
			}, func(b *bench) {
				_ = a.Close()
				synctest.Wait()
				b.wantState("status", "offline")
				b.wantState("error", test.want)
				b.after(time.Minute)
				b.wantState("status", "online")
				b.wantState("error", "")
				if len(made) != 6 {
					t.Fatalf("made %d times, want 6", len(made))
				}
				for i := 2; i < len(made); i++ { // 1 s, doubled each time
					if got, want := made[i].Sub(made[i-1]), time.Second<<(i-1); got != want {
						t.Errorf("pause %d = %v, want %v", i, got, want)
					}
				}
			})
		})
	}
}
