package discover

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"rollcall/internal/trust"
)

// Forgers who don't know the operator's public key cost no signature check, and the operator is answered all the while.
func TestForgedFlood(t *testing.T) {
	t.Parallel()
	host, op := newKey(t, "host"), newKey(t, "op")
	b := closedBed(t, host, obeying(op), nil)
	replies := 0
	b.r.reply = func([]byte, []byte, netip.AddrPort) error { replies++; return nil }
	b.r.sealedRate = newLimiter(pace{1e9, 1e9}, pace{1e9, 1e9})
	good := mustSign(t, question4(5, 1), op)
	d := datagram{src: netip.MustParseAddrPort("127.0.0.1:4242"), at: time.Now(), iface: 1}
	for i := range 10_000 {
		d.b = edit(good, 60, byte(i>>24), byte(i>>16), byte(i>>8)|0x80, byte(i))
		if o, _ := b.r.handle(&d); o != forged {
			t.Fatalf("forged request is %v", o)
		}
	}
	if len(b.r.authority.checks) != 0 {
		t.Error("signatures of forged requests were checked")
	}
	d.b = bytes.Clone(good)
	if o, _ := b.r.handle(&d); o != answered || replies != 1 {
		t.Errorf("good request is %v", o)
	}
}

// Who floods with requests in the name of an operator and of his address, as he has seen them on the network, uses up nothing
// of what the operator may ask.
func TestForgersUseUpNothing(t *testing.T) {
	t.Parallel()
	host, op := newKey(t, "host"), newKey(t, "op")
	b := closedBed(t, host, obeying(op), nil)
	replies := 0
	b.r.reply = func([]byte, []byte, netip.AddrPort) error { replies++; return nil }
	seen := mustSign(t, question4(5, 1), op)
	d := datagram{src: netip.MustParseAddrPort("127.0.0.1:4242"), at: time.Now(), iface: 1}
	for i := range uint32(20_000) {
		d.b = binary.BigEndian.AppendUint32(bytes.Clone(seen[:60]), i+2)
		d.b = append(d.b, seen[64:]...)
		if o, _ := b.r.handle(&d); o != forged {
			t.Fatalf("forged request %d is %v", i, o)
		}
	}
	d.b = bytes.Clone(seen)
	if o, err := b.r.handle(&d); o != answered || replies != 1 {
		t.Errorf("the operator's request is %v, %v after them", o, err)
	}
}

// Nor does he by sending again what he has seen: what was answered, what was for other hosts, and what has asked for a challenge.
func TestReplaysUseUpNothing(t *testing.T) {
	t.Parallel()
	host, op := newKey(t, "host"), newKey(t, "op")
	b := closedBed(t, host, obeying(op), nil)
	replies := 0
	b.r.reply = func([]byte, []byte, netip.AddrPort) error { replies++; return nil }
	d := datagram{src: netip.MustParseAddrPort("127.0.0.1:4242"), at: time.Now(), iface: 1}
	others, asks := question4(5, 2), question4(5, 3)
	others.Want = "other*"
	asks.Clock, asks.Time = true, asks.Time.Add(-time.Hour)
	for _, tt := range []struct {
		q           Request
		first, then outcome
	}{{question4(5, 1), answered, replayed}, {others, unselected, unselected}, {asks, challenged, replayed}} {
		raw := mustSign(t, tt.q, op)
		want := tt.first
		for i := range 2000 {
			d.b = bytes.Clone(raw)
			if o, _ := b.r.handle(&d); o != want {
				t.Fatalf("time %d: %v, want %v", i+1, o, want)
			}
			want = tt.then
			d.at = d.at.Add(70 * time.Microsecond)
		}
		d.at = d.at.Add(2 * time.Minute) // the memory of replays is shorter than that of challenges
		b.r.refresh(d.at, 0)
		if tt.first == challenged {
			d.b = bytes.Clone(raw)
			for range 1000 {
				if o, _ := b.r.handle(&d); o != replayed {
					t.Fatalf("late: %v, want %v", o, replayed)
				}
			}
		}
		d.at = d.at.Add(-2 * time.Minute)
	}
	last := question4(6, 1)
	d.b = mustSign(t, last, op)
	if o, err := b.r.handle(&d); o != answered || replies != 3 {
		t.Errorf("the operator's request is %v, %v after them; %d replies", o, err, replies)
	}
}

// Signature checks are bounded, whatever comes.
func TestSignatureChecksAreBounded(t *testing.T) {
	t.Parallel()
	a := newAuthority(newKey(t, "host"), "", time.Now())
	now, n := time.Now(), 0
	for range 1000 {
		if a.allow(1, now) {
			n++
		}
	}
	if n != int(signatures.burst) || !a.allow(2, now) {
		t.Errorf("%d checks at once on one interface", n)
	}
	n = 0
	for range 10_000 {
		now = now.Add(time.Millisecond)
		if a.allow(1, now) {
			n++
		}
	}
	if n < 499 || n > 501 {
		t.Errorf("%d checks in 10 s, want 500", n)
	}
}

func BenchmarkForged(b *testing.B) {
	host, op := newKey(b, "host"), newKey(b, "op")
	bd := closedBed(b, host, obeying(op), nil)
	bd.r.sealedRate = newLimiter(pace{1e12, 1e12}, pace{1e12, 1e12})
	raw := edit(mustSign(b, question4(5, 1), op), 60, 9)
	d := datagram{b: raw, src: netip.MustParseAddrPort("127.0.0.1:4242"), at: time.Now(), iface: 1}
	b.ReportAllocs()
	for b.Loop() {
		if o, _ := bd.r.handle(&d); o != forged {
			b.Fatal(o)
		}
	}
}

func BenchmarkSealedReply(b *testing.B) {
	host, op := newKey(b, "host"), newKey(b, "op")
	bd := closedBed(b, host, obeying(op), nil)
	bd.r.Update(closedHost(1, "pi", services(10, 8)...))
	bd.r.sealedRate = newLimiter(pace{1e12, 1e12}, pace{1e12, 1e12})
	var out []byte
	bd.r.reply = func(raw, _ []byte, _ netip.AddrPort) error { out = append(out[:0], raw...); return nil }
	d := datagram{b: mustSign(b, question4(5, 1), op), src: netip.MustParseAddrPort("127.0.0.1:4242"), at: time.Now(), iface: 1}
	if o, err := bd.r.handle(&d); o != answered {
		b.Fatal(o, err)
	}
	o := newOpener(SweepConfig{ID: 5, Key: op, Known: knows(map[ID]trust.Key{closedHost(1, "").ID: host})})
	b.Run("open known", func(b *testing.B) {
		for b.Loop() {
			r, err := ParseReply(out)
			if err == nil {
				err = o.open(out, &r, netip.Addr{}, newTray(1))
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
