package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"errors"

	"filippo.io/edwards25519"
)

// Montgomery returns the X25519 public key that belongs to an Ed25519 one: u = (1+y)/(1-y) (RFC 7748 §4.1), as age and
// libsodium do it, so that one line a person is all that a host needs to seal what it says to him. It is for public keys
// only, for its time depends on them. It refuses keys that are no points, and the points whose secrets anybody knows.
func Montgomery(key ed25519.PublicKey) (u [32]byte, err error) {
	p, err := new(edwards25519.Point).SetBytes(key)
	switch {
	case len(key) != ed25519.PublicKeySize:
		return u, errors.New("key has the wrong length")
	case err != nil || !bytes.Equal(p.Bytes(), key): // a point has one canonical form (RFC 8032 §5.1.3)
		return u, errors.New("key is no point of the curve")
	case new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1:
		return u, errors.New("key is one whose secret everybody knows")
	}
	return [32]byte(p.BytesMontgomery()), nil
}

// scalar returns the X25519 private key that belongs to an Ed25519 one (RFC 8032 §5.1.5; X25519 clamps it itself).
func scalar(key ed25519.PrivateKey) [32]byte {
	h := sha512.Sum512(key.Seed())
	return [32]byte(h[:32])
}
