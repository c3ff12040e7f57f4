package discover

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
)

// Secret is what one operator and one host share: HKDF-Extract, with SHA-256, of X25519 of their keys. Who has it can read what
// the host says to the operator in sweeps, pretend to be the host there, and put the questions of sweeps to it as the operator, from
// where the host then believes him to be; nothing else.
type Secret [sha256.Size]byte

// share computes the secret of an operator and a host, by whoever has the private key of one of them; other is the other's.
func share(k Key, other, operator, host ed25519.PublicKey) (Secret, error) {
	common, err := k.Shared(other)
	if err != nil {
		return Secret{}, err
	}
	b, err := hkdf.Extract(sha256.New, common, []byte("rollcall RCL1 pair"+string(operator)+string(host)))
	if err != nil {
		return Secret{}, fmt.Errorf("derive secret: %w", err)
	}
	return Secret(b), nil
}

// sweepKey returns the key of a sweep: HKDF-Expand (RFC 5869), which for 32 bytes is one HMAC. It is written out because ten
// thousand are needed in a sweep, and crypto/hkdf takes five times as long for what it allocates.
func (s *Secret) sweepKey(sweep uint64) [sha256.Size]byte {
	const label, block = "rollcall RCL1 reply", 1
	var info [len(label) + 8 + 1]byte
	copy(info[:], label)
	binary.BigEndian.PutUint64(info[len(label):], sweep)
	info[len(info)-1] = block
	return mac256(s[:], info[:])
}

// Keyring remembers the secrets that an operator shares with hosts, which cost 60 µs each to compute. It is safe for
// concurrent use, by several sweeps too.
type Keyring struct {
	mu      sync.Mutex
	secrets map[[ed25519.PublicKeySize]byte]held
	changes int
}

// held is a secret in a Keyring.
type held struct {
	Secret
	told bool // by Put: it may be wrong
}

// maxSecrets is how many hosts a Keyring knows; when there are more it begins anew.
const maxSecrets = 65_536

// Changes returns how often a secret has been added or replaced by what was computed.
func (r *Keyring) Changes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changes
}

// Get returns the secret of the host of that key.
func (r *Keyring) Get(host ed25519.PublicKey) (Secret, bool) {
	h, ok := r.find(host)
	return h.Secret, ok
}

// Put has the ring know the secret of the host of that key, as Get has returned it. Should nothing of the host open with it, it
// is computed anew, once.
func (r *Keyring) Put(host ed25519.PublicKey, s Secret) {
	r.set(host, held{s, true})
}

func (r *Keyring) find(host ed25519.PublicKey) (held, bool) {
	at := [ed25519.PublicKeySize]byte(host)
	r.mu.Lock()
	defer r.mu.Unlock()
	h, ok := r.secrets[at]
	return h, ok
}

// acquaint finds what the hosts of sealed replies share, by the keys that they say are theirs.
func (r *Keyring) acquaint(list []packet, hosts []acquaintance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range list {
		if !list[i].sealed() {
			continue
		}
		if key, err := list[i].reply.sealedKey(); err == nil {
			hosts[i].held, hosts[i].has = r.secrets[[ed25519.PublicKeySize]byte(key)]
		}
	}
}

func (r *Keyring) set(host ed25519.PublicKey, h held) {
	at := [ed25519.PublicKeySize]byte(host)
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.secrets[at]; ok && old == h {
		return // two replies of one host were opened side by side
	}
	if r.secrets == nil || len(r.secrets) >= maxSecrets {
		r.secrets = map[[ed25519.PublicKeySize]byte]held{}
	}
	r.secrets[at] = h
	if !h.told {
		r.changes++
	}
}
