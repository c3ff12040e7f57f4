package discover

import (
	"context"
	"crypto/ed25519"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"rollcall/internal/census"
	"rollcall/internal/trust"
)

// slowKey is a key whose computations wait until they are let go.
type slowKey struct {
	trust.Key
	entered, free chan struct{}
}

func (k slowKey) Shared(other ed25519.PublicKey) ([]byte, error) {
	k.entered <- struct{}{}
	<-k.free
	return k.Key.Shared(other)
}

func (k slowKey) ID() [8]byte { return k.Key.ID() }

// busySweep returns a sweep, in virtual time, whose replies are opened with that key.
func busySweep(t *testing.T) (*sweep, slowKey) {
	t.Helper()
	key := slowKey{newKey(t, "op"), make(chan struct{}), make(chan struct{})}
	s := newSweep(SweepConfig{ID: 7, Sealed: true, Key: key}, nil, func(Answer) {})
	s.census = census.New(census.Config{Sweep: 7, Open: true, Most: 250, Filter: 1000, Limit: time.Hour, Salt: func() uint64 { return 1 }})
	ctx, cancel := context.WithCancel(t.Context())
	s.startOpeners(ctx)
	t.Cleanup(func() { cancel(); close(key.free); s.readers.Wait() })
	return s, key
}

// TestRoundWaitsForOpeners has a reply that is being opened, in nobody's queue: no round may end before it is known whose it is,
// or whoever sent it is asked again.
func TestRoundWaitsForOpeners(t *testing.T) {
	t.Parallel()
	s, key := busySweep(t)
	const late = 10 * time.Second // after which any round is over
	for at := time.Duration(0); at < 100*time.Millisecond; at += time.Millisecond {
		s.census.Next(at)
	}
	to := netip.MustParseAddrPort("192.0.2.9:37030")
	b := sealedReply(t, newKey(t, "host"), key.Key, Reply{Sweep: 7, Round: 1, Seq: 1, First: 1, Tx: 1})
	s.raw <- []packet{{way: &way{single: map[netip.AddrPort]bool{to: true}}, from: to, b: b}}
	<-key.entered
	s.readSockets()
	if asks, _, done := s.census.Next(late); len(asks) > 0 || done {
		t.Errorf("while a reply is opened a round ended: %d requests, done %v", len(asks), done)
	}
	key.free <- struct{}{}
	list := <-s.in
	if err := list[0].err; err != nil {
		t.Fatalf("reply is not opened: %v", err)
	}
	s.takeAll(list)
	for until := time.After(patience); s.opening.Load() > 0; {
		select {
		case <-until:
			t.Fatal("openers have nothing to do and say that they have")
		default:
		}
	}
	s.readSockets()
	if asks, _, done := s.census.Next(late); len(asks) == 0 && !done {
		t.Error("with nothing to be opened no round ended")
	}
}

// TestAsksWhileOpening has a host answer whose reply takes long to be opened: the second round is sent meanwhile, with the host in its filter,
// and does not have everyone look after the clock as if nobody had answered.
func TestAsksWhileOpening(t *testing.T) {
	t.Parallel()
	s, key := busySweep(t)
	w, request := wayToOne(t)
	s.ways, s.start = []*way{w}, time.Now()
	id, at := closedHost(1, "pi").ID, time.Duration(0)
	ask := func(round uint16) (requests []Request) {
		t.Helper()
		for ; at < time.Minute; at += time.Millisecond {
			s.readSockets()
			asks, _, _ := s.census.Next(at)
			for _, a := range asks {
				if err := s.ask(a); err != nil {
					t.Fatal(err)
				}
				requests = append(requests, request())
			}
			if n := len(requests); n > 0 && requests[n-1].Round == round {
				return requests
			}
		}
		t.Fatalf("round %d is not asked", round)
		return nil
	}
	first := ask(1)[0]
	list := []packet{{way: w, from: slices.Collect(maps.Keys(w.single))[0], at: s.start.Add(time.Millisecond),
		b: sealedReply(t, newKey(t, "host"), key.Key, Reply{Sweep: 7, Round: 1, Seq: first.Seq, First: first.Seq, Tx: 1})}}
	s.claims.note(list)
	s.raw <- list
	<-key.entered
	s.hearClaims()
	for _, q := range ask(2) {
		if call := q.call(); q.Round == 2 && (!call.Heard(census.SpreadOf(7, q.Salt, id)) || q.Clock) {
			t.Errorf("second round has %d bytes of filter, asks about clocks: %v", len(q.Filter), q.Clock)
		}
	}
	key.free <- struct{}{}
	s.takeAll(<-s.in)
	if h := s.hosts[id]; h == nil {
		t.Error("the host is not heard")
	}
}
