package discover

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"rollcall/internal/census"
	"rollcall/internal/trust"
	"rollcall/reports"
)

// viewer runs a watch and takes in what it tells.
type viewer struct {
	t      *testing.T
	w      *Watch
	events chan string
	done   chan struct{} // closed when Run has returned
	end    func() (WatchStats, error)
}

// watchFor is how long a test waits for an event: where datagrams get lost, because the machine is busy, a host takes many requests to be lost.
const watchFor = 8 * patience

// view starts a watch of the hosts that a sweep finds, changed before it runs.
func view(t *testing.T, c WatchConfig, changes ...func(*Watch)) *viewer {
	t.Helper()
	v := &viewer{t: t, events: make(chan string, 1000), done: make(chan struct{})}
	c.Sealed, c.Wait = true, 2*time.Second
	began := time.Now()
	c.Hosts, _ = gather(t, c.SweepConfig)
	c.Since = time.Since(began)
	c.Seen = func(a Answer) {
		v.events <- fmt.Sprintf("seen %s with %d services at %v", a.Host.Hostname, len(a.Host.Services), a.From.Addr())
	}
	c.Gone = func(id ID) { v.events <- fmt.Sprintf("lost %d", id[7]) }
	c.Distrust = func(k KeyChange) { v.events <- "distrust " + k.Hostname }
	var err error
	if v.w, err = NewWatch(c); err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		change(v.w)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var stats WatchStats
	var ended error
	var wg sync.WaitGroup
	start := time.Now()
	wg.Go(func() { stats, ended = v.w.Run(ctx); close(v.done) })
	v.end = sync.OnceValues(func() (WatchStats, error) {
		cancel()
		wg.Wait()
		if most := int(time.Since(start)/c.Beat) + 1; stats.Requests > most {
			t.Errorf("%d requests, want %d at most: one every %v", stats.Requests, most, c.Beat)
		}
		return stats, ended
	})
	t.Cleanup(func() { _, _ = v.end() })
	return v
}

// want waits for these events, in any order, and fails on others.
func (v *viewer) want(events ...string) {
	v.t.Helper()
	var got []string
	deadline := time.NewTimer(watchFor)
	defer deadline.Stop()
	for len(got) < len(events) {
		select {
		case e := <-v.events:
			if !slices.Contains(events, e) {
				v.t.Fatalf("%s, want %q", e, events)
			}
			got = append(got, e)
		case <-deadline.C:
			v.t.Fatalf("events %q within %v, want %q", got, watchFor, events)
		}
	}
}

// run starts a bed that can be stopped.
func (b *bed) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = b.r.Run(ctx) })
	stop = func() { cancel(); wg.Wait() }
	b.t.Cleanup(stop)
	return stop
}

// TestWatch has hosts join, change, restart and go, each at an address of its own.
func TestWatch(t *testing.T) {
	t.Parallel()
	a := startBed(t, "127.0.0.2:0", testHost(1, "pi1"), nil)
	b, c := newBed(t, "127.0.0.3:0", nil), newBed(t, "127.0.0.4:0", nil)
	b.r.Update(testHost(2, "pi2", services(5, 8)...))
	stop := b.run()
	v := view(t, WatchConfig{SweepConfig: SweepConfig{To: []string{a.addr.String(), b.addr.String(), c.addr.String()}},
		Beat: 150 * time.Millisecond, Cycle: 500 * time.Millisecond})
	c.r.Update(testHost(3, "pi3"))
	c.run()
	v.want("seen pi3 with 0 services at 127.0.0.4")
	h := testHost(1, "pi1", services(100, 20)...) // on several pages
	a.r.Update(h)
	v.want("seen pi1 with 100 services at 127.0.0.2")
	h.Services[99].Status = reports.Offline
	a.r.Update(h)
	v.want("seen pi1 with 100 services at 127.0.0.2")
	stop()
	v.want("lost 2")
	again := startBed(t, b.addr.String(), testHost(2, "pi2"), nil)
	v.want("seen pi2 with 0 services at 127.0.0.3")
	v.w.Forget(testHost(2, "").ID)
	v.w.Look(testHost(2, "").ID, again.addr)
	v.want("seen pi2 with 0 services at 127.0.0.3") // it said bye, and comes again
	if _, err := v.end(); err != nil {
		t.Errorf("Run() = %v", err)
	}
}

// TestWatchSealed watches a host whose clock is wrong, and one that nobody has introduced.
func TestWatchSealed(t *testing.T) {
	t.Parallel()
	op, one, two := newKey(t, "op"), newKey(t, "one"), newKey(t, "two")
	late := closedBed(t, one, obeying(op), func(c *ResponderConfig) { c.Now = func() time.Time { return time.Now().Add(-time.Hour) } })
	late.r.authority.started = late.r.authority.started.Add(-2 * time.Hour)
	late.start()
	other := closedBed(t, two, obeying(op), nil)
	ids := map[ID]trust.Key{closedHost(1, "").ID: one}
	v := view(t, WatchConfig{SweepConfig: SweepConfig{To: []string{late.addr.String(), other.addr.String()}, Key: op, Known: knows(ids)},
		Beat: 150 * time.Millisecond, Cycle: 500 * time.Millisecond})
	other.r.Update(closedHost(2, "new"))
	other.start()
	v.want("seen new with 0 services at 127.0.0.1")
	late.await(challenged, 6) // it is there all the time
	late.r.Update(closedHost(1, "pi", services(3, 8)...))
	v.want("seen pi with 3 services at 127.0.0.1")
	if _, err := v.end(); err != nil || len(v.events) != 0 {
		t.Errorf("Run() = %v, %d events more", err, len(v.events))
	}
	ids[closedHost(2, "").ID] = one // another key than it has
	v = view(t, WatchConfig{SweepConfig: SweepConfig{To: []string{other.addr.String()}, Key: op, Known: knows(ids)}, Beat: 150 * time.Millisecond},
		func(w *Watch) { w.s.introduce = true })
	other.r.Update(closedHost(2, "newer"))
	v.want("distrust newer")
}

// Where each host is due once in 25 s, so do the hosts of a watch that is left alone answer.
func TestWatchDefaults(t *testing.T) {
	t.Parallel()
	w, err := NewWatch(WatchConfig{SweepConfig: SweepConfig{To: []string{"127.0.0.1"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.s.close()
	if got := w.cycle(); got != census.DefaultCycle {
		t.Errorf("cycle() = %v, want %v", got, census.DefaultCycle)
	}
	if _, err := NewWatch(WatchConfig{SweepConfig: SweepConfig{To: []string{"nonsense"}}}); err == nil {
		t.Error("NewWatch() of nonsense = nil")
	}
}

// A host that does not know when it started has not restarted, however long it is watched.
func TestRestarted(t *testing.T) {
	t.Parallel()
	const unknown = (1<<32 - 1) * time.Second
	for _, tt := range []struct {
		was, now time.Duration // age
		ago      time.Duration // when the first was said
		want     bool
	}{
		{time.Hour, time.Hour + 20*time.Second, 20 * time.Second, false},
		{time.Hour, time.Hour + 17*time.Second, 20 * time.Second, false}, // whole seconds, and time on the way
		{time.Hour, 3 * time.Second, 20 * time.Second, true},
		{unknown, unknown, time.Hour, false},
	} {
		h := &watchedHost{}
		if h.answer.Host.Started = startOf(tt.was); !h.answer.Host.Started.IsZero() {
			h.answer.Host.Started = h.answer.Host.Started.Add(-tt.ago)
		}
		if got := (&Watch{}).restarted(h, Reply{Age: tt.now}); got != tt.want {
			t.Errorf("restarted from age %v to %v within %v = %v, want %v", tt.was, tt.now, tt.ago, got, tt.want)
		}
	}
}
