package agents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/reports"
)

// same makes a factory that returns the agent each time.
func same(a Agent) func() (Agent, error) { return func() (Agent, error) { return a, nil } }

func TestServiceStarts(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, same(newFake()), func(b *bench) {
		b.wantState("status", "online")
		b.wantState("relay", "OFF")
		b.wantState("level", "1")
		b.wantState("room/temp", "20")
		b.wantState("room/mode", "eco")
		b.wantState("button", "")
		b.wantState("error", "")
		var desc reports.Service
		if err := json.Unmarshal([]byte(b.state("/h/s/description")), &desc); err != nil {
			t.Fatal(err)
		}
		if desc.Name != "s" || desc.Function != "fake" || desc.Inputs != "/h/s/set" || len(desc.Points) != 5 {
			t.Errorf("description = %+v", desc)
		}
		select {
		case <-b.first:
		default:
			t.Error("first is still open")
		}
	})
}

func TestServicePolls(t *testing.T) {
	t.Parallel()
	a := newFake()
	inBubble(t, nil, same(a), func(b *bench) {
		b.sent("/h/s/room/temp")
		b.after(5 * time.Second)
		if got := b.sent("/h/s/room/temp"); len(got) != 0 {
			t.Errorf("unchanged, it was published: %q", got)
		}
		a.put("room/temp", 21.5)
		b.after(2 * time.Second)
		b.wantState("room/temp", "21.5")
		a.put("level", int64(9)) // not polled
		b.after(time.Hour)
		b.wantState("level", "1")
	})
}

func TestBatchSamplerReadsWhatIsDueTogether(t *testing.T) {
	t.Parallel()
	a := &batchAgent{fakeAgent: newFake()}
	inBubble(t, map[string]config.Filter{"*": {Poll: ptr(time.Second)}, "room/mode": {Poll: ptr(time.Second)}}, same(a), func(b *bench) {
		if n := a.calls.Load(); n != 1 {
			t.Errorf("%d calls for the first sample, want 1", n)
		}
		b.after(10500 * time.Millisecond)
		if n := a.calls.Load(); n < 10 || n > 12 {
			t.Errorf("%d calls in 10 s at an interval of 1 s", n)
		}
		for _, paths := range a.most {
			if len(paths) != 4 {
				t.Errorf("a call read %q, want all four points", paths)
			}
		}
		a.mu.Lock()
		delete(a.values, "level")
		a.mu.Unlock()
		b.after(2 * time.Second)
		if got := b.state("/h/s/error"); !strings.Contains(got, "level") || !strings.Contains(got, "no such register") {
			t.Errorf("error = %q, want it to name level", got)
		}
		a.put("room/temp", 30.0)
		b.after(2 * time.Second)
		b.wantState("room/temp", "30") // the others go on
	})
}

// Each point of a batch is given its own error only.
func TestBatchErrorsBelongToTheirPoints(t *testing.T) {
	t.Parallel()
	a := &batchAgent{fakeAgent: newFake()}
	a.onSample = func(_ context.Context, path string) (reports.Reading, error) {
		switch path {
		case "level":
			return reports.Reading{}, reports.Errorf(reports.CodeTimeout, "level: sensor is silent")
		case "room/temp":
			return reports.Reading{}, fmt.Errorf("room/temp: %w", errors.New("bus is wedged"))
		}
		return a.read(path)
	}
	codes := map[string]string{"level": reports.CodeTimeout, "room/temp": reports.CodeDevice}
	inBubble(t, nil, same(a), func(b *bench) {
		for path, want := range map[string]string{"level": "level: sensor is silent", "room/temp": "bus is wedged"} {
			b.do("get/"+path, "")
			if r := b.results(t); len(r) != 1 || r[0].OK || r[0].Error != want || r[0].Code != codes[path] {
				t.Errorf("get %s: %+v, want the error %q", path, r, want)
			}
		}
		b.do("get", "")
		if r := b.results(t); len(r) != 1 || !r[0].OK || strings.Count(r[0].Error, "silent") != 1 || strings.Count(r[0].Error, "wedged") != 1 {
			t.Errorf("get all: %+v, want each error once", r)
		}
		for _, f := range b.faults {
			if strings.Contains(f.text, "silent") && strings.Contains(f.text, "wedged") {
				t.Errorf("fault of %s: %s", f.key, f.text)
			}
		}
	})
}

func TestMiss(t *testing.T) {
	t.Parallel()
	plain := errors.New("i2c is dead")
	for name, c := range map[string]struct {
		err  error
		want map[string]string
	}{
		"its own":    {errors.Join(errors.New("a: x"), errors.New("b/c: y")), map[string]string{"a": "a: x", "b/c": "b/c: y", "b": "the agent has left it out"}},
		"nested":     {errors.Join(errors.Join(errors.New("a: x"), errors.New("b: z")), errors.New("b/c: y")), map[string]string{"a": "a: x", "b": "b: z", "b/c": "b/c: y"}},
		"wrapped":    {fmt.Errorf("a: %w", plain), map[string]string{"a": "i2c is dead", "b": "the agent has left it out", "b/c": "the agent has left it out"}},
		"two of one": {errors.Join(errors.New("a: x"), errors.New("a: y"), plain), map[string]string{"a": "a: x\na: y", "b": "i2c is dead", "b/c": "i2c is dead"}},
		"nobody's":   {plain, map[string]string{"a": "i2c is dead", "b": "i2c is dead", "b/c": "i2c is dead"}},
		"none":       {nil, map[string]string{"a": "the agent has left it out", "b": "the agent has left it out", "b/c": "the agent has left it out"}},
		"end of the context": {errors.Join(errors.New("a: x"), context.Canceled), map[string]string{"a": "a: x",
			"b": "the service is being stopped: context canceled", "b/c": "the service is being stopped: context canceled"}},
	} {
		got := sampled{readings: map[string]reports.Reading{"read": {}}, errs: map[string]error{}}
		got.miss([]string{"a", "read", "b", "b/c"}, c.err)
		texts := map[string]string{}
		for path, err := range got.errs {
			texts[path] = err.Error()
		}
		if diff := cmp.Diff(c.want, texts); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestFailingPointBacksOffAndRecovers(t *testing.T) {
	t.Parallel()
	a := newFake()
	var fixed atomic.Bool
	var samples atomic.Int64
	a.onSample = func(ctx context.Context, path string) (reports.Reading, error) {
		if path == "room/temp" {
			if samples.Add(1); !fixed.Load() {
				return reports.Reading{}, errors.New("bus is wedged")
			}
		}
		return a.read(path)
	}
	inBubble(t, nil, same(a), func(b *bench) {
		b.after(5 * time.Second)
		b.wantState("error", "sample room/temp: bus is wedged")
		b.wantState("status", "online")
		b.wantState("relay", "OFF")
		b.after(10 * time.Minute)
		if n := samples.Load(); n > 80 {
			t.Errorf("%d samples of a failing point in 10 minutes, want a back-off: one in 7.5 to 10 s", n)
		}
		if got := b.state("/h/s/error"); !strings.Contains(got, "stale") || !strings.Contains(got, "wedged") {
			t.Errorf("error = %q, want stale and why", got)
		}
		fixed.Store(true)
		b.after(11 * time.Second)
		b.wantState("error", "")
		b.wantState("room/temp", "20")
		samples.Store(0)
		b.after(10 * time.Second)
		if n := samples.Load(); n < 9 {
			t.Errorf("%d samples in 10 s after the recovery, want the old interval", n)
		}
	})
}

func TestStaleStateIsEmptied(t *testing.T) {
	t.Parallel()
	a := newFake()
	var silent atomic.Bool
	a.onSample = func(ctx context.Context, path string) (reports.Reading, error) {
		if silent.Load() && path == "room/temp" {
			return reports.Reading{Path: path, Value: 20.0, Stale: true}, nil
		}
		return a.read(path)
	}
	inBubble(t, nil, same(a), func(b *bench) {
		silent.Store(true)
		b.after(12 * time.Second)
		b.wantState("room/temp", "")
		b.wantState("error", "room/temp is stale, there was no value for 10s")
		b.do("get/room/temp", "")
		r := b.wantCodes("")
		if data, _ := r[0].Data.(map[string]any); data["stale"] != true {
			t.Errorf("get of a stale point = %v, want stale", r[0].Data)
		}
		silent.Store(false)
		b.after(3 * time.Second)
		b.wantState("room/temp", "20")
		b.wantState("error", "")
	})
}

func TestNonFiniteIsADeviceError(t *testing.T) {
	t.Parallel()
	a := newFake()
	a.put("room/temp", math.NaN())
	inBubble(t, nil, same(a), func(b *bench) {
		b.wantState("room/temp", "")
		if got := b.state("/h/s/error"); !strings.Contains(got, "NaN") {
			t.Errorf("error = %q, want it to name NaN", got)
		}
		b.do("get/room/temp", "")
		b.wantCodes(reports.CodeDevice)
	})
}

func TestSampleTimeoutIsEightyPercentOfTheInterval(t *testing.T) {
	t.Parallel()
	a := newFake()
	var took atomic.Int64
	a.onSample = func(ctx context.Context, path string) (reports.Reading, error) {
		if path != "room/temp" {
			return a.read(path)
		}
		start := time.Now()
		<-ctx.Done()
		took.Store(int64(time.Since(start)))
		return reports.Reading{}, ctx.Err()
	}
	inBubble(t, nil, same(a), func(b *bench) {
		b.after(3 * time.Second)
		if got := time.Duration(took.Load()); got != 800*time.Millisecond {
			t.Errorf("the sample had %v, want 800ms", got)
		}
		if got := b.state("/h/s/error"); !strings.Contains(got, "did not answer in time") {
			t.Errorf("error = %q", got)
		}
	})
	if got := sampleTimeout(time.Hour); got != mostTimeout {
		t.Errorf("sampleTimeout(1h) = %v, want %v", got, mostTimeout)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	a := newFake()
	var made atomic.Int64
	inBubble(t, map[string]config.Filter{"level": {MinInterval: ptr(10 * time.Second)}},
		func() (Agent, error) {
			if made.Add(1) > 1 {
				return newFake(), nil
			}
			return a, nil
		}, func(b *bench) {
			b.sent("/h/s/level")
			for _, r := range []reports.Reading{
				{Path: "button", Value: true}, {Path: "button", Value: true}, {Path: "relay", Value: true},
				{Path: "level", Value: 5}, {Path: "level", Value: 7}, {Path: "nothing", Value: 1}, {Path: "room/mode", Value: "wrong"},
			} {
				a.events <- r
			}
			synctest.Wait()
			if got := b.sent("/h/s/button"); !slices.Equal(got, []string{"ON", "ON"}) {
				t.Errorf("button = %q, want every press", got)
			}
			b.wantState("button", "")
			b.wantState("relay", "ON")
			if got := b.sent("/h/s/level"); len(got) != 0 {
				t.Errorf("level = %q within min_interval", got)
			}
			if got := b.state("/h/s/error"); !strings.Contains(got, "room/mode") {
				t.Errorf("error = %q, want the wrong value named", got)
			}
			b.after(11 * time.Second)
			b.wantState("level", "7")

			if err := a.Close(); err != nil { // behind the runner's back
				t.Error(err)
			}
			synctest.Wait()
			b.wantState("status", "offline")
			b.wantState("error", "the agent has stopped giving events (and 1 more)")
			b.after(2 * time.Second)
			b.wantState("status", "online")
			if n := made.Load(); n != 2 {
				t.Errorf("%d agents were made, want 2", n)
			}
		})
}

// TestOvertakenSample has an edge come in while a sample that is older is on its way: the edge counts.
func TestOvertakenSample(t *testing.T) {
	t.Parallel()
	a := newFake()
	var read, hold chan struct{}
	a.onSample = func(ctx context.Context, path string) (reports.Reading, error) {
		r, err := a.read(path)
		if path == "relay" {
			read <- struct{}{}
			<-hold
		}
		return r, err
	}
	inBubble(t, nil, func() (Agent, error) {
		read, hold = make(chan struct{}, 1), make(chan struct{})
		return a, nil
	}, func(b *bench) {
		<-read
		b.after(time.Millisecond)
		a.events <- reports.Reading{Path: "relay", Value: true, Time: time.Now()}
		synctest.Wait()
		close(hold)
		synctest.Wait()
		b.wantState("relay", "ON")
	})
}

func TestGhostsAreEmptied(t *testing.T) {
	t.Parallel()
	old := reports.Service{Name: "s", Function: "fake", Points: []reports.Point{
		{Path: "gone", Type: reports.Int, Access: reports.Get}, {Path: "relay", Type: reports.Bool, Access: reports.Get},
		{Path: "button", Type: reports.Bool, Access: reports.Get}, {Path: "../x#", Type: reports.Bool, Access: reports.Get}}}
	payload, err := json.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	inBubble(t, nil, same(newFake()), func(b *bench) {
		b.remember(bus.Message{Topic: "/h/s/description", Payload: payload, Retained: true})
		b.remember(bus.Message{Topic: "/h/s/description", Payload: []byte("{"), Retained: true})
		synctest.Wait()
		for topic, want := range map[string]int{"gone": 1, "button": 1} {
			if got := b.sent("/h/s/" + topic); len(got) != want || got[0] != "" {
				t.Errorf("%s: published %q, want it emptied", topic, got)
			}
		}
		b.wantState("relay", "OFF")
		if got := b.sent("/h/s/../x#"); len(got) != 0 {
			t.Errorf("an illegal topic was published: %q", got)
		}
		b.sent("/h/s/status")
		b.remember(bus.Message{Topic: "/h/s/status", Payload: []byte("offline")}) // the last will of an earlier run, late
		synctest.Wait()
		if got := b.sent("/h/s/status"); !slices.Equal(got, []string{"online"}) {
			t.Errorf("after a late last will the status was published as %q, want online", got)
		}
	})
}

func TestCommandsGoBeforeSamplesButNotForEver(t *testing.T) {
	t.Parallel()
	a := newFake()
	var polls atomic.Int64
	a.onSample = func(ctx context.Context, path string) (reports.Reading, error) {
		if path == "room/temp" {
			polls.Add(1)
		}
		return a.read(path)
	}
	a.onApply = func(ctx context.Context, c reports.Command) (reports.Reading, error) {
		timer := time.NewTimer(500 * time.Millisecond)
		<-timer.C
		return reports.Reading{Value: c.Value}, nil
	}
	inBubble(t, nil, same(a), func(b *bench) {
		polls.Store(0)
		for range inboxSize + 10 {
			b.do("set/relay", "ON")
		}
		if results := b.results(t); len(results) != 9 || results[0].Code != reports.CodeBusy {
			t.Errorf("%d commands beyond the queue were refused, want 9: %+v", len(results), results)
		}
		b.after(30 * time.Second)
		if n := polls.Load(); n < 10 {
			t.Errorf("%d polls in 30 s beside a full queue of commands", n)
		}
		b.after(30 * time.Second)
		if n := len(b.results(t)); n != inboxSize+1 {
			t.Errorf("%d results, want %d", n, inboxSize+1)
		}
	})
}
