package input

import (
	"math"
	"testing"
	"time"
)

func TestCount(t *testing.T) {
	t.Parallel()
	i := New(Options{Count: true}, false, began)
	i.SetTotal(math.MaxUint32)
	for n := range 10 {
		at := time.Duration(n) * ms
		i.Edge(true, boot+at, uint32(2*n+1), began.Add(at))
		i.Edge(false, boot+at, uint32(2*n+2), began.Add(at))
	}
	got := i.Count(began.Add(time.Second))
	if want := (Counts{Count: 10, Total: math.MaxUint32 + 10, Rate: 10}); got != want {
		t.Errorf("Count = %+v, want %+v", got, want)
	}
	i.SetTotal(0)
	if got := i.Count(began.Add(time.Second)); got.Count != 10 || got.Total != 0 {
		t.Errorf("Count after SetTotal(0) = %+v, want count 10, total 0", got)
	}
	none := New(Options{}, false, began)
	if o := none.Edge(true, boot, 1, began); o.Counted || none.Count(began) != (Counts{}) {
		t.Errorf("an input that does not count: %+v, %+v", o, none.Count(began))
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	const window = 10 * time.Second
	tests := map[string]struct {
		window        time.Duration
		every, during time.Duration // edges each so often, in this time
		at            time.Duration
		want          float64
	}{
		"none":                    {window, time.Hour, 0, time.Second, 0},
		"1 kHz for a minute":      {window, ms, time.Minute, time.Minute, 1000},
		"the default window":      {0, ms, time.Minute, time.Minute + 5*time.Second, 500},
		"the first second":        {window, 100 * ms, time.Second, time.Second, 10},
		"one edge is no 1 kHz":    {window, time.Hour, time.Second, ms, 1},
		"while the window fills":  {window, 100 * ms, 4 * time.Second, 4 * time.Second, 10},
		"half a window ago":       {window, 10 * ms, time.Minute, time.Minute + 5*time.Second, 50},
		"a window and more ago":   {window, 10 * ms, time.Minute, time.Minute + 11*time.Second, 0},
		"long ago":                {window, 10 * ms, time.Minute, 1000 * time.Hour, 0},
		"slower than the window":  {window, 8 * time.Second, time.Minute, time.Minute, 0.1},
		"a short window":          {100 * ms, ms, time.Second, time.Second, 1000},
		"a window of nanoseconds": {1, ms, ms, ms, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRate(New(Options{RateWindow: test.window}, false, began).o.RateWindow)
			for at := time.Duration(0); at < test.during; at += test.every {
				r.add(at)
			}
			if got := r.hertz(test.at); math.Abs(got-test.want) > test.want/50 {
				t.Errorf("rate = %v, want %v", got, test.want)
			}
		})
	}
}

func TestRateOfEdgesOutOfOrder(t *testing.T) {
	t.Parallel()
	r := newRate(time.Second)
	r.add(-time.Second)             // before the start
	r.add(10 * time.Second)         // the window
	r.add(9 * time.Second)          // still in it
	r.add(time.Second)              // no more
	got := r.hertz(5 * time.Second) // no time goes back
	if want := 2 / 1.0; got != want {
		t.Errorf("rate = %v, want %v", got, want)
	}
}
