package discover

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"rollcall/internal/trust"
)

// crowd is many closed hosts, and the replies of each to one operator.
type crowd struct {
	op    trust.Key
	keys  map[ID]trust.Key
	cards map[ID][]byte // open pages
	ring  Keyring
}

func newCrowd(t testing.TB, n int) *crowd {
	c := &crowd{op: newKey(t, "op"), keys: map[ID]trust.Key{}, cards: map[ID][]byte{}}
	for i := range n {
		h := closedHost(0, fmt.Sprintf("pi-%05d", i), services(8, 8)...)
		h.Services[0].Points = i % 4 // kinds of hosts
		h.ID = ID{1, 2, 3, 4, 5, byte(i >> 16), byte(i >> 8), byte(i)}
		h.Model, h.OS, h.BootID = "Raspberry Pi Zero 2 W Rev 1.0", "Debian GNU/Linux 12 (bookworm)", fmt.Sprintf("%032x", i)
		h.Addrs = []netip.Addr{netip.AddrFrom4([4]byte{10, 7, byte(i >> 8), byte(i)}), netip.MustParseAddr("fd00::7:1")}
		h.Brokers = []string{"mqtts://" + h.Addrs[0].String() + ":8883"}
		card, err := NewCard(h)
		if err != nil {
			t.Fatal(err)
		}
		c.keys[h.ID], c.cards[h.ID] = newKey(t, "host"), card.p.data[0]
		secret, err := share(c.op, public(c.keys[h.ID]), public(c.op), public(c.keys[h.ID]))
		if err != nil {
			t.Fatal(err)
		}
		c.ring.Put(public(c.keys[h.ID]), secret)
	}
	return c
}

// replies returns what all hosts say in a sweep.
func (c *crowd) replies(t testing.TB, sweep uint64) [][]byte {
	var out [][]byte
	for id, page := range c.cards {
		key := c.keys[id]
		secret, _ := c.ring.Get(public(key))
		box, err := seal(secret, sweep)
		if err != nil {
			t.Fatal(err)
		}
		r := Reply{Sweep: sweep, Round: 1, Seq: 1, First: 1, Tx: 1, Age: time.Hour}
		r.patch(page)
		raw, err := sealInto(nil, page, box, public(key), key.ID(), nil)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, raw)
	}
	return out
}
