package fleet

import (
	"context"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"rollcall/internal/discover"
)

// TestFleetIsWatched watches a fleet in which nothing happens. With ROLLCALL_LONG=N it watches N hosts at the pace of
// `sweep --watch` for a minute, and says how much was sent.
func TestFleetIsWatched(t *testing.T) {
	t.Parallel()
	hosts, c := 500, discover.WatchConfig{Beat: 500 * time.Millisecond, Cycle: 2500 * time.Millisecond}
	cycles := 1
	if n, err := strconv.Atoi(os.Getenv("ROLLCALL_LONG")); err == nil {
		hosts, c, cycles = n, discover.WatchConfig{Beat: time.Second, Cycle: 25 * time.Second}, 2
	}
	f := start(t, Config{Hosts: hosts, Services: 2})
	began := time.Now()
	got, stats := sweepOf(t, f, nil)
	if len(got) != hosts {
		t.Fatalf("found %d of %d, %+v", len(got), hosts, stats)
	}
	c.To, c.Port, c.Since = []string{"127.255.255.255"}, int(f.Addr().Port()), time.Since(began)
	for _, a := range got {
		c.Hosts = append(c.Hosts, a)
	}
	c.Seen = func(a discover.Answer) { t.Errorf("told of %s, which is as it was", a.Host.Hostname) }
	c.Gone = func(id discover.ID) { t.Errorf("told that %v is lost", id) }
	w, err := discover.NewWatch(c)
	if err != nil {
		t.Fatal(err)
	}
	before, start := f.Stats(), time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	var watched discover.WatchStats
	var wg sync.WaitGroup
	wg.Go(func() { watched, err = w.Run(ctx) })
	end := time.NewTimer(time.Duration(cycles) * 30 * c.Cycle) // much later than it should take
	defer end.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	var each []uint64 // replies, a beat
	for last := before; f.Stats().Replies-before.Replies < uint64(cycles*hosts); {
		select {
		case <-end.C:
			t.Fatalf("%d replies in %v", f.Stats().Replies-before.Replies, time.Since(start))
		case <-again.C:
			if now := f.Stats(); now.Requests != last.Requests {
				each = append(each, now.Replies-last.Replies)
				last = now
			}
		}
	}
	took := time.Since(start)
	cancel()
	wg.Wait()
	after := f.Stats()
	if most := int(took/c.Beat) + 1; err != nil || watched.Requests > most || watched.Wrong != 0 {
		t.Errorf("%+v in %v, %v, want %d requests at most", watched, took, err, most)
	}
	if replies := after.Replies - before.Replies; float64(replies) > float64(cycles)*1.5*float64(hosts) {
		t.Errorf("%d replies of %d hosts in %d cycles", replies, hosts, cycles)
	}
	t.Logf("%d hosts: %d requests (%d bytes) and %d replies in %v: %.1f replies a second, %d at most to one request, %d dropped by the socket", hosts,
		watched.Requests, watched.RequestBytes, watched.Replies, took.Round(time.Millisecond), float64(watched.Replies)/took.Seconds(), slices.Max(each), watched.Drops)
}
