package trust

import (
	"crypto/ed25519"
	"crypto/sha512"
	"errors"
	"math/big"
	"slices"
)

// prime returns 2^255 - 19, over which both curves are.
func prime() *big.Int {
	p := new(big.Int).Lsh(big.NewInt(1), 255)
	return p.Sub(p, big.NewInt(19))
}

// Montgomery returns the X25519 public key that belongs to an Ed25519 one: u = (1+y)/(1-y) (RFC 7748 §4.1), as age and
// libsodium do it, so that one line a person is all that a host needs to seal what it says to him. It is for public keys
// only, for its time depends on them. It refuses keys that are no points, and the points whose secrets anybody knows.
func Montgomery(key ed25519.PublicKey) ([32]byte, error) {
	var u [32]byte
	if len(key) != ed25519.PublicKeySize {
		return u, errors.New("key has the wrong length")
	}
	p := prime()
	y := slices.Clone(key)
	y[31] &= 0x7f // the sign of x
	slices.Reverse(y)
	v := new(big.Int).SetBytes(y)
	one := big.NewInt(1)
	if v.Cmp(p) >= 0 || !onCurve(v, p) {
		return u, errors.New("key is no point of the curve")
	}
	den := new(big.Int).Sub(one, v)
	den.Mod(den, p)
	if den.Sign() == 0 {
		return u, errors.New("key is one whose secret everybody knows")
	}
	out := new(big.Int).Add(one, v)
	out.Mul(out, den.ModInverse(den, p)).Mod(out, p)
	out.FillBytes(u[:])
	slices.Reverse(u[:])
	if lowOrder(out, p) {
		return u, errors.New("key is one whose secret everybody knows")
	}
	return u, nil
}

// onCurve reports whether there is an x to y: -x² + y² = 1 + d·x²·y², d = -121665/121666 (RFC 8032 §5.1).
func onCurve(y, p *big.Int) bool {
	one := big.NewInt(1)
	d := new(big.Int).ModInverse(big.NewInt(121666), p)
	d.Mul(d, big.NewInt(-121665)).Mod(d, p)
	yy := new(big.Int).Mul(y, y)
	num := new(big.Int).Sub(yy, one)
	den := new(big.Int).Mul(d, yy)
	den.Add(den, one).Mod(den, p)
	xx := num.Mul(num, den.ModInverse(den, p)) // den is never 0: -1/d is no square
	xx.Mod(xx, p)
	return big.Jacobi(xx, p) >= 0
}

// lowOrder reports whether u is a point of order 1, 2, 4 or 8: three doublings lead to nowhere (RFC 7748 §5,
// x2 = (u²-1)² / (4u(u²+486662u+1))).
func lowOrder(u, p *big.Int) bool {
	one, a := big.NewInt(1), big.NewInt(486662)
	at := new(big.Int).Set(u)
	for range 3 {
		sq := new(big.Int).Mul(at, at)
		den := new(big.Int).Mul(a, at)
		den.Add(den, sq).Add(den, one).Mul(den, at).Lsh(den, 2).Mod(den, p)
		if den.Sign() == 0 {
			return true
		}
		num := sq.Sub(sq, one)
		num.Mul(num, num)
		at = num.Mul(num, den.ModInverse(den, p)).Mod(num, p)
	}
	return false
}

// scalar returns the X25519 private key that belongs to an Ed25519 one (RFC 8032 §5.1.5; X25519 clamps it itself).
func scalar(key ed25519.PrivateKey) [32]byte {
	h := sha512.Sum512(key.Seed())
	return [32]byte(h[:32])
}
