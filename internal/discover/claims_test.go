package discover

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/internal/census"
	"rollcall/internal/trust"
)

// sealedReply returns the answer of a closed host that introduces itself to the operator.
func sealedReply(t *testing.T, host trust.Key, op trust.Key, r Reply) []byte {
	t.Helper()
	sealer, err := NewSealer(host, public(op))
	if err != nil {
		t.Fatal(err)
	}
	box, err := sealer.Box(r.Sweep)
	if err != nil {
		t.Fatal(err)
	}
	card, err := NewCard(closedHost(1, "pi"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := sealer.Seal(nil, card.Reply(nil, 0, r), box, true)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestClaims looks at which datagrams are taken for a host's reply before they are opened.
func TestClaims(t *testing.T) {
	t.Parallel()
	from := netip.MustParseAddrPort("192.0.2.9:37030")
	good := sealedReply(t, newKey(t, "host"), newKey(t, "op"), Reply{Sweep: 7, Round: 1, Seq: 1, First: 1, Tx: 1})
	for name, tt := range map[string]struct {
		b     []byte
		from  netip.AddrPort
		count int // so far
		want  bool
	}{
		"reply":          {good, from, 0, true},
		"another sweep":  {edit(good, offSweep+7, 8), from, 0, false},
		"second page":    {edit(good, offPage, 1), from, 0, false},
		"open":           {edit(good, 7, good[7]&^byte(FlagSealed|FlagSigned)|byte(FlagOpen)), from, 0, true},
		"not signed":     {edit(good, 7, good[7]&^byte(FlagSigned)), from, 0, false},
		"challenge":      {edit(good, 7, good[7]|byte(FlagChallenge)), from, 0, false},
		"request":        {edit(good, 5, typeRequest), from, 0, false},
		"another magic":  {edit(good, 0, 'X'), from, 0, false},
		"too short":      {good[:replyHeader-1], from, 0, false},
		"empty":          {nil, from, 0, false},
		"not asked":      {good, netip.MustParseAddrPort("192.0.2.8:37030"), 0, false},
		"the last one":   {good, from, maxClaims - 1, true},
		"one too many":   {good, from, maxClaims, false},
		"header of good": {good[:replyHeader], from, 0, true}, // it will not be opened
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &claims{sweep: 7, count: tt.count}
			list := []packet{{way: &way{single: map[netip.AddrPort]bool{from: true}}, from: tt.from, b: tt.b}}
			c.note(list)
			if list[0].claimed != tt.want || len(c.fresh) == 1 != tt.want {
				t.Fatalf("claimed %v, %d are told, want %v", list[0].claimed, len(c.fresh), tt.want)
			}
			if tt.want && c.fresh[0].host != closedHost(1, "pi").ID {
				t.Errorf("claim is in the name of %v, want the host's", c.fresh[0].host)
			}
		})
	}
}

// TestForgedClaim has somebody else answer the first request in a host's name, of which the host hears only those after it: it is asked
// again, and heard.
func TestForgedClaim(t *testing.T) {
	t.Parallel()
	host, op := newKey(t, "host"), newKey(t, "op")
	id := closedHost(1, "pi").ID
	var hidden atomic.Int32
	p := newPuppet(t, "127.0.0.9", func(q Request, _ netip.AddrPort) [][]byte {
		good := sealedReply(t, host, op, Reply{Sweep: q.Sweep, Round: q.Round, Seq: q.Seq, First: 2, Tx: 1})
		call := q.call()
		switch {
		case q.Seq == 1:
			tag := len(good) - signatureSize - 1 // a wrong signature is no matter once the host is known by its seal
			return [][]byte{edit(good, tag, good[tag]^1)}
		case call.Heard(census.SpreadOf(q.Sweep, q.Salt, id)):
			hidden.Add(1)
			return nil
		}
		return [][]byte{good}
	})
	got, stats := gather(t, SweepConfig{To: []string{p.addr.String()}, Sealed: true, Key: op, Wait: 20 * time.Second})
	if len(got) != 1 || got[0].Host.Hostname != "pi" || stats.Wrong != 1 || !stats.Complete {
		t.Errorf("Sweep() = %+v, %+v, want one host, one datagram wrong, complete; it was in %d filters", got, stats, hidden.Load())
	}
}
