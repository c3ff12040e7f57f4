package agents

import (
	"context"
	"encoding/json"
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
// descriptions, and forgets it.
func (b *bench) order() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, m := range b.recorder.log {
		tail := strings.TrimPrefix(m.Topic, "/h/s/")
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

// TestSetupOfAnAgentThatGivesEventsOnly publishes them before the result.
func TestSetupOfAnAgentThatGivesEventsOnly(t *testing.T) {
	t.Parallel()
	a := newFake()
	a.onSetup = func(context.Context, []byte) error {
		a.events <- reports.Reading{Path: "level", Value: int64(4), Time: time.Now()}
		a.events <- reports.Reading{Path: "button", Value: true}
		return nil
	}
	inBubble(t, nil, func() (Agent, error) { return eventsOnly{onlyAgent{a}, a}, nil }, func(b *bench) {
		for range 30 {
			b.order()
			b.do("setup", "b: 1")
			got := b.order()
			if len(got) == 0 || got[len(got)-1] != "result" || !slices.Contains(got, "level=4") || !slices.Contains(got, "button=ON") {
				t.Fatalf("order %q, want the states and the event, and the result last", got)
			}
		}
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

// TestSetOfAJSONPoint hands the agent the list, however it was written, and Names reads it.
func TestSetOfAJSONPoint(t *testing.T) {
	t.Parallel()
	a := newFake()
	a.points = append(a.points, reports.Point{Path: "inputs", Type: reports.JSON, Access: reports.Get | reports.Set},
		reports.Point{Path: "input/a", Type: reports.Bool, Access: reports.Get}, reports.Point{Path: "input/b", Type: reports.Bool, Access: reports.Get})
	a.put("inputs", []string{})
	a.put("input/a", true)
	a.put("input/b", true)
	a.onApply = func(_ context.Context, c reports.Command) (reports.Reading, error) {
		names, err := reports.Names(c.Value)
		if err != nil {
			return reports.Reading{}, err
		}
		a.put(c.Path, names)
		return a.read(c.Path)
	}
	inBubble(t, nil, same(a), func(b *bench) {
		for _, payload := range []string{`["a","b"]`, `[a,b]`, "a, b", `{"value":["a","b"]}`, `{"value":"[a,b]"}`, ` [ "a" , 'b' ] `} {
			b.do("set/inputs", "[]")
			b.wantState("inputs", "[]")
			b.do("set/inputs", payload)
			b.wantState("inputs", `["a","b"]`)
			b.wantCodes("", "")
		}
		for _, payload := range []string{"[a", "a b", "[a,a]", "[a,,b]", "", `{"value":{"a":1}}`, "[[a]]", `{"value":null}`} {
			b.do("set/inputs", payload)
			b.wantState("inputs", `["a","b"]`)
			b.wantCodes(reports.CodeWrongType)
		}
		// A branch is its own name and what lies below, not what begins with it.
		b.do("get/input", "")
		r := b.wantCodes("")
		if data, _ := r[0].Data.(map[string]any); len(data) != 2 || data["input/a"] == nil || data["input/b"] == nil {
			t.Errorf("get input = %v", r[0].Data)
		}
		b.do("get/inputs", "")
		r = b.wantCodes("")
		if data, _ := r[0].Data.(map[string]any); data["path"] != "inputs" {
			t.Errorf("get inputs = %v", r[0].Data)
		}
	})
}

// TestArgsComeAsTheyWereSent: what a duration may be is the agent's to say.
func TestArgsComeAsTheyWereSent(t *testing.T) {
	t.Parallel()
	a := newFake()
	var got any
	a.onApply = func(_ context.Context, c reports.Command) (reports.Reading, error) {
		got = c.Args["for"]
		return reports.Reading{Path: c.Path, Value: c.Value}, nil
	}
	inBubble(t, nil, same(a), func(b *bench) {
		for sent, want := range map[string]any{`"5s"`: "5s", "5": json.Number("5"), `"5"`: "5", "1.50": json.Number("1.50"), "true": true, "null": nil, "[5]": []any{json.Number("5")}} {
			b.do("set/relay", `{"value":"ON","for":`+sent+`}`)
			b.wantCodes("")
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("for %s (-got +want):\n%s", sent, diff)
			}
		}
	})
}

// TestControlComesToTheLetter hands the agent the block as it was sent, whatever form it has, with the id and the reply topic of
// those forms that have them.
func TestControlComesToTheLetter(t *testing.T) {
	t.Parallel()
	const text = "\n  output\n\tname pump_drive \n  pin  25\n\n---\ninput\n name door\n on_change  /doors/front\n"
	quoted, _ := json.Marshal(text)
	for name, test := range map[string]struct{ payload, block, id, reply, code string }{
		"text":              {text, text, "null", "", ""},
		"text in envelope":  {`{"value":` + string(quoted) + `,"id":7,"reply":"/r"}`, text, "7", "/r", ""},
		"JSON":              {` {"verb":"pulse", "id":"a","reply":"/r"}`, ` {"verb":"pulse", "id":"a","reply":"/r"}`, `"a"`, "/r", ""},
		"YAML":              {"verb: pulse\nid: 7\nreply: /r\n", "verb: pulse\nid: 7\nreply: /r\n", "7", "/r", ""},
		"YAML, id a text":   {"id: '7'\nverb: pulse\n", "id: '7'\nverb: pulse\n", `"7"`, "", ""},
		"YAML, id a word":   {"id: x <y>\nverb: pulse\n", "id: x <y>\nverb: pulse\n", `"x \u003cy\u003e"`, "", ""},
		"YAML, hexadecimal": {"verb: pulse\nid: 0x1f\n", "verb: pulse\nid: 0x1f\n", `"0x1f"`, "", ""},
		"YAML, bad id":      {"verb: pulse\nid: [1]\n", "", "null", "", reports.CodeBadPayload},
		"YAML, bad reply":   {"verb: pulse\nid: 5\nreply: /h/s/set/relay\n", "", "5", "", reports.CodeBadTopic},
		"YAML, own reply":   {"verb: pulse\nid: 5\nreply: /h/x\n", "", "5", "", reports.CodeBadTopic},
		"not quite YAML":    {"verb: pulse\nid: [5\n", "verb: pulse\nid: [5\n", "null", "", ""},
		"not quite a map":   {"output\nverb: pulse\nid: 5\n", "output\nverb: pulse\nid: 5\n", "null", "", ""},
		"two id":            {"verb: pulse\nid: 5\nid: 6\n", "verb: pulse\nid: 5\nid: 6\n", "null", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newFake()
			var got string
			a.onApply = func(_ context.Context, c reports.Command) (reports.Reading, error) {
				got = string(c.Value.([]byte))
				return reports.Reading{}, nil
			}
			inBubble(t, nil, same(a), func(b *bench) {
				b.do("control", test.payload)
				var replies []string
				if test.reply != "" {
					replies = b.sent(test.reply)
				}
				r := b.wantCodes(test.code)
				if len(r) == 1 && jsonID(r[0].ID) != test.id || got != test.block || (test.reply != "") != (len(replies) == 1) {
					t.Errorf("the agent got %q, want %q; result %+v, on the reply topic %q", got, test.block, r, replies)
				}
			})
		})
	}
}

func jsonID(id reports.ID) string {
	if id == "" {
		return "null"
	}
	return string(id)
}

// TestSetupComesToTheLetter: leading blanks are part of YAML.
func TestSetupComesToTheLetter(t *testing.T) {
	t.Parallel()
	a := newFake()
	const doc = "\n  chip: sim\n  outputs: {}\n"
	inBubble(t, nil, same(a), func(b *bench) {
		b.do("setup", doc)
		if b.wantCodes(""); string(a.doc) != doc {
			t.Errorf("the agent got %q, want %q", a.doc, doc)
		}
	})
}
