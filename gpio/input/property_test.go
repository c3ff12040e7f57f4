package input

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// edge is an edge of the line, when it was and when it is told of.
type edge struct {
	rising   bool
	at, told time.Duration
}

// heard is all that came of an input.
type heard struct {
	levels  []bool
	presses []string
	counted uint64
	lost    uint32
	rereads int
}

func (h *heard) add(o Outcome) Outcome {
	if o.Changed {
		h.levels = append(h.levels, o.Level)
	}
	if o.Press != "" {
		h.presses = append(h.presses, o.Press)
	}
	if o.Counted {
		h.counted++
	}
	h.lost += o.Lost
	if o.Reread {
		h.rereads++
	}
	return o
}

// ticks calls Tick whenever it is due before a time, and often when it is not.
func (h *heard) ticks(t *rapid.T, i *Input, from, until time.Duration) {
	for n := 0; ; n++ {
		next := i.Next()
		at := max(next.Sub(began), from)
		if next.IsZero() || at >= until {
			return
		}
		if more := time.Duration(rapid.Int64Range(0, int64(20*ms)).Draw(t, "late tick")); at+more < until {
			at += more
		}
		h.add(i.Tick(began.Add(at)))
		if n > 10_000 {
			t.Fatal("ticks are due for ever")
		}
	}
}

// drawEdges draws edges that take turns, many of them bounce, and when each is told of: in order, and now and then late.
func drawEdges(t *rapid.T, level bool, settle time.Duration) []edge {
	gap := rapid.OneOf(rapid.Int64Range(0, int64(settle)), rapid.Int64Range(int64(settle)-2, int64(settle)+2), rapid.Int64Range(0, int64(300*ms)))
	late := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, int64(2*ms)), rapid.Int64Range(0, int64(500*ms)))
	var edges []edge
	var at, told time.Duration
	for range rapid.IntRange(0, 60).Draw(t, "edges") {
		level = !level
		at += max(0, time.Duration(gap.Draw(t, "gap")))
		told = max(told, at+time.Duration(late.Draw(t, "late")))
		edges = append(edges, edge{level, at, told})
	}
	return edges
}

// settled is the model of the debounce: the edges of which the level lasted long enough, and was another than before.
func settled(level bool, edges []edge, settle time.Duration) []edge {
	var out []edge
	for n, e := range edges {
		last := n == len(edges)-1
		if (last || edges[n+1].at-e.at >= settle) && e.rising != level {
			level = e.rising
			out = append(out, e)
		}
	}
	return out
}

// pressed is the model of the presses of a debounced level that is quiet in the end.
func pressed(edges []edge, o Options) []string {
	var out []string
	waiting, began := false, time.Duration(0)
	if len(edges) > 0 && !edges[0].rising {
		edges = edges[1:] // it was on at the start
	}
	if o.Long == 0 && o.Double == 0 {
		return nil
	}
	for n := 0; n < len(edges); n += 2 {
		on, lasts := edges[n].at, o.Long
		if n+1 < len(edges) {
			lasts = edges[n+1].at - on
		}
		doubled := waiting && on-began < o.Double
		switch {
		case doubled:
			out = append(out, Double)
		case waiting:
			out = append(out, Single)
		}
		waiting, began = false, on
		switch {
		case doubled:
		case o.Long > 0 && lasts >= o.Long:
			out = append(out, Long)
		case n+1 == len(edges): // it lasts on
		case lasts < o.Double:
			waiting = true
		default:
			out = append(out, Single)
		}
	}
	if waiting {
		out = append(out, Single)
	}
	return out
}

func drawOptions(t *rapid.T) Options {
	duration := func(most time.Duration, name string) time.Duration {
		return time.Duration(rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(1, int64(most))).Draw(t, name))
	}
	return Options{Count: true, Settle: duration(20*ms, "settle"), Long: duration(400*ms, "long"), Double: duration(300*ms, "double"),
		Seq: rapid.OneOf(rapid.Just(uint32(0)), rapid.Uint32(), rapid.Uint32Range(1<<32-40, 1<<32-1)).Draw(t, "seq")}
}

// TestEveryEdgeIsTakenOnce holds that, after any edges however late they are told of, the level is the true one, the count that of the
// rising edges that lasted at least Settle, and each press is told of once, as what it was.
func TestEveryEdgeIsTakenOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o, level := drawOptions(t), rapid.Bool().Draw(t, "level")
		edges := drawEdges(t, level, o.Settle)
		i, h, now, seq := New(o, level, began), heard{}, time.Duration(0), o.Seq
		for _, e := range edges {
			h.ticks(t, i, now, e.at) // none while an edge waits to be told of
			now = max(now, e.told)
			seq++
			h.add(i.Edge(e.rising, boot+e.at, seq, began.Add(now)))
		}
		h.ticks(t, i, now, now+time.Hour)
		want := settled(level, edges, o.Settle)
		wantLevels := []bool(nil)
		wantCount := uint64(0)
		for _, e := range want {
			wantLevels = append(wantLevels, e.rising)
			if e.rising {
				wantCount++
			}
		}
		if !slices.Equal(h.levels, wantLevels) || len(edges) > 0 && i.Level() != edges[len(edges)-1].rising {
			t.Errorf("levels %v, want %v", h.levels, wantLevels)
		}
		if got := i.Count(began.Add(now + time.Hour)).Count; got != wantCount || h.counted != wantCount {
			t.Errorf("counted %d, and told so %d times, want %d", got, h.counted, wantCount)
		}
		if diff := cmp.Diff(pressed(want, o), h.presses); diff != "" {
			t.Errorf("presses -want +got:\n%s", diff)
		}
		if h.lost != 0 || i.Seq() != seq || !i.Next().IsZero() {
			t.Errorf("lost %d, Seq = %d, Next = %v, want 0, %d, never", h.lost, i.Seq(), i.Next(), seq)
		}
	})
}

// TestScansOvertakeEdges holds that reads between edges, also before those are told of, change neither the count nor the end.
func TestScansOvertakeEdges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o, level := drawOptions(t), rapid.Bool().Draw(t, "level")
		edges := drawEdges(t, level, o.Settle)
		i, h := New(o, level, began), heard{}
		if len(edges) > 0 {
			edges[0].told = edges[0].at // so that the clocks are known
		}
		now, n, isNow := time.Duration(0), 0, level
		read := func() {
			for n < len(edges) && edges[n].at <= now {
				isNow = edges[n].rising
				n++
			}
			h.add(i.Read(isNow, began.Add(now)))
		}
		for k, e := range edges {
			for range rapid.IntRange(0, 3).Draw(t, "reads") {
				if k > 0 { // no read knows of an edge before the first
					now += time.Duration(rapid.Int64Range(0, max(0, int64(e.told-now))).Draw(t, "until read"))
					read()
				}
			}
			now = max(now, e.told)
			if out := h.add(i.Edge(e.rising, boot+e.at, o.Seq+uint32(k)+1, began.Add(now))); out.Reread {
				read()
			}
		}
		h.ticks(t, i, now, now+time.Hour)
		rising := uint64(0)
		for _, e := range edges {
			if e.rising {
				rising++
			}
		}
		if o.Settle == 0 && h.counted != rising {
			t.Errorf("counted %d, want %d", h.counted, rising)
		}
		if len(edges) > 0 && i.Level() != edges[len(edges)-1].rising {
			t.Errorf("level %v, want %v", i.Level(), !i.Level())
		}
	})
}

// TestLostEdges holds that every lost edge is told of once, and that the level is true all the same if the line is read when an
// outcome asks for it.
func TestLostEdges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o, level := drawOptions(t), rapid.Bool().Draw(t, "level")
		edges := drawEdges(t, level, o.Settle)
		i, h, now, lost, waits := New(o, level, began), heard{}, time.Duration(0), uint32(0), uint32(0)
		for k, e := range edges {
			if k < len(edges)-1 && rapid.Bool().Draw(t, "lose") { // the kernel drops the oldest
				waits++
				continue
			}
			h.ticks(t, i, now, e.at)
			now = max(now, e.told)
			lost, waits = lost+waits, 0
			if out := h.add(i.Edge(e.rising, boot+e.at, o.Seq+uint32(k)+1, began.Add(now))); out.Reread {
				level = e.rising
				for _, later := range edges[k+1:] {
					if later.at <= now {
						level = later.rising
					}
				}
				h.add(i.Read(level, began.Add(now)))
			} else if out.Lost > 0 {
				t.Error("an edge is lost and nothing asked for")
			}
		}
		h.ticks(t, i, now, now+time.Hour)
		if h.lost != lost {
			t.Errorf("lost %d, want %d", h.lost, lost)
		}
		if len(edges) > 0 && i.Level() != edges[len(edges)-1].rising {
			t.Errorf("level %v, want %v", i.Level(), !i.Level())
		}
	})
}

// FuzzInput holds that any calls at any times leave an input that comes to rest on what a last read found, and counts what it says.
func FuzzInput(f *testing.F) {
	f.Add([]byte{5, 0, 0, 0, 3, 1, 4, 2, 9, 3}, int64(5*ms), int64(100*ms), int64(50*ms))
	f.Add([]byte{1, 2, 3, 4, 255, 254, 128, 7, 6, 1}, int64(-1), int64(0), int64(1))
	f.Fuzz(func(t *testing.T, calls []byte, settle, long, double int64) {
		const most = int64(time.Hour)
		o := Options{Settle: time.Duration(settle % most), Long: time.Duration(long % most), Double: time.Duration(double % most), Count: true}
		i, now, h := New(o, len(calls)%2 == 0, began), began, heard{}
		for ; len(calls) > 1; calls = calls[2:] {
			on := calls[0]&1 == 0
			now = now.Add(time.Duration(int8(calls[1])) * time.Duration(calls[0]) * ms) // backwards too
			switch calls[0] >> 1 & 3 {
			case 0, 1:
				h.add(i.Edge(on, time.Duration(calls[0])*time.Duration(calls[1])*ms, uint32(int8(calls[1])), now))
			case 2:
				h.add(i.Read(on, now))
			case 3:
				h.add(i.Tick(now))
			}
			if len(i.told) > 3 {
				t.Fatalf("%d presses wait", len(i.told))
			}
		}
		now = began.Add(10_000 * time.Hour)
		h.add(i.Read(true, now))
		for n := 0; !i.Next().IsZero(); n++ {
			h.add(i.Tick(now.Add(10 * time.Hour)))
			if n > 10 {
				t.Fatal("it comes not to rest")
			}
		}
		if got := i.Count(now); !i.Level() || got.Count != h.counted || got.Total != got.Count || !(got.Rate >= 0) {
			t.Errorf("level %v, %+v, want on and %d counted", i.Level(), got, h.counted)
		}
	})
}
