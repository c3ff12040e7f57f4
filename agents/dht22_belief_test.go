package agents

import (
	"cmp"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// dht22Says is a driver that says what it is told to.
type dht22Says struct {
	value dht22Value
	doubt bool
	err   error
	each  func(dht22Value) dht22Value // what becomes of the value by a read; nil: nothing
}

func (d *dht22Says) read(context.Context) (dht22Value, bool, error) {
	if d.each != nil {
		d.value = d.each(d.value)
	}
	return d.value, d.doubt, d.err
}
func (d *dht22Says) close() error { return nil }

// TestDHT22Believe wants a value that is not that of before confirmed by another read, and all of them published when it moves.
func TestDHT22Believe(t *testing.T) {
	t.Parallel()
	type step struct {
		celsius, percent float64
		doubt, want      bool
	}
	for name, test := range map[string]struct {
		model     string
		after     time.Duration // each step, 0: 2 s
		steps     []step
		good, bad int64
	}{
		"noise": {steps: []step{{20, 50, false, false}, {20.1, 50.6, false, true}, {20.3, 51.6, false, true}, {20.1, 50.6, false, true}}, good: 4},
		"one wrong": {steps: []step{{20, 50, false, false}, {20, 50, false, true}, {20.3, 50, false, false}, {20, 50, false, true},
			{20, 51.1, false, false}, {20, 50, false, true}, {-20, 5, false, false}, {20, 50, false, true}}, good: 5, bad: 3},
		"the first is wrong": {steps: []step{{24, 50, false, false}, {20, 50, false, false}, {20, 50, false, true}}, good: 2, bad: 1},
		"a jump":             {steps: []step{{20, 50, false, false}, {20, 50, false, true}, {60, 5, false, false}, {60.1, 5, false, true}, {60, 5, false, true}}, good: 5},
		"a way, up and down": {steps: []step{{20, 50, false, false}, {20, 50, false, true}, {21, 52, false, false}, {22, 54, false, false}, {23, 56, false, true},
			{24, 58, false, true}, {23, 56, false, true}, {23, 56, false, true}, {24, 56, false, false}, {23, 56, false, true}}, good: 9, bad: 1},
		"on the way one is wrong": {steps: []step{{20, 50, false, false}, {21, 52, false, false}, {22, 54, false, true}, {23, 56, false, true}, {40, 58, false, false},
			{25, 60, false, true}}, good: 5, bad: 1},
		"in doubt": {steps: []step{{20, 50, true, false}, {20.2, 51, true, true}, {20.4, 50, true, true}, {21.6, 50, true, false}, {21.6, 50, true, true},
			{22.6, 53, true, false}, {23.6, 53, true, false}, {24.6, 53, true, false}, {24.6, 53, false, true}}, good: 7, bad: 2},
		"never twice the same": {steps: []step{{20, 50, false, false}, {30, 50, false, false}, {20, 50, false, false}, {30, 50, false, false}}, bad: 2},
		"a sensor of whole °C": {model: dht22Model11, steps: []step{{20, 50, false, false}, {21, 51, false, true}, {20, 50, false, true}, {22, 50, false, false}}, good: 3},
		"seldom":               {after: time.Minute, steps: []step{{20, 50, false, false}, {20, 50, false, false}}},
		"what can't be":        {steps: []step{{81, 5, false, false}, {81, 5, false, false}, {81, 5, false, false}, {80, 101, false, false}}, bad: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Unix(1_800_000_000, 0)
			says := &dht22Says{}
			a := dht22With(dht22Options{Model: cmp.Or(test.model, dht22Model22)}, says, func() time.Time { return now })
			for i, step := range test.steps {
				says.value, says.doubt = dht22Value{step.celsius, step.percent}, step.doubt
				now = now.Add(cmp.Or(test.after, 2*time.Second))
				r, err := a.Sample(t.Context(), "temperature")
				if got := err == nil && !r.Stale && r.Value == step.celsius; got != step.want {
					t.Errorf("step %d: %+v, %v, want it published: %t", i, r, err, step.want)
				}
				if err == nil && !r.Time.Equal(now) {
					t.Errorf("step %d: time %v, want that of the read, %v", i, r.Time, now)
				}
				says.value = dht22Value{-35, 12}
				now = now.Add(time.Second / 2) // too soon: not read at all
				if again, err2 := a.Sample(t.Context(), "temperature"); again != r || (err == nil) != (err2 == nil) {
					t.Errorf("step %d, too soon: %+v, %v, want %+v, %v", i, again, err2, r, err)
				}
			}
			if a.good != test.good || a.bad != test.bad {
				t.Errorf("%d good, %d bad, want %d, %d", a.good, a.bad, test.good, test.bad)
			}
		})
	}
}

// TestDHT22Confirms wants a value that another read must confirm read again as soon as the sensor may be, where there is the time.
func TestDHT22Confirms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		says := &dht22Says{value: dht22Value{20, 50}}
		a := dht22With(dht22Options{Model: dht22Model22}, says, time.Now)
		for _, step := range []struct {
			celsius      float64
			within, took time.Duration
			want         bool
		}{
			{20, 8 * time.Second, 2 * time.Second, true}, // the first
			{20, 8 * time.Second, 0, true},
			{30, 2400 * time.Millisecond, 0, false}, // no time
			{30, 8 * time.Second, 0, true},          // but the next one confirms it
			{40, 8 * time.Second, 2 * time.Second, true},
		} {
			pass(10 * time.Second)
			start := time.Now()
			says.value.celsius = step.celsius
			ctx, cancel := context.WithTimeout(t.Context(), step.within)
			r, err := a.Sample(ctx, "temperature")
			cancel()
			if took := time.Since(start); err != nil || r.Stale == step.want || took != step.took {
				t.Errorf("%v °C: %+v, %v after %v, want it published: %t, after %v", step.celsius, r, err, took, step.want, step.took)
			}
		}
		pass(10 * time.Second)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		says.each = func(v dht22Value) dht22Value { v.celsius += 10; return v } // never twice the same
		if r, err := a.Sample(ctx, "temperature"); !errors.Is(err, errDHT22Alone) || time.Since(start) > 6*time.Second {
			t.Errorf("%+v, %v after %v, want an error in time", r, err, time.Since(start))
		}
		pass(10 * time.Second)
		says.err = errors.New("no such device")
		if r, err := a.Sample(ctx, "temperature"); err == nil {
			t.Errorf("an error that stays: %+v, want it at once", r)
		}
	})
}
