package discover

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"rollcall/internal/trust"
)

// TestClocksDiffer sweeps a host whose clock is an hour off, either way.
func TestClocksDiffer(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{-time.Hour, time.Hour, 31 * time.Second} {
		t.Run(skew.String(), func(t *testing.T) {
			t.Parallel()
			host, op, stranger := newKey(t, "host"), newKey(t, "op"), newKey(t, "stranger")
			b := closedBed(t, host, obeying(op), func(c *ResponderConfig) { c.Now = func() time.Time { return time.Now().Add(skew) } })
			b.r.authority.started = b.r.authority.started.Add(-2 * time.Hour)
			b.r.Update(closedHost(1, "pi", services(100, 20)...))
			b.start()
			id := closedHost(1, "pi").ID
			for name, c := range map[string]SweepConfig{"first contact": {}, "known": {Expect: []Known{{ID: id}}, Known: knows(map[ID]trust.Key{id: host})}} {
				c.To, c.Sealed, c.Key, c.Wait = []string{b.addr.String()}, true, op, 2*time.Second
				got, stats := gather(t, c)
				if len(got) != 1 || len(got[0].Host.Services) != 100 || stats.Clocks != 1 {
					t.Errorf("%s: %d hosts, %+v; outcomes: %v", name, len(got), stats, nonzero(b.r.Stats()))
				}
			}
			if got, stats := gather(t, SweepConfig{To: []string{b.addr.String()}, Sealed: true, Key: stranger, Wait: 400 * time.Millisecond}); len(got) != 0 || stats.Received != 0 {
				t.Errorf("a stranger with another clock got %d datagrams", stats.Received)
			}
		})
	}
}

// TestChallengeIsNoHole replays what asks for challenges and what answers them.
func TestChallengeIsNoHole(t *testing.T) {
	t.Parallel()
	host, op := newKey(t, "host"), newKey(t, "op")
	now := time.Now()
	file := filepath.Join(t.TempDir(), "floors.json")
	var out [][]byte
	boot := func() *bed {
		b := closedBed(t, host, obeying(op), func(c *ResponderConfig) { c.Floors, c.Now = file, func() time.Time { return now } })
		b.r.ifaces = home
		b.r.refresh(now, 0)
		out = nil
		b.r.reply = func(raw, _ []byte, _ netip.AddrPort) error { out = append(out, bytes.Clone(raw)); return nil }
		return b
	}
	handle := func(b *bed, q Request) outcome {
		b.r.authority.checks = map[int]bucket{}
		o, _ := b.r.handle(&datagram{b: mustSign(t, q, op), src: netip.AddrPortFrom(q.Requester, 5000), at: now, iface: 2})
		return o
	}
	b := boot()
	q := question(5, 1)
	q.Requester, q.Clock, q.Time = netip.MustParseAddr("192.168.1.7"), true, now.Add(-time.Hour)
	asked := q
	if o := handle(b, q); o != challenged || len(out) != 1 {
		t.Fatalf("request with another clock is %v", o)
	}
	opener := newOpener(SweepConfig{ID: 5, Key: op, Known: knows(map[ID]trust.Key{closedHost(1, "").ID: host})})
	r, err := ParseReply(out[0])
	if err == nil {
		err = opener.open(out[0], &r, netip.MustParseAddr("192.168.1.50"), newTray(1))
	}
	if err != nil || len(r.Cookie) != cookieSize {
		t.Fatalf("challenge is %+v, %v", r, err)
	}
	q.Clock, q.Cookie = false, r.Cookie
	for _, tt := range []struct {
		name   string
		change func(q *Request)
		later  time.Duration
		want   outcome
	}{
		{"of another sweep", func(q *Request) { q.Seq, q.Sweep = 2, 6 }, 0, clock},
		{"of another requester", func(q *Request) { q.Seq, q.Requester = 3, netip.MustParseAddr("192.168.1.8") }, 0, clock},
		{"changed", func(q *Request) { q.Seq, q.Cookie = 4, edit(q.Cookie, 3, q.Cookie[3]^1) }, 0, clock},
		{"right", func(q *Request) { q.Seq = 5 }, 0, answered},
		{"right, again", func(q *Request) { q.Seq = 5 }, 0, replayed},
		{"old", func(q *Request) { q.Seq = 6 }, 31 * time.Second, clock},
	} {
		q := q
		tt.change(&q)
		now = now.Add(tt.later)
		if o := handle(b, q); o != tt.want {
			t.Errorf("cookie %s: %v, want %v", tt.name, o, tt.want)
		}
	}
	// What asked for the challenge gets none again: soon, late, or after a restart.
	for _, later := range []time.Duration{0, time.Minute, time.Hour * 5} {
		now = now.Add(later)
		if o := handle(b, asked); o != replayed {
			t.Errorf("request for a challenge %v later is %v", later, o)
		}
	}
	b = boot()
	for name, q := range map[string]Request{"for a challenge": asked, "with a cookie": q} {
		q.Seq += 10
		if o := handle(b, q); (o != replayed && o != clock) || len(out) != 0 {
			t.Errorf("request %s after a restart is %v", name, o)
		}
	}
}
