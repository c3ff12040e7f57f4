package discover

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/sha256"
	"runtime"
	"slices"
	"testing"
	"time"
)

// BenchmarkOpenMany opens the replies of 10,000 known hosts as a sweep does it: in batches that were just copied from the socket,
// whose copying does not count. "verified" is without reading the bodies. Right before runs the floor: the same bytes opened by
// crypto/aes alone, with keys that are there already. It is the processor time of the thread that counts, without what other threads do
// to collect garbage: others may use the machine too.
func BenchmarkOpenMany(b *testing.B) {
	const n = 10_000
	c := newCrowd(b, n)
	keys := map[ID]ed25519.PublicKey{}
	for id, k := range c.keys {
		keys[id] = public(k)
	}
	known := func(id ID) (ed25519.PublicKey, bool) { k, ok := keys[id]; return k, ok }
	list := c.replies(b, 7)
	ready := make([][sha256.Size]byte, n)
	for i, raw := range list {
		secret, _ := c.ring.Get(keys[ID(raw[8:])])
		ready[i] = secret.sweepKey(7)
	}
	c.keys, c.cards = nil, nil
	runtime.GC()
	for name, openAll := range map[string]func(o *opener, list []packet, m *tray){"opened": (*opener).openAll, "verified": verifyAll} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var took time.Duration
			var m tray
			floor := openBare(b, ready, list)
			slab, packets := make([]byte, 0, batch*MaxRequest), make([]packet, batch)
			for b.Loop() {
				o := newOpener(SweepConfig{ID: 7, Key: c.op, Known: known, Keyring: &c.ring})
				for part := range slices.Chunk(list, batch) {
					slab = slab[:0]
					for i, raw := range part {
						slab = append(slab, raw...)
						packets[i].b = slab[len(slab)-len(raw):]
					}
					start := threadTime()
					now := packets[:len(part)]
					for i := range now {
						now[i].reply = Reply{}
						now[i].err = now[i].reply.parse(now[i].b)
					}
					openAll(o, now, &m)
					took += threadTime() - start
					for i := range now {
						if now[i].err != nil {
							b.Fatal(now[i].err)
						}
					}
				}
			}
			b.ReportMetric(float64(took.Microseconds())/1000/float64(b.N), "cpu-ms/10000")
			b.ReportMetric(float64(took)/float64(b.N)/float64(floor), "x-floor")
			b.ReportMetric(float64(len(list[0])), "bytes")
		})
	}
}

// openBare returns how long it takes to decrypt and authenticate the replies with their keys.
func openBare(b *testing.B, keys [][sha256.Size]byte, list [][]byte) time.Duration {
	const times = 20
	var body []byte
	start := threadTime()
	for range times {
		for i, raw := range list {
			block, err := aes.NewCipher(keys[i][:])
			if err != nil {
				b.Fatal(err)
			}
			aead, err := cipher.NewGCMWithRandomNonce(block)
			if err != nil {
				b.Fatal(err)
			}
			if body, err = aead.Open(body[:0], nil, raw[replyHeader+sealKeySize:], raw[:replyHeader]); err != nil {
				b.Fatal(err)
			}
		}
	}
	return (threadTime() - start) / times
}

// verifyAll is openAll up to the bodies.
func verifyAll(o *opener, list []packet, m *tray) {
	m.reuse(len(list))
	for i := range list {
		a := &m.hosts[i]
		a.key, _ = o.known(list[i].reply.Host)
		a.same = bytes.Equal(a.key, list[i].reply.Box[:sealKeySize])
	}
	o.ring.acquaint(list, m.hosts)
	for i := range list {
		p, a := &list[i], &m.hosts[i]
		if !a.same {
			p.err = errKeyChanged
			continue
		}
		var box cipher.AEAD
		if box, p.err = seal(a.held.Secret, o.sweep); p.err == nil {
			m.body, p.err = box.Open(m.body[:0], nil, p.reply.Box[sealKeySize:], p.b[:replyHeader])
		}
	}
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
	m := newTray(batch)
	for name, f := range map[string]func(){
		"parse":  func() { _, _ = ParseReply(raw) },
		"key":    func() { _ = secret.sweepKey(7) },
		"seal":   func() { _, _ = seal(secret, 7) },
		"aead":   func() { m.body, _ = box.Open(m.body[:0], nil, r.Box[sealKeySize:], raw[:replyHeader]) },
		"decode": func() { d := decoder{raw: plain, text: m.text(plain), tray: m}; _ = d.body(&r.Body) },
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
