package discover

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/bpf"
)

// through reports whether the rules let a datagram through. Rules that are not deaf must not thin: the machine has no random numbers.
func through(t testing.TB, rules gateRules, b []byte) bool {
	t.Helper()
	vm, err := bpf.NewVM(append(rules.program(), bpf.RetConstant{Val: 1 << 18}))
	if err != nil {
		t.Fatal(err)
	}
	n, err := vm.Run(append(make([]byte, 8), b...))
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// gateSeeds are datagrams of all kinds, for a host that obeys op and none of strangers.
func gateSeeds(t testing.TB, op, stranger Key) (list [][]byte) {
	t.Helper()
	for _, a := range attacks(t) {
		if len(a.b) <= 5000 {
			list = append(list, a.b)
		}
	}
	long := question4(5, 1)
	long.Filter, long.FilterHashes = make([]byte, 1000), 3
	late := question4(5, 2)
	late.Clock, late.Time = true, late.Time.Add(-time.Hour)
	for _, q := range []Request{question4(5, 3), long, late} {
		for _, k := range []Key{op, stranger} {
			b, err := q.Sign(k)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, b, withTail(b))
		}
		if !q.Clock {
			list = append(list, mustMarshal(t, q))
		}
	}
	raw, err := ticket{relayHead: relayHead{Sweep: 5, Time: time.Now(), Seq: 1}, Requester: netip.MustParseAddr("127.0.0.1"),
		Relay: netip.MustParseAddr("127.0.0.1"), Network: netip.MustParsePrefix("127.0.0.0/8")}.sign(stranger)
	if err != nil {
		t.Fatal(err)
	}
	return append(list, raw, raw[:relayHeader], raw[:relayHeader-1], original(1, "127.0.0.1"), []byte("\r\n\t {"), append([]byte(" "), original(2, "127.0.0.1")...))
}

// FuzzGate gives hosts, an open one and one that obeys one operator and has learned all that can be, any datagram: what the kernel would
// drop comes to nothing.
func FuzzGate(f *testing.F) {
	op, stranger := newKey(f, "op"), newKey(f, "stranger")
	open := attackBed(f)
	closed := closedBed(f, newKey(f, "host"), obeying(op), nil)
	for _, b := range gateSeeds(f, op, stranger) {
		f.Add(b)
	}
	hosts := []struct {
		*bed
		rules gateRules
	}{{open, gateRules{}}, {closed, gateRules{deaf: true, strangers: [][8]byte{{}, stranger.ID(), {1, 2, 3, 4, 5, 6, 7, 8}}}}}
	sent := 0
	for _, h := range hosts {
		h.r.reply = func([]byte, []byte, netip.AddrPort) error { sent++; return nil }
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for i, h := range hosts {
			forget(h.r)
			sent = 0
			d := datagram{b: slices.Clone(raw), src: netip.MustParseAddrPort("127.0.0.1:4242"), at: time.Now(), iface: 1}
			o, _ := h.r.handle(&d)
			if sent+len(h.r.jobs)+len(h.r.names)+len(h.r.pending) > 0 && !o.good() {
				t.Fatalf("host %d: %v and yet something came of it", i, o)
			}
			for len(h.r.jobs) > 0 {
				<-h.r.jobs
			}
			for len(h.r.names) > 0 {
				<-h.r.names
			}
			if o.good() && !through(t, h.rules, raw) {
				t.Fatalf("host %d: the kernel drops what is %v", i, o)
			}
		}
	})
}
