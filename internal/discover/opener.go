package discover

import (
	"context"
	"crypto/cipher"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

// Keyring remembers the secrets that an operator shares with hosts, which cost 60 µs each to compute. It is safe for
// concurrent use, by several sweeps too.
type Keyring struct {
	mu      sync.Mutex
	secrets map[[ed25519.PublicKeySize]byte][]byte
}

// maxSecrets is how many hosts a Keyring knows; when there are more it begins anew.
const maxSecrets = 65_536

// shared returns the secret of k and the host.
func (r *Keyring) shared(k Key, host ed25519.PublicKey) ([]byte, error) {
	at := [ed25519.PublicKeySize]byte(host)
	r.mu.Lock()
	secret, ok := r.secrets[at]
	r.mu.Unlock()
	if ok {
		return secret, nil
	}
	secret, err := k.Shared(host)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.secrets == nil || len(r.secrets) >= maxSecrets {
		r.secrets = map[[ed25519.PublicKeySize]byte][]byte{}
	}
	r.secrets[at] = secret
	return secret, nil
}

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
	boxes   map[[ed25519.PublicKeySize]byte]cipher.AEAD
	strange map[netip.Addr]int
	met     map[ID]ed25519.PublicKey // whose signature was checked in this sweep
}

func newOpener(c SweepConfig) *opener {
	o := &opener{key: c.Key, own: public(c.Key), sweep: c.ID, known: c.Known, ring: c.Keyring,
		boxes: map[[ed25519.PublicKeySize]byte]cipher.AEAD{}, strange: map[netip.Addr]int{}, met: map[ID]ed25519.PublicKey{}}
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

// open opens the body of r, which b was parsed to. It fills in r.HostKey. With errKeyChanged and errNotIntroduced the body has
// been opened all the same.
func (o *opener) open(b []byte, r *Reply, from netip.Addr) error {
	if r.Sweep != o.sweep {
		return errors.New("it belongs to another sweep")
	}
	key, err := r.sealedKey()
	if err != nil {
		return err
	}
	known, ok := o.find(r.Host)
	same := ok && known.Equal(key)
	box, err := o.box(key, same, from)
	if err != nil {
		return err
	}
	if err := r.openBox(b, box); err != nil {
		return err
	}
	r.HostKey = key
	switch {
	case same:
		return nil
	case r.Flags&FlagSigned == 0:
		return errNotIntroduced
	}
	if err := r.verify(b, key); err != nil {
		return err
	}
	if ok {
		return errKeyChanged
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.met[r.Host] = key
	return nil
}

// box returns what opens the replies of the host with that key; familiar is true if the key is known.
func (o *opener) box(key ed25519.PublicKey, familiar bool, from netip.Addr) (cipher.AEAD, error) {
	at := [ed25519.PublicKeySize]byte(key)
	o.mu.Lock()
	box := o.boxes[at]
	strange := 0
	if box == nil && !familiar {
		o.strange[from]++
		strange = o.strange[from]
	}
	o.mu.Unlock()
	switch {
	case box != nil:
		return box, nil
	case strange > maxStrangeKeys:
		return nil, fmt.Errorf("more than %d hosts that are not known answer from there", maxStrangeKeys)
	}
	secret, err := o.ring.shared(o.key, key)
	if err != nil {
		return nil, err
	}
	if box, err = seal(secret, o.sweep, o.own, key); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.boxes[at] = box
	return box, nil
}

// parse reads a datagram that came in, and opens it if it is sealed for us.
func (s *sweep) parse(p *packet) {
	p.reply, p.err = ParseReply(p.b)
	switch {
	case p.err != nil || p.reply.Flags&FlagSealed == 0:
	case s.opener == nil:
		p.err = errors.New("it is encrypted and there is no key")
	case !p.way.asked(p.from):
		p.err = errors.New("that address was not asked")
	default:
		p.err = s.opener.open(p.b, &p.reply, p.from.Addr())
	}
}

// startOpeners starts what takes packets from raw, opens them side by side and hands them on to in.
func (s *sweep) startOpeners(ctx context.Context) {
	for range max(2, runtime.GOMAXPROCS(0)) {
		s.readers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case list := <-s.raw:
					s.opening.Add(1)
					for i := range list {
						s.parse(&list[i])
					}
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
	return s.askAgain(p)
}
