package census

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"rollcall/lab/loss"
)

// fleet is hosts in virtual time that are watched.
type fleet struct {
	t       *testing.T
	w       *Watch
	c       WatchConfig
	loss    loss.Model
	rnd     *rand.Rand
	now     time.Duration
	edition map[ID]uint16 // of those that are there
	changed map[ID]time.Duration
	target  map[ID]int
	clock   map[ID]int // number of the host, for the loss model
	order   []ID

	last    time.Duration // when the last request was sent
	beats   int
	replies int
	most    int // replies to one beat
	heard   map[ID]time.Duration
	gap     time.Duration // the longest that a host was not heard for
	news    map[ID]time.Duration
	lost    map[ID]time.Duration
}

func newWatchFleet(t *testing.T, hosts int, c WatchConfig, l loss.Model) *fleet {
	c.Sweep, c.Salt, c.Room = 7, 11, 1100
	f := &fleet{t: t, w: NewWatch(c), c: c, loss: l, rnd: rand.New(rand.NewPCG(uint64(hosts), 2)), edition: map[ID]uint16{}, changed: map[ID]time.Duration{},
		target: map[ID]int{}, clock: map[ID]int{}, heard: map[ID]time.Duration{}, news: map[ID]time.Duration{}, lost: map[ID]time.Duration{}, last: -time.Hour}
	for i := range hosts {
		id := idOf(i)
		f.join(id, i%max(c.Targets, 1))
		f.changed[id] = -time.Hour
		f.w.Add(id, f.edition[id], f.target[id])
	}
	return f
}

func (f *fleet) join(id ID, target int) {
	if _, known := f.clock[id]; !known {
		f.clock[id] = len(f.order)
		f.order = append(f.order, id)
	}
	f.edition[id], f.changed[id], f.target[id] = uint16(f.rnd.Uint32()), f.now, target
}

func (f *fleet) change(id ID) { f.edition[id]++; f.changed[id] = f.now }

// run lets time pass.
func (f *fleet) run(d time.Duration) {
	end := f.now + d
	for f.now < end {
		b, ok, lost, wake := f.w.Next(f.now)
		for _, id := range lost {
			f.lost[id] = f.now
		}
		if ok {
			if least := f.w.every(); f.now-f.last < least {
				f.t.Errorf("two requests in %v, want %v at least", f.now-f.last, least)
			}
			f.last = f.now
			f.beats++
			f.answer(b)
		}
		if wake <= f.now {
			f.t.Fatalf("to be woken at %v, which is now", wake)
		}
		f.now = wake
	}
}

func (f *fleet) answer(b Beat) {
	n := 0
	for _, id := range f.order { // not of the map: the same seed is to give the same losses
		edition, there := f.edition[id]
		if !there {
			continue
		}
		recent := f.now-f.changed[id] <= b.Changed && !b.Heard(MarkOf(f.c.Sweep, b.Salt, b.Seq, edition, id))
		sp := SpreadOf(f.c.Sweep, b.Salt, id)
		meant := b.To == ID{} && f.target[id] == b.Target && (b.InRange(sp) || recent || slices.Contains(b.Names, id)) || b.To == id
		if !meant || f.loss.Lost(f.clock[id], false, f.now, f.rnd) {
			continue
		}
		n++
		if f.loss.Lost(f.clock[id], true, f.now, f.rnd) {
			continue
		}
		if last, ok := f.heard[id]; ok {
			f.gap = max(f.gap, f.now-last)
		}
		f.heard[id] = f.now
		if f.w.Hear(id, edition, f.target[id], f.now) {
			f.news[id] = f.now
		}
	}
	f.replies += n
	f.most = max(f.most, n)
}

// TestWatchIsQuiet watches hosts of which nothing is to be told for ten minutes: each is asked in time, nobody is lost, and
// whoever answers is due.
func TestWatchIsQuiet(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		hosts, targets int
		loss           func() loss.Model
		gap            time.Duration // longest between two answers of a host; 0: any
	}{
		{1, 1, func() loss.Model { return loss.Independent(0) }, 30 * time.Second},
		{10, 1, func() loss.Model { return loss.Independent(0) }, 30 * time.Second},
		{1000, 1, func() loss.Model { return loss.Independent(0) }, 30 * time.Second},
		{1000, 4, func() loss.Model { return loss.Independent(0) }, 30 * time.Second},
		{5000, 1, func() loss.Model { return loss.Independent(0) }, 30 * time.Second},
		{40, 40, func() loss.Model { return loss.Independent(0) }, 30 * time.Second}, // single addresses
		{1, 1, func() loss.Model { return loss.Independent(0.1) }, 0},
		{1000, 1, func() loss.Model { return loss.Independent(0.1) }, 0},
		{1000, 1, func() loss.Model { return loss.Independent(0.3) }, 0},
		{1000, 1, func() loss.Model { return loss.NewTimeBursts(0.1, 300*time.Millisecond) }, 0},
		{300, 3, func() loss.Model { return loss.NewTimeBursts(0.1, 5*time.Millisecond) }, 0},
	} {
		l := tt.loss()
		t.Run(fmt.Sprintf("%d hosts, %d targets, %v", tt.hosts, tt.targets, l), func(t *testing.T) {
			t.Parallel()
			f := newWatchFleet(t, tt.hosts, WatchConfig{Targets: tt.targets}, l)
			f.run(10 * time.Minute)
			if len(f.lost) != 0 || len(f.news) != 0 {
				t.Errorf("%d lost, %d new, want none", len(f.lost), len(f.news))
			}
			if tt.gap > 0 && (f.gap > tt.gap || len(f.heard) != tt.hosts) {
				t.Errorf("%d of %d heard, one of them not for %v, want all within %v", len(f.heard), tt.hosts, f.gap, tt.gap)
			}
			if want := float64(tt.hosts) * 600 / 25; tt.gap > 0 && float64(f.replies) > 1.05*want+float64(tt.hosts) {
				t.Errorf("%d replies, want %.0f", f.replies, want)
			}
			t.Logf("%d requests, %d replies, %d at most to one, longest silence %v", f.beats, f.replies, f.most, f.gap)
		})
	}
}

// TestWatchSees has hosts join, change and go.
func TestWatchSees(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		hosts, targets int
		loss           loss.Model
		change, gone   time.Duration // within which it is seen, most of it by luck with losses
	}{
		{1, 1, loss.Independent(0), 2 * time.Second, 34 * time.Second},
		{100, 1, loss.Independent(0), 2 * time.Second, 34 * time.Second},
		{5000, 1, loss.Independent(0), 2 * time.Second, 36 * time.Second},
		{100, 3, loss.Independent(0), 4 * time.Second, 40 * time.Second},
		{1000, 1, loss.Independent(0.1), 10 * time.Second, 60 * time.Second},
		{1000, 1, loss.Independent(0.3), 30 * time.Second, 100 * time.Second},
	} {
		t.Run(fmt.Sprintf("%d hosts, %d targets, %v", tt.hosts, tt.targets, tt.loss), func(t *testing.T) {
			t.Parallel()
			f := newWatchFleet(t, tt.hosts, WatchConfig{Targets: tt.targets}, tt.loss)
			f.run(40 * time.Second)
			joined := ID{0xaa}
			f.join(joined, 0)
			f.change(idOf(0))
			f.run(tt.change)
			for _, id := range []ID{joined, idOf(0)} {
				if _, ok := f.news[id]; !ok {
					t.Errorf("nothing heard of %x within %v", id, tt.change)
				}
			}
			f.run(20 * time.Second)
			at := f.now
			f.news = map[ID]time.Duration{}
			f.change(idOf(0))
			f.run(500 * time.Millisecond)
			f.change(idOf(0)) // again, at once
			delete(f.edition, joined)
			f.run(tt.gone)
			if f.w.hosts[idOf(0)].edition != f.edition[idOf(0)] {
				t.Error("the second of two changes is not known")
			}
			if gone, ok := f.lost[joined]; !ok || len(f.lost) != 1 {
				t.Errorf("lost %v, want only the one that went %v ago", f.lost, f.now-at)
			} else {
				t.Logf("lost after %v", gone-at)
			}
		})
	}
}

// TestWatchManyAtOnce has a power cut, and all hosts come back.
func TestWatchManyAtOnce(t *testing.T) {
	t.Parallel()
	const hosts = 3000
	f := newWatchFleet(t, hosts, WatchConfig{}, loss.Independent(0))
	f.run(30 * time.Second)
	f.edition = map[ID]uint16{}
	f.run(3 * time.Minute)
	if len(f.lost) != hosts {
		t.Errorf("%d lost, want %d", len(f.lost), hosts)
	}
	f.replies = 0
	for _, id := range f.order {
		f.join(id, 0)
	}
	f.run(30 * time.Second)
	if len(f.news) != hosts || f.replies > 4*hosts {
		t.Errorf("%d of %d are back with %d replies", len(f.news), hosts, f.replies)
	}
	t.Logf("%d replies to tell of %d hosts", f.replies, hosts)
}

// A host that says hello is asked by name, three times at most; one that says bye is not missed.
func TestWatchHello(t *testing.T) {
	t.Parallel()
	f := newWatchFleet(t, 4, WatchConfig{Targets: 3}, loss.Independent(0))
	f.run(3 * time.Second)
	f.w.Forget(idOf(0))
	f.w.Look(ID{9}, 2)
	named := 0
	for range 5 {
		f.now = f.w.next
		b, _, lost, _ := f.w.Next(f.now)
		if len(lost) != 0 {
			t.Fatalf("lost %v", lost)
		}
		if named == 0 && b.Target != 2 {
			t.Errorf("first asked at target %d, want 2", b.Target)
		}
		if slices.Contains(b.Names, ID{9}) {
			named++
		}
		f.answer(b)
	}
	if named != curiousFor {
		t.Errorf("named %d times, want %d", named, curiousFor)
	}
}
