package discover

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
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

// BenchmarkOpenMany opens the replies of 10,000 known hosts as a sweep does it: in batches that were just copied from the socket,
// whose copying does not count. "verified" is without reading the bodies.
func BenchmarkOpenMany(b *testing.B) {
	const n = 10_000
	c := newCrowd(b, n)
	keys := map[ID]ed25519.PublicKey{}
	for id, k := range c.keys {
		keys[id] = public(k)
	}
	known := func(id ID) (ed25519.PublicKey, bool) { k, ok := keys[id]; return k, ok }
	list := c.replies(b, 7)
	c.keys, c.cards = nil, nil
	runtime.GC()
	for name, open := range map[string]func(o *opener, raw []byte, r *Reply, scratch []byte) error{
		"opened": func(o *opener, raw []byte, r *Reply, scratch []byte) error {
			return o.open(raw, r, netip.Addr{}, scratch)
		},
		"verified": verifyOnly,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			took, scratch, slab := time.Duration(0), make([]byte, 0, MaxRequest), make([]byte, 0, batch*MaxRequest)
			for b.Loop() {
				o := newOpener(SweepConfig{ID: 7, Key: c.op, Known: known, Keyring: &c.ring})
				for part := range slices.Chunk(list, batch) {
					slab = slab[:0]
					var packets [][]byte
					for _, raw := range part {
						slab = append(slab, raw...)
						packets = append(packets, slab[len(slab)-len(raw):])
					}
					start := time.Now()
					for _, raw := range packets {
						r, err := ParseReply(raw)
						if err == nil {
							err = open(o, raw, &r, scratch)
						}
						if err != nil {
							b.Fatal(err)
						}
					}
					took += time.Since(start)
				}
			}
			b.ReportMetric(float64(took.Microseconds())/1000/float64(b.N), "ms/10000")
			b.ReportMetric(float64(len(list[0])), "bytes")
		})
	}
}

// verifyOnly is open up to the body.
func verifyOnly(o *opener, raw []byte, r *Reply, scratch []byte) error {
	key, err := r.sealedKey()
	if err != nil {
		return err
	}
	if known, ok := o.find(r.Host); !ok || !known.Equal(key) {
		return errKeyChanged
	}
	secret, _ := o.ring.Get(key)
	box, err := seal(secret, o.sweep)
	if err != nil {
		return err
	}
	_, err = box.Open(scratch, nil, r.Box[sealKeySize:], raw[:replyHeader])
	return err
}

// BenchmarkOpenParts is what the parts of opening one reply take.
func BenchmarkOpenParts(b *testing.B) {
	c := newCrowd(b, 1)
	raw := c.replies(b, 7)[0]
	r, err := ParseReply(raw)
	if err != nil {
		b.Fatal(err)
	}
	host, _ := r.sealedKey()
	secret, _ := c.ring.Get(host)
	box, err := seal(secret, 7)
	if err != nil {
		b.Fatal(err)
	}
	plain, err := box.Open(nil, nil, r.Box[sealKeySize:], raw[:replyHeader])
	if err != nil {
		b.Fatal(err)
	}
	scratch := make([]byte, 0, MaxRequest)
	for name, f := range map[string]func(){
		"parse":  func() { _, _ = ParseReply(raw) },
		"key":    func() { _ = secret.sweepKey(7) },
		"seal":   func() { _, _ = seal(secret, 7) },
		"aead":   func() { _, _ = box.Open(scratch, nil, r.Box[sealKeySize:], raw[:replyHeader]) },
		"decode": func() { d := decoder{raw: plain, text: string(plain)}; _ = d.body(&r.Body) },
		"check":  func() { _ = r.Body.check(0) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}
