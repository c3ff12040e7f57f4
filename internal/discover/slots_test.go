package discover

import (
	"math/bits"
	"net/netip"
	"testing"
	"time"

	"rollcall/internal/census"
)

// slotBed is a responder with a clock of its own, which notes its replies.
type slotBed struct {
	*bed
	now     time.Time
	replies []Reply
	seq     uint32
}

func newSlotBed(t *testing.T, services ...Service) *slotBed {
	b := &slotBed{bed: newBed(t, "127.0.0.1:0", nil), now: time.Now()}
	b.r.c.Now = func() time.Time { return b.now }
	b.r.reply = func(raw, _ []byte, _ netip.AddrPort) error {
		r, err := ParseReply(raw)
		if err != nil {
			t.Errorf("reply: %v", err)
		}
		b.replies = append(b.replies, r)
		return nil
	}
	b.r.refresh(b.now, 0)
	b.r.Update(testHost(1, "pi", services...))
	return b
}

// ask gives the responder a request.
func (b *slotBed) ask(change func(q *Request)) outcome {
	b.t.Helper()
	b.seq++
	q := question(7, b.seq)
	q.Time, q.Salt = b.now, 99
	change(&q)
	return give(b.bed, mustMarshal(b.t, q), "127.0.0.1", 1)
}

// after lets time pass and returns how many replies there are then.
func (b *slotBed) after(d time.Duration) int {
	b.now = b.now.Add(d)
	b.r.due(b.now)
	return len(b.replies)
}

func TestReplyWaitsForItsSlot(t *testing.T) {
	t.Parallel()
	b := newSlotBed(t)
	const window = 100 * time.Millisecond
	hi, _ := bits.Mul64(census.SpreadOf(7, 99, testHost(1, "").ID).Slot, uint64(window))
	slot := time.Duration(hi)
	if o := b.ask(func(q *Request) { q.Round, q.Window = 1, window }); o != answered || len(b.replies) != 0 {
		t.Fatalf("%v with %d replies, want answered later", o, len(b.replies))
	}
	if o := b.ask(func(q *Request) { q.Round, q.Window = 1, window }); o != repeated {
		t.Errorf("second copy of the request: %v, want repeated", o)
	}
	if n := b.after(slot - time.Microsecond); n != 0 || b.r.wake.IsZero() {
		t.Errorf("%d replies before the slot, wake-up at %v, want none, and to be woken", n, b.r.wake)
	}
	if n := b.after(time.Microsecond); n != 1 {
		t.Fatalf("%d replies in the slot, want 1", n)
	}
	if r := b.replies[0]; r.Round != 1 || r.Seq != 1 || r.First != 1 || r.Tx != 1 || r.Delay != slot.Truncate(time.Microsecond) {
		t.Errorf("reply %+v, want round 1, seq 1, first 1, tx 1, delay %v", r, slot)
	}
	if n := b.after(time.Hour); n != 1 || !b.r.wake.IsZero() || len(b.r.slots) != 0 {
		t.Errorf("afterwards %d replies, wake-up at %v, %d slots: an idle host must not be woken", n, b.r.wake, len(b.r.slots))
	}
}

func TestCopiesOfAReply(t *testing.T) {
	t.Parallel()
	b := newSlotBed(t)
	b.ask(func(q *Request) { q.Sample = 1 }) // for others: it counts as heard all the same
	b.ask(func(q *Request) { q.Copies = 3 })
	for i := range 3 {
		if n := b.after(time.Duration(min(i, 1)) * time.Millisecond); n != i+1 {
			t.Errorf("%d replies after %d ms, want %d", n, i, i+1)
		}
	}
	if b.after(time.Minute); len(b.replies) != 3 || b.replies[2].Tx != 3 || b.replies[2].First != 1 || b.replies[0].Seq != 2 {
		t.Errorf("%d replies, the last %+v, want 3, tx 3, first 1", len(b.replies), b.replies[len(b.replies)-1])
	}
	// The requester has heard it: no further copy.
	b.ask(func(q *Request) { q.Copies = 3 })
	if o := b.ask(func(q *Request) { q.Filter, q.FilterHashes = []byte{0xff}, 1 }); o != unselected {
		t.Errorf("with a filter that has it: %v", o)
	}
	if n := b.after(time.Minute); n != 4 {
		t.Errorf("%d replies, want 4: the others were cancelled", n)
	}
}

// TestNoMoreOutThanIn asks with all copies that there may be, for a reply that fills a datagram, and for further pages.
func TestNoMoreOutThanIn(t *testing.T) {
	t.Parallel()
	b := newSlotBed(t, services(200, 40)...)
	in, out := 0, 0
	b.r.reply = func(raw, _ []byte, _ netip.AddrPort) error { out += len(raw); return nil }
	for i := range 100 {
		o := b.ask(func(q *Request) {
			q.Copies = 255
			if i%3 == 2 {
				q.Page = 1
			}
		})
		if o == rate {
			b.now = b.now.Add(time.Second)
			continue
		}
		in += MinRequest
		b.after(10 * time.Millisecond)
		if out > in {
			t.Fatalf("%d bytes out, %d in, after %d requests", out, in, i+1)
		}
	}
	if out == 0 {
		t.Error("no reply at all")
	}
}

// TestSlotsOverASocket has the responder's own reader wait for the slot.
func TestSlotsOverASocket(t *testing.T) {
	t.Parallel()
	b := startBed(t, "127.0.0.1:0", testHost(1, "pi"), nil)
	conn := b.dial("127.0.0.1")
	q := question(8, 1)
	q.Window, q.Copies = 40*time.Millisecond, 2
	start := time.Now()
	send(t, conn, mustMarshal(t, q))
	for tx := range uint16(2) {
		r, err := ParseReply(receive(t, conn, patience))
		took := time.Since(start)
		if err != nil || r.Tx != tx+1 || r.Delay > took || took-r.Delay > time.Second || (tx == 1 && r.Delay < time.Millisecond) {
			t.Errorf("copy %d after %v: %+v, %v", tx+1, took, r, err)
		}
	}
	// The reader reads on without a deadline.
	send(t, conn, mustMarshal(t, question(8, 2)))
	if r, err := ParseReply(receive(t, conn, patience)); err != nil || r.Seq != 2 {
		t.Errorf("reply to the next request = %+v, %v", r, err)
	}
}
