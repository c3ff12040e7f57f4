package discover

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What is in neither form does not come, what may be does.
func TestGateRules(t *testing.T) {
	t.Parallel()
	op, stranger := newKey(t, "op"), newKey(t, "stranger")
	signed, other := mustSign(t, question4(5, 1), op), mustSign(t, question4(5, 1), stranger)
	ticket := append([]byte(magic+"\x01\x04\x01\x00"), make([]byte, ticketSize-8)...)
	copy(ticket[offRequestOperator:], other[offRequestOperator:offRequestOperator+8]) // where a request has its operator
	everything := gateRules{}
	most := gateRules{deaf: true, strangers: [][8]byte{{}, stranger.ID()}}
	for i := range byte(maxStrangers - 2) {
		most.strangers = append(most.strangers, [8]byte{i, 1})
	}
	for _, tt := range []struct {
		name       string
		b          []byte
		first, now bool // at first, and once all was learned
	}{
		{"operator's", signed, true, true},
		{"operator's with tail", withTail(append(signed, 0)), true, true},
		{"operator's for another version", edit(signed, 4, 2), true, true},
		{"stranger's", other, true, false},
		{"stranger's for another version", edit(other, 4, 2), true, true},
		{"unsigned", mustMarshal(t, question4(5, 1)), true, false},
		{"half the stranger's key", edit(signed, offRequestOperator, other[offRequestOperator:offRequestOperator+4]...), true, true},
		{"the other half", edit(signed, offRequestOperator+4, other[offRequestOperator+4:offRequestOperator+8]...), true, true},
		{"last of many strangers", edit(signed, offRequestOperator, maxStrangers-3, 1, 0, 0, 0, 0, 0, 0), true, false},
		{"too short", signed[:MinRequest-1], false, false},
		{"ticket", ticket, true, true},
		{"less than a relay's head", ticket[:relayHeader-1], false, false},
		{"hello", append([]byte(magic+"\x01\x03"), make([]byte, 154)...), false, false},
		{"original", original(1, "127.0.0.1"), true, false},
		{"original after white space", []byte("\n {}"), true, false},
		{"original after a tab", []byte("\t{}"), true, false},
		{"original after a return", []byte("\r{}"), true, false},
		{"list", []byte("[{}]"), false, false},
		{"nothing", nil, false, false},
		{"noise", make([]byte, 1300), false, false},
		{"half the magic", []byte("RC"), false, false},
	} {
		if got := through(t, everything, tt.b); got != tt.first {
			t.Errorf("%s: through = %v, want %v", tt.name, got, tt.first)
		}
		if got := through(t, most, tt.b); got != tt.now {
			t.Errorf("%s, once all was learned: through = %v, want %v", tt.name, got, tt.now)
		}
	}
}

// Of as many requests as come one after the other one is let through, whichever they are, and the first one of a sweep.
func TestGateThins(t *testing.T) {
	t.Parallel()
	raw := mustSign(t, question4(5, 1), newKey(t, "op"))
	for of := uint32(2); of <= shedMost; of++ {
		for _, turn := range []uint32{0, 1, 2, 3, 1<<32 - 10} {
			for _, strict := range []bool{false, true} {
				rules := gateRules{deaf: true, part: part{of, turn, strict}}
				count := func(from, n uint32) (came uint32) {
					for i := range n {
						binary.BigEndian.PutUint32(raw[offRequestSeq:], from+i)
						if through(t, rules, raw) {
							came++
						}
					}
					return came
				}
				first := count(1, 1)
				if !strict && first != 1 || strict && count(1, of) != 1 {
					t.Errorf("%+v: %d of the first one come, %d of the first %d", rules.part, first, count(1, of), of)
				}
				for _, from := range []uint32{2, 3, 100, 1 << 31} {
					if n := count(from, of); n != 1 {
						t.Errorf("%+v: %d come from %d on", rules.part, n, from)
					}
				}
			}
		}
	}
}

// asked sends datagrams until the outcome was counted once more; anew makes each.
func (b *bed) asked(conn *net.UDPConn, o outcome, anew func() []byte) {
	b.t.Helper()
	before := b.r.Stats()[o.String()]
	for deadline := time.Now().Add(patience); b.r.Stats()[o.String()] == before; {
		if time.Now().After(deadline) {
			b.t.Fatalf("nothing is %v; outcomes: %v", o, nonzero(b.r.Stats()))
		}
		send(b.t, conn, anew())
		receive(b.t, conn, time.Millisecond)
	}
}

// What came to nothing once does not come again, until the settings are others.
func TestGateLearns(t *testing.T) {
	t.Parallel()
	op, stranger := newKey(t, "op"), newKey(t, "stranger")
	b := closedBed(t, newKey(t, "host"), obeying(op), nil)
	b.start()
	if !b.r.gate.framed.Load() {
		t.Skip("this kernel takes no filter")
	}
	conn, seq := b.dial("127.0.0.1"), uint32(0)
	by := func(k Key) func() []byte {
		return func() []byte {
			seq++
			raw, err := question4(7, seq).Sign(k)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
	}
	unsigned := func() []byte { seq++; return mustMarshal(t, question4(7, seq)) }
	plain := func() []byte { seq++; return original(seq, "127.0.0.1") }
	kinds := []struct {
		o    outcome
		anew func() []byte
	}{{noOperator, by(stranger)}, {notOpen, unsigned}, {legacyOff, plain}}
	for _, k := range kinds {
		b.asked(conn, k.o, k.anew)
		b.asked(conn, sieved, k.anew)
	}
	b.asked(conn, answered, by(op))
	before := b.r.Stats()
	for _, k := range kinds {
		for range 10 {
			send(t, conn, k.anew())
		}
	}
	b.asked(conn, answered, by(op)) // which came after all of them
	after := b.r.Stats()
	for _, k := range kinds {
		if after[k.o.String()] != before[k.o.String()] {
			t.Errorf("what is %v wakes the host", k.o)
		}
	}
	if n := after[sieved.String()] - before[sieved.String()]; n != 30 {
		t.Errorf("%d were counted as dropped, want 30", n)
	}
	b.r.Reload(nil, true, false, obeying(op, stranger), nil)
	send(t, conn, by(stranger)())
	if receive(t, conn, patience) == nil {
		t.Errorf("a new operator is not answered; outcomes: %v", nonzero(b.r.Stats()))
	}
	send(t, conn, plain())
	b.next() // of the sealed one or of this
	b.await(published, before[published.String()]+2)
	b.r.Reload(nil, true, true, nil, nil)
	send(t, conn, unsigned())
	if receive(t, conn, patience) == nil {
		t.Errorf("an open host does not answer; outcomes: %v", nonzero(b.r.Stats()))
	}
}

// An operator who is one from now on is answered from now on, whatever comes in his name meanwhile.
func TestGateForgetsInTime(t *testing.T) {
	t.Parallel()
	op, late := newKey(t, "op"), newKey(t, "late")
	var mu sync.Mutex
	now := time.Now()
	b := closedBed(t, newKey(t, "host"), obeying(op), func(c *ResponderConfig) {
		c.Now = func() time.Time { // so that each datagram may be learned from
			mu.Lock()
			defer mu.Unlock()
			now = now.Add(learnPause / 100)
			return now
		}
	})
	b.r.sealedRate = newLimiter(pace{1e9, 1e9}, pace{1e9, 1e9})
	b.start()
	conn, noise := b.dial("127.0.0.1"), b.dial("127.0.0.1")
	raw := mustSign(t, question4(8, 1), late)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				send(t, noise, raw)
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	for i := range uint64(30) {
		before := b.r.Stats()[noOperator.String()]
		b.r.Reload(nil, false, false, obeying(op), nil)
		b.await(noOperator, before+1)
		b.r.Reload(nil, false, false, obeying(op, late), nil)
		b.r.gate.mu.Lock()
		learned := len(b.r.gate.rules.strangers)
		b.r.gate.mu.Unlock()
		if learned > 0 {
			t.Fatalf("time %d: %d key ids are still dropped", i, learned)
		}
	}
	// Nor is any learned later, under the last settings.
	for range 100 {
		send(t, conn, raw)
	}
	b.r.gate.mu.Lock()
	defer b.r.gate.mu.Unlock()
	if n := len(b.r.gate.rules.strangers); n > 0 {
		t.Errorf("%d key ids are dropped, although their operator is obeyed", n)
	}
}

// Of many strangers the last ones are remembered.
func TestGateRemembersTheLast(t *testing.T) {
	t.Parallel()
	b := closedBed(t, newKey(t, "host"), func([8]byte) (ed25519.PublicKey, bool) { return nil, false }, nil)
	raw := mustSign(t, question4(5, 1), newKey(t, "stranger"))
	at, set := time.Now(), b.r.settings.Load()
	for i := range byte(maxStrangers + 3) {
		d := datagram{b: edit(raw, offRequestOperator, i, 9, 9, 9, 9, 9, 9, 9), at: at}
		b.r.gate.learn(&d, noOperator, set)
		d.b = edit(raw, offRequestOperator, i, 8, 8, 8, 8, 8, 8, 8)
		b.r.gate.learn(&d, noOperator, set)         // too soon after the last one
		b.r.gate.learn(&d, noOperator, &settings{}) // of settings that are gone
		at = at.Add(learnPause)
	}
	got := b.r.gate.rules.strangers
	if len(got) != maxStrangers || got[0] != [8]byte{3, 9, 9, 9, 9, 9, 9, 9} || got[maxStrangers-1][0] != maxStrangers+2 {
		t.Errorf("strangers = %v, want the last %d", got, maxStrangers)
	}
}

// The kernel reads everything again once a flood is over, also if nothing comes that could tell of it.
func TestGateOpensAfterFlood(t *testing.T) {
	t.Parallel()
	op := newKey(t, "op")
	b := closedBed(t, newKey(t, "host"), obeying(op), nil)
	b.r.flood = surge{on: true, of: shedMost, pace: 1e6, began: time.Now(), turned: time.Now()}
	b.r.gate.thin(part{of: shedMost})
	b.start()
	of := func() uint32 {
		b.r.gate.mu.Lock()
		defer b.r.gate.mu.Unlock()
		return b.r.gate.rules.of
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); of() > 1; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("one of %d is read still", of())
		}
	}
	before := b.r.Stats()[sieved.String()]
	conn := b.dial("127.0.0.1")
	for seq := uint32(1); seq <= 20; seq++ {
		send(t, conn, mustSign(t, question4(uint64(seq), 1), op))
		if receive(t, conn, patience) == nil {
			t.Fatalf("request %d is not answered", seq)
		}
	}
	if n := b.r.Stats()[sieved.String()] - before; n > 0 {
		t.Errorf("%d were dropped", n)
	}
}

// What the filter drops is told from what there is no room for.
func TestGateCounts(t *testing.T) {
	t.Parallel()
	b := newBed(t, "127.0.0.1:0", nil)
	if err := b.r.c.Conn.SetReadBuffer(1); err != nil { // the least that the kernel gives
		t.Fatal(err)
	}
	if s := memInfoOf(b.r.gate.raw); s.buffer == 0 || !b.r.gate.framed.Load() {
		t.Skip("this kernel does not say")
	}
	conn := b.dial("127.0.0.1")
	const n = 50
	for range n {
		send(t, conn, []byte("x"))
	}
	if stats := b.r.Stats(); stats[sieved.String()] != n || stats[overflow.String()] != 0 {
		t.Errorf("outcomes %v, want %d that the filter has dropped", nonzero(stats), n)
	}
	raw := mustMarshal(t, question(1, 1))
	for range n {
		send(t, conn, raw)
	}
	for range 2 {
		stats := b.r.Stats()
		if full := stats[overflow.String()]; stats[sieved.String()] != n || full == 0 || full >= n {
			t.Errorf("outcomes %v, want some of %d for want of room too", nonzero(stats), n)
		}
	}
}

// A kernel that takes no filter is one without a gate: everything comes, and no tail is believed.
func TestGateRefused(t *testing.T) {
	t.Parallel()
	b := newBed(t, "127.0.0.1:0", nil)
	err := error(unix.EINVAL)
	cerr := b.r.gate.raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 1) })
	if err != nil || cerr != nil {
		t.Skip(fmt.Sprint(err, cerr))
	}
	b.r.gate.renew(b.r.settings.Load())
	if b.r.gate.framed.Load() || b.r.gate.raw != nil {
		t.Error("tails are believed although the filter could not be replaced")
	}
	b.r.gate.thin(part{of: 2})
	b.r.gate.learn(&datagram{}, legacyOff, b.r.settings.Load())
	if n := b.r.gate.dropped(&b.r.tally); n != 0 {
		t.Errorf("%d dropped by no gate", n)
	}
}

// By IPv6 the kernel sees the same.
func TestGateOverIPv6(t *testing.T) {
	t.Parallel()
	conn, err := Listen("[::1]:0")
	if err != nil {
		t.Skip(err)
	}
	b := newBed(t, "127.0.0.1:0", func(c *ResponderConfig) { _, c.Conn = c.Conn.Close(), conn })
	t.Cleanup(func() { _ = conn.Close() }) // Run has, or nobody
	if !b.r.gate.framed.Load() {
		t.Skip("this kernel takes no filter")
	}
	b.r.Update(testHost(1, "pi"))
	b.start()
	from, err := net.DialUDP("udp6", nil, conn.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	send(t, from, []byte("x"))
	send(t, from, mustMarshal(t, question(1, 1)))
	send(t, from, original(2, "127.0.0.1"))
	b.await(offLink, 2) // ::1 is no network: both were looked at
	if n := b.r.Stats()[sieved.String()]; n != 1 {
		t.Errorf("%d were dropped, want 1", n)
	}
}
