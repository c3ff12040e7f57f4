package discover

import (
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"
)

// Operators finds the public key of an operator who may ask; false for a key of nobody, or of one who may not.
type Operators func(id [8]byte) (ed25519.PublicKey, bool)

// signatures is how many signatures are checked, a second and interface. Forgers without the operator's public key don't get
// that far.
var signatures = pace{50, 150}

// startMargin is for how long after its start a host takes what it is asked for what it may have been asked before it.
const startMargin = 20 * time.Millisecond

// authority is who may ask a host that names its operators, and what it seals its answers with. It belongs to the goroutine of
// Run.
type authority struct {
	key     Key
	own     ed25519.PublicKey
	started time.Time
	checks  map[int]bucket // of signatures, by interface
	known   map[[8]byte]*operator
	cookies cookies
	floors  floors
}

// operator is what is computed once for a key that asks.
type operator struct {
	id     [8]byte
	key    ed25519.PublicKey
	tagger *tagger
	secret *Secret // nil until first used
}

func newAuthority(k Key, floorFile string, now time.Time) *authority {
	a := &authority{key: k, started: now.Add(startMargin), checks: map[int]bucket{}, known: map[[8]byte]*operator{},
		cookies: newCookies(now), floors: loadFloors(floorFile)}
	if k != nil {
		a.own = public(k)
	}
	return a
}

// find returns the operator with the key of this id, or nil.
func (a *authority) find(all Operators, id [8]byte) *operator {
	if all == nil || a.key == nil {
		return nil
	}
	key, ok := all(id)
	if !ok {
		delete(a.known, id)
		return nil
	}
	o := a.known[id]
	if o == nil || !o.key.Equal(key) {
		o = &operator{id: id, key: key, tagger: newTagger(key)}
		a.known[id] = o
	}
	return o
}

// allow reports whether one more signature may be checked on the interface.
func (a *authority) allow(iface int, now time.Time) bool {
	b := signatures.fill(a.checks[iface], now)
	ok := b.tokens >= 1
	if ok {
		b.tokens--
	}
	a.checks[iface] = b
	return ok
}

// timely reports whether a request of that time can be one that was not heard before this process started.
func (a *authority) timely(o *operator, at time.Time) bool {
	return at.After(a.started) && at.UnixMilli() > a.floors.loaded[o.id]
}

// box returns what seals replies to the operator in a sweep.
func (a *authority) box(o *operator, sweep uint64) (cipher.AEAD, error) {
	if o.secret == nil {
		s, err := share(a.key, o.key, o.key, a.own)
		if err != nil {
			return nil, err
		}
		o.secret = &s
	}
	return seal(*o.secret, sweep)
}

// cookieSize is the length of a challenge: when it was made, and 16 bytes that only the host can make.
const (
	cookieSize = 8 + 16
	cookieAge  = maxSkew
)

// cookies make challenges for requesters whose clock differs from the host's: who can send one back has heard of it within
// the last half minute, from this very process, whatever the clocks say.
type cookies struct {
	secret [32]byte
	began  time.Time
}

func newCookies(now time.Time) cookies {
	c := cookies{began: now}
	rand.Read(c.secret[:]) //nolint:errcheck // never fails, by its documentation
	return c
}

func (c cookies) make(o *operator, src netip.Addr, sweep uint64, now time.Time) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(now.Sub(c.began)))
	return append(b, c.mac(b, o, src, sweep)...)
}

func (c cookies) mac(head []byte, o *operator, src netip.Addr, sweep uint64) []byte {
	h := hmac.New(sha256.New, c.secret[:])
	a := src.As16()
	h.Write(binary.BigEndian.AppendUint64(append(append(head[:8:8], o.id[:]...), a[:]...), sweep))
	return h.Sum(nil)[:cookieSize-8]
}

// valid reports whether the cookie was made for this operator, source and sweep, in the last half minute.
func (c cookies) valid(b []byte, o *operator, src netip.Addr, sweep uint64, now time.Time) bool {
	if len(b) != cookieSize || !hmac.Equal(b[8:], c.mac(b, o, src, sweep)) {
		return false
	}
	age := now.Sub(c.began) - time.Duration(binary.BigEndian.Uint64(b))
	return age >= 0 && age <= cookieAge
}
