package discover

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

// KeyChange is a host that answered with another key than the one that is known of it, or with none.
type KeyChange struct {
	Host     ID
	Hostname string // as it says itself
	From     netip.AddrPort
	Was, Now ed25519.PublicKey // Now is nil where the answer was not sealed at all
}

// maxStrangeKeys is how many keys that are not known are taken from one address in a sweep: each costs a computation.
const maxStrangeKeys = 256

// Errors of opening what came in, beside those of the seal.
var (
	errNotIntroduced = errors.New("host's key is not known and its reply is not signed")
	errKeyChanged    = errors.New("host's key has changed")
)

// opener opens sealed replies. It is safe for concurrent use.
type opener struct {
	key   Key
	own   ed25519.PublicKey
	sweep uint64
	known func(ID) (ed25519.PublicKey, bool)
	ring  *Keyring

	mu      sync.Mutex
	strange map[netip.Addr]int
	met     map[ID]ed25519.PublicKey // whose signature was checked in this sweep
}

func newOpener(c SweepConfig) *opener {
	o := &opener{key: c.Key, own: public(c.Key), sweep: c.ID, known: c.Known, ring: c.Keyring,
		strange: map[netip.Addr]int{}, met: map[ID]ed25519.PublicKey{}}
	if o.known == nil {
		o.known = func(ID) (ed25519.PublicKey, bool) { return nil, false }
	}
	if o.ring == nil {
		o.ring = new(Keyring)
	}
	return o
}

// find returns the key that the host has as far as is known: from earlier, or met in this sweep.
func (o *opener) find(id ID) (ed25519.PublicKey, bool) {
	if key, ok := o.known(id); ok {
		return key, true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	key, ok := o.met[id]
	return key, ok
}

// paired returns what is shared with those of these hosts of which it is known.
func (o *opener) paired(hosts []Known) []Secret {
	var out []Secret
	for _, h := range hosts {
		if key, ok := o.known(h.ID); ok {
			if s, ok := o.ring.Get(key); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

// acquaintance is what is known of the host of a reply before it is opened; nothing, if it was not looked for.
type acquaintance struct {
	key  ed25519.PublicKey
	same bool // it is the key that the reply has
	held held
	has  bool
}

// openAll opens the packets that are sealed. What is known of their hosts is looked for beforehand: looks into the same two tables one
// after the other wait for memory side by side.
func (o *opener) openAll(list []packet, m *tray) {
	m.reuse(len(list))
	for i := range list {
		r := &list[i].reply
		if key, err := r.sealedKey(); err == nil && list[i].sealed() {
			if known, ok := o.known(r.Host); ok {
				m.hosts[i] = acquaintance{key: known, same: bytes.Equal(known, key)}
			}
		}
	}
	o.ring.acquaint(list, m.hosts)
	for i := range list {
		if p := &list[i]; p.sealed() {
			p.err = o.openOf(m.hosts[i], p.b, &p.reply, p.from.Addr(), m)
		}
		m.left--
	}
}

// open opens the body of r, which b was parsed to. It fills in r.HostKey. With errKeyChanged and errNotIntroduced the body has
// been opened all the same. m is for this caller alone.
func (o *opener) open(b []byte, r *Reply, from netip.Addr, m *tray) error {
	return o.openOf(acquaintance{}, b, r, from, m)
}

// openOf is open for the reply of a host of which as much is known already.
func (o *opener) openOf(a acquaintance, b []byte, r *Reply, from netip.Addr, m *tray) error {
	if r.Sweep != o.sweep {
		return errors.New("it belongs to another sweep")
	}
	key, err := r.sealedKey()
	if err != nil {
		return err
	}
	known, ok := a.key, a.key != nil
	if !ok {
		known, ok = o.find(r.Host)
	}
	same := a.same || ok && bytes.Equal(known, key)
	if same {
		r.HostKey = known
	} else {
		r.HostKey = bytes.Clone(key) // the datagram need not be kept for it
	}
	if err := o.unseal(a, b, r, same, from, m); err != nil {
		return err
	}
	switch {
	case same:
		return nil
	case r.Flags&FlagSigned == 0:
		return errNotIntroduced
	}
	if err := r.verify(b, r.HostKey); err != nil {
		return err
	}
	if ok {
		return errKeyChanged
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.met[r.Host] = r.HostKey
	return nil
}

// unseal opens the body with the secret that is shared with r.HostKey. familiar is true if that key is known.
func (o *opener) unseal(a acquaintance, b []byte, r *Reply, familiar bool, from netip.Addr, m *tray) error {
	h, ok := a.held, a.has
	if !ok {
		h, ok = o.ring.find(r.HostKey)
	}
	if ok {
		err := o.try(b, r, h.Secret, m)
		if !errors.Is(err, errSeal) || !h.told {
			return err
		}
	}
	if !familiar {
		o.mu.Lock()
		o.strange[from]++
		n := o.strange[from]
		o.mu.Unlock()
		if n > maxStrangeKeys {
			return fmt.Errorf("more than %d hosts that are not known answer from there", maxStrangeKeys)
		}
	}
	runtime.Gosched() // requests are to go out in time, and 64 new hosts take 8 ms
	s, err := share(o.key, r.HostKey, o.own, r.HostKey)
	if err != nil {
		return err
	}
	if ok {
		o.ring.set(r.HostKey, held{Secret: s}) // the one that was told is right, or is not needed
	}
	if err := o.try(b, r, s, m); err != nil {
		return err
	}
	if !ok {
		o.ring.set(r.HostKey, held{Secret: s}) // not before it is seen that somebody has that key
	}
	return nil
}

func (o *opener) try(b []byte, r *Reply, s Secret, m *tray) error {
	box, err := seal(s, o.sweep)
	if err != nil {
		return err
	}
	return r.openBox(b, box, m)
}

// parse reads datagrams that came in, and opens those that are sealed for us. m is where what they say is put.
func (s *sweep) parse(list []packet, m *tray) {
	for i := range list {
		p := &list[i]
		p.err = p.reply.parse(p.b)
		switch {
		case !p.sealed():
		case s.opener == nil:
			p.err = errors.New("it is encrypted and there is no key")
		case !p.way.asked(p.from):
			p.err = errors.New("that address was not asked")
		}
	}
	if s.opener != nil {
		s.opener.openAll(list, m)
	}
}

// startOpeners starts what takes packets from raw, opens them side by side and hands them on to in.
func (s *sweep) startOpeners(ctx context.Context) {
	for range max(2, runtime.GOMAXPROCS(0)) {
		s.readers.Go(func() {
			var m tray
			for {
				select {
				case <-ctx.Done():
					return
				case list := <-s.raw:
					s.opening.Add(1)
					list = s.share(list)
					s.parse(list, &m)
					select {
					case s.in <- list:
						s.opening.Add(-1)
					case <-ctx.Done():
						return
					}
				}
			}
		})
	}
}

// piece is how many packets one goroutine opens by itself where another has nothing to do.
const piece = 8

// share puts a part of the packets back for another goroutine, if there are many and nothing else waits to be opened: each of a host
// that is not known takes a signature and an exchange of keys. It returns the rest.
func (s *sweep) share(list []packet) []packet {
	if len(list) <= piece || len(s.raw) > 0 {
		return list
	}
	half := len(list) / 2
	select {
	case s.raw <- list[half:]:
		return list[:half]
	default:
		return list
	}
}

// sealedTrouble does what a reply needs that could not be taken as it is, and returns the error that is left.
func (s *sweep) sealedTrouble(p packet) error {
	r := p.reply
	switch {
	case errors.Is(p.err, errNotIntroduced):
		s.introduce = true
		return errors.Join(p.err, s.askAgain(p))
	case errors.Is(p.err, errKeyChanged):
		s.changed(KeyChange{Host: r.Host, Hostname: r.Body.Hostname, From: p.from, Now: r.HostKey})
	case p.err == nil && r.Flags&FlagChallenge != 0:
		return s.answerChallenge(p)
	case p.err == nil && s.opener != nil && r.Flags&FlagSealed == 0:
		if _, sealed := s.opener.known(r.Host); sealed {
			s.changed(KeyChange{Host: r.Host, Hostname: r.Body.Hostname, From: p.from})
			return errors.New("host has sealed its replies before and this one is open")
		}
	}
	return p.err
}

// changed notes a host whose key is not the known one, once.
func (s *sweep) changed(c KeyChange) {
	c.Was, _ = s.opener.find(c.Host)
	for _, o := range s.stats.Changed {
		if o.Host == c.Host && o.Now.Equal(c.Now) {
			return
		}
	}
	if len(s.stats.Changed) < maxStrangeKeys {
		s.stats.Changed = append(s.stats.Changed, c)
	}
}

// askAgain asks one address for its first page, signed if it did not introduce itself.
func (s *sweep) askAgain(p packet) error {
	if s.pageRequests == maxPageRequests {
		return errors.New("too many requests to single hosts")
	}
	s.awaited[p.from] = time.Now().Add(pageRetry)
	return s.askSingle(p.way, p.from, 0)
}

// maxCookies is how many hosts with another clock are asked in one sweep.
const maxCookies = 4096

// answerChallenge asks a host again whose clock differs from ours, with its cookie.
func (s *sweep) answerChallenge(p packet) error {
	if _, again := s.cookies[p.from]; again || len(s.cookies) == maxCookies {
		return nil
	}
	s.cookies[p.from] = p.reply.Cookie
	s.stats.Clocks++
	s.stats.Skewed = append(s.stats.Skewed, p.reply.Host)
	return s.askAgain(p)
}
