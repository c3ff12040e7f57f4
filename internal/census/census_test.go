package census

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/lab/loss"
)

// TestMany holds sweeps of many hosts to how soon they are done and what they cost (DISCOVERY.md §6, with room for the random
// numbers).
func TestMany(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		n          int
		loss       float64
		last, ends time.Duration
		kB         int
	}{
		{1000, 0, 60 * time.Millisecond, 130 * time.Millisecond, 200},
		{1000, 0.3, 100 * time.Millisecond, 180 * time.Millisecond, 250},
		{10_000, 0, 250 * time.Millisecond, 300 * time.Millisecond, 400},
		{10_000, 0.1, 340 * time.Millisecond, 410 * time.Millisecond, 400},
		{10_000, 0.3, 470 * time.Millisecond, 580 * time.Millisecond, 400},
	} {
		for _, known := range []bool{false, true} {
			w := world{n: tt.n, loss: loss.Independent(tt.loss), buffer: 6553, service: 4 * time.Microsecond}
			if known {
				w.known = tt.n
			}
			got := w.run(3)
			each := float64(got.replies) / float64(tt.n) * (1 - tt.loss) // of which those that got lost are not the sweep's fault
			t.Logf("%d hosts, %.0f%% loss, known %v: last %v, end %v, %d kB, %.2f replies a host, %d rounds, %d lost in the buffer", tt.n,
				tt.loss*100, known, got.last, got.ends, got.requestBytes/1000, each, got.Rounds, got.lostInBuffer)
			if got.heard != tt.n || !got.Complete || got.last > tt.last || got.ends > tt.ends || got.requestBytes > tt.kB*1000 ||
				got.lostInBuffer > 0 || (each > 1.15 && tt.n == 10_000) || len(got.Missing) > 0 {
				t.Errorf("%d hosts, %.0f%% loss, known %v: heard %d, %+v", tt.n, tt.loss*100, known, got.heard, got.Result)
			}
		}
	}
}

// TestSmallBuffer has a socket with the kernel's default buffer.
func TestSmallBuffer(t *testing.T) {
	t.Parallel()
	w := world{n: 10_000, loss: loss.Independent(0.1), buffer: DefaultBuffer, service: 15 * time.Microsecond, configure: func(c *Config) {
		c.Buffer, c.Rate = DefaultBuffer, SmallRate
	}}
	got := w.run(1)
	t.Logf("last %v, end %v, %.2f replies a host, %d lost in the buffer", got.last, got.ends, float64(got.replies)/10_000, got.lostInBuffer)
	if got.heard != 10_000 || !got.Complete || got.lostInBuffer > 1000 {
		t.Errorf("heard %d, %+v, %d replies lost in the buffer", got.heard, got.Result, got.lostInBuffer)
	}
}

// TestSlowReader has a requester that can take a tenth of the rate it begins with: it must notice and ask for less.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	w := world{n: 3000, loss: loss.Independent(0), buffer: DefaultBuffer, service: 200 * time.Microsecond}
	got := w.run(1)
	t.Logf("last %v, end %v, %.2f replies a host, %d lost in the buffer", got.last, got.ends, float64(got.replies)/3000, got.lostInBuffer)
	if got.heard != 3000 || !got.Complete || got.Drops == 0 || got.ends > 3*time.Second {
		t.Errorf("heard %d in %v, %+v", got.heard, got.ends, got.Result)
	}
}

func TestMissingHosts(t *testing.T) {
	t.Parallel()
	w := world{n: 100, known: 100, loss: loss.Independent(0.1), deaf: map[int]bool{17: true, 42: true}}
	got := w.run(1)
	if got.heard != 98 || !slices.Equal(got.Missing, []ID{idOf(17), idOf(42)}) || !got.Complete || got.ends > time.Second {
		t.Errorf("heard %d, missing %x, complete %v, after %v; want 98, the two, true, within a second", got.heard, got.Missing, got.Complete, got.ends)
	}
}

// TestBusyHost has known hosts be busy with something else for a while: they are not missing.
func TestBusyHost(t *testing.T) {
	t.Parallel()
	for _, lost := range []float64{0, 0.1} {
		w := world{n: 50, known: 50, loss: loss.Independent(lost), late: map[int]time.Duration{7: 100 * time.Millisecond, 9: 250 * time.Millisecond},
			configure: func(c *Config) { c.Most, c.Late = smallNetwork, true }}
		if got := w.run(1); got.heard != 50 || len(got.Missing) > 0 || !got.Complete || got.ends > time.Second {
			t.Errorf("loss %v: heard %d of 50, missing %x, complete %v, after %v", lost, got.heard, got.Missing, got.Complete, got.ends)
		}
	}
}

// TestKnownOfAnotherNetwork has 5,000 hosts known that are all gone: they are not asked one by one.
func TestKnownOfAnotherNetwork(t *testing.T) {
	t.Parallel()
	w := world{n: 3, known: 5003, loss: loss.Independent(0), deaf: map[int]bool{}, configure: func(c *Config) { c.Known = c.Known[3:] }}
	got := w.run(1)
	if got.heard != 3 || !got.Complete || len(got.Missing) != 5000 || got.requestBytes > 200_000 {
		t.Errorf("heard %d, %d missing, complete %v, %d bytes of requests", got.heard, len(got.Missing), got.Complete, got.requestBytes)
	}
}

// TestLateRounds has hosts whose first ARP request was lost, and who are silent until they send the next.
func TestLateRounds(t *testing.T) {
	t.Parallel()
	late := map[int]time.Duration{3: time.Second, 4: time.Second, 5: 3 * time.Second}
	got := world{n: 50, loss: loss.Independent(0.1), resolve: true, late: late}.run(1)
	if got.heard != 50 || !got.Complete || got.ends > 3500*time.Millisecond {
		t.Errorf("heard %d in %v, %+v, want 50 within 3.5s", got.heard, got.ends, got.Result)
	}
	if got := (world{n: 50, loss: loss.Independent(0.1), resolve: true, late: late, limit: 2 * time.Second}).run(1); got.Complete || got.Why != "time is up" {
		t.Errorf("with 2s: %+v, want incomplete", got.Result)
	}
	if got := (world{n: 50, loss: loss.Independent(0), resolve: true}).run(1); !got.Complete || got.ends > 200*time.Millisecond {
		t.Errorf("without loss: %+v after %v, want an early end", got.Result, got.ends)
	}
}

func TestNobody(t *testing.T) {
	t.Parallel()
	got := world{loss: loss.Independent(0)}.run(1)
	if got.Complete || got.Why != "nobody answered" || got.ends < time.Second || got.ends > 1500*time.Millisecond || got.requestBytes > 40*simRequest {
		t.Errorf("%+v after %v and %d bytes, want incomplete after a second and few requests", got.Result, got.ends, got.requestBytes)
	}
}

// TestSingles asks three addresses by unicast.
func TestSingles(t *testing.T) {
	t.Parallel()
	ask := func(c *Config) { c.Open, c.Singles = false, 3 }
	s := New(Config{Singles: 1, Limit: time.Second, Salt: func() uint64 { return 1 }})
	asks, _, _ := s.Next(0)
	if len(asks) != 1 || asks[0].Round != 1 || asks[0].Seq != 1 {
		t.Fatalf("asks %+v, want the first copy of round 1", asks)
	}
	s.Hear(Heard{ID: ID{1}, Seq: 1, First: 1, Tx: 1}, time.Millisecond)
	s.Answered()
	s.Next(time.Millisecond)
	if _, _, done := s.Next(2 * time.Millisecond); !done || !s.Result().Complete {
		t.Errorf("with all answered: done %v, %+v", done, s.Result())
	}
	got := world{n: 2, loss: loss.Independent(0), configure: ask}.run(1) // nobody calls Answered
	if got.Complete || got.ends < namedPatience || got.ends > patience || !strings.Contains(got.Why, "3 of the addresses") {
		t.Errorf("with none answered: %+v after %v", got.Result, got.ends)
	}
}

func TestWirelessIsPatient(t *testing.T) {
	t.Parallel()
	got := world{n: 10, loss: loss.Independent(0.1), configure: func(c *Config) { c.Wireless, c.Rate = true, WirelessRate }}.run(1)
	if got.heard != 10 || !got.Complete || got.ends < wirelessGuard {
		t.Errorf("heard %d in %v, %+v", got.heard, got.ends, got.Result)
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	s := New(Config{Sweep: 7, Open: true, Filter: 1200, Limit: time.Hour, Salt: func() uint64 { return 99 }})
	for i := range 5000 {
		s.Hear(Heard{ID: idOf(i), Tx: 1, First: 1}, 0)
	}
	s.n = 2
	r := s.plan(0)
	hidden, parts := 0, map[uint64]bool{}
	var calls []Call
	for r.next < len(r.sends) {
		a, _ := s.send(r, time.Second)
		if !parts[a.Lo] {
			parts[a.Lo] = true
			calls = append(calls, a.Call)
		}
	}
	for i := range 15_000 {
		sp, in, heard := SpreadOf(7, 99, idOf(i)), 0, false
		for _, c := range calls {
			if c.InRange(sp) {
				in++
				heard = c.Heard(sp)
			}
		}
		switch {
		case in != 1:
			t.Fatalf("host %d is in %d ranges, want 1", i, in)
		case i < 5000 && !heard:
			t.Fatalf("host %d was heard and is in no filter", i)
		case i >= 5000 && heard:
			hidden++
		}
	}
	if share := float64(hidden) / 10_000; len(calls) != 4 || share > 1.3*r.hidden+0.002 || share > 0.04 {
		t.Errorf("%d ranges, %.4f of hosts hidden, expected %.4f", len(calls), share, r.hidden)
	}
}

func TestAttendance(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	var a Attendance
	a.Hear(7, 1200)
	a.Hear(8, 1200)
	if !a.Plan(1, 8, 10*time.Millisecond, 1<<63, 3, now) || a.Plan(1, 8, 0, 0, 1, now) {
		t.Error("a round is to be answered once")
	}
	at, ok := a.Due()
	if !ok || at.Sub(now) != 5*time.Millisecond {
		t.Errorf("due after %v, %v, want half the window", at.Sub(now), ok)
	}
	turn, ok := a.Take(400, at)
	if want := (Turn{Round: 1, Seq: 8, Tx: 1, Delay: 5 * time.Millisecond}); !ok || turn != want || a.First != 7 {
		t.Errorf("turn %+v, %v, first %d, want %+v, first 7", turn, ok, a.First, want)
	}
	if next, ok := a.Due(); !ok || next.Sub(at) != time.Millisecond {
		t.Errorf("next copy after %v, want 1ms", next.Sub(at))
	}
	a.Cancel()
	if _, ok := a.Due(); ok {
		t.Error("copies are due after the requester has heard the host")
	}
	a.Plan(2, 8, 0, 0, 200, now)
	sent := 0
	for {
		if _, ok := a.Take(600, now); !ok {
			break
		}
		sent++
	}
	if sent != 3 { // 400 + 3 × 600 of 2,400 bytes
		t.Errorf("%d copies of 600 bytes, want 3: no more bytes out than in", sent)
	}
	for i := range uint16(20) {
		if got := a.Plan(10+i, 8, 0, 0, 1, now); got != (i < MaxAnswers-2) {
			t.Errorf("answer %d planned: %v", i+3, got)
		}
	}
	var long Attendance
	long.Plan(1, 1, 365*24*time.Hour, 1<<63, 1, now)
	if at, _ := long.Due(); at.Sub(now) > MaxWindow {
		t.Errorf("a window of a year: due after %v", at.Sub(now))
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	var few, many tally
	few.add(0)
	for i := range 1000 {
		many.add(float64(i % 2))
	}
	if b := few.bound(); b < 0.4 {
		t.Errorf("bound of one host = %v, want what still holds at 40 %%", b)
	}
	if r, b := many.rate(), many.bound(); r < 0.33 || r > 0.34 || b < r || b > r+0.03 {
		t.Errorf("rate %v, bound %v, want 1/3 and little more", r, b)
	}
}

// Where some networks are asked from the second round on only, as IPv6 is beside IPv4, that round is sized by what the first one shows
// of the others all the same.
func TestLateNetworksAreNoSurprise(t *testing.T) {
	t.Parallel()
	const n, lost = 10_000, 0.3
	w := world{n: n, loss: loss.Independent(lost), buffer: 6553, service: 4 * time.Microsecond, configure: func(c *Config) { c.Late = true }}
	got := w.run(3)
	each := float64(got.replies) / n * (1 - lost)
	t.Logf("last %v, end %v, %.2f replies a host, %d lost in the buffer", got.last, got.ends, each, got.lostInBuffer)
	if got.heard != n || !got.Complete || each > 1.15 || got.lostInBuffer > 0 {
		t.Errorf("heard %d of %d with %.2f replies each and %d lost in the buffer, %+v; want 1.15 at most and none", got.heard, n, each, got.lostInBuffer, got.Result)
	}
}

// batches loses a tenth of what all hosts say, or are told, within the same millisecond, as a line does over which a relay passes that
// on in one datagram.
type batches map[[2]time.Duration]bool

func (b batches) Lost(_ int, up bool, at time.Duration, rnd *rand.Rand) bool {
	key := [2]time.Duration{at / time.Millisecond, 0}
	if up {
		key[1] = 1
	}
	lost, known := b[key]
	if !known {
		lost = rnd.Float64() < 0.1
		b[key] = lost
	}
	return lost
}

// By way of a relay, rounds leave each other more time and are believed less: what gets lost there are many replies at once.
func TestRelayLosesBatches(t *testing.T) {
	t.Parallel()
	for _, early := range []bool{false, true} {
		wrong := 0
		const sweeps = 1000
		for i := range uint64(sweeps) {
			const trip = 5 * time.Millisecond
			got := world{n: 8, loss: batches{}, far: trip, early: early, configure: func(c *Config) { c.Most, c.Trip = smallNetwork, trip }}.run(i)
			if got.Complete && got.heard < 8 {
				wrong++
			}
		}
		t.Logf("begun early: %v: %d wrong", early, wrong)
		if wrong > sweeps/500 {
			t.Errorf("begun early: %v: %d of %d sweeps missed a host and said that they were complete", early, wrong, sweeps)
		}
	}
}

// A sweep that begins before it is known how far the hosts are sends the rest when that is, and waits for its answers.
func TestBegunEarly(t *testing.T) {
	t.Parallel()
	const guess, trip = 150 * time.Millisecond, 40 * time.Millisecond
	s := New(Config{Sweep: 1, Open: true, Most: smallNetwork, Trip: guess, Filter: 1000, Limit: time.Minute, Salt: func() uint64 { return 1 }})
	asks, _, _ := s.Next(0)
	if len(asks) != 1 || asks[0].Seq != 1 || asks[0].Round != 1 {
		t.Fatalf("first requests = %+v, want one to everybody", asks)
	}
	s.Arrived(trip, trip+time.Millisecond)
	asks, wake, done := s.Next(trip + time.Millisecond)
	if len(asks) != 1 || asks[0].Seq != 2 || asks[0].Round != 1 || done {
		t.Errorf("then = %+v, want the second copy", asks)
	}
	if soonest, latest := 2*trip+time.Millisecond, trip+guess; wake < soonest || wake > latest {
		t.Errorf("the round lasts until %v, want answers to the second copy to be here, from %v, and not %v", wake, soonest, latest)
	}
}
