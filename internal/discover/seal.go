package discover

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
)

// Key is the private key of an operator or a host; trust.Key is one.
type Key interface {
	// ID returns what names the key in a datagram.
	ID() [8]byte
	// Private returns the key to sign with.
	Private() ed25519.PrivateKey
	// Shared returns the secret that only this key and the other, of which the public half is given, can compute.
	Shared(other ed25519.PublicKey) ([]byte, error)
}

// Sizes of what makes a reply sealed, in bytes.
const (
	sealKeySize  = ed25519.PublicKeySize // the host's key, in clear
	sealNonce    = 12
	sealTag      = 16
	sealOverhead = sealKeySize + sealNonce + sealTag // more than the same reply open
	groupTagSize = 8
)

// public returns the public half of a key.
func public(k Key) ed25519.PublicKey { return k.Private().Public().(ed25519.PublicKey) }

// seal returns what seals and opens the replies of one host to one operator in one sweep: AES-256-GCM with a random nonce for
// each reply, so that neither a restart of the host nor a second copy can use one twice. It seals in one direction only.
func seal(s Secret, sweep uint64) (cipher.AEAD, error) {
	key := s.sweepKey(sweep)
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// mac256 returns HMAC-SHA256 (RFC 2104). It is crypto/hmac without what that allocates, for short keys and texts.
func mac256(key, text []byte) (out [sha256.Size]byte) {
	const inner, outer, most = 0x3636363636363636, 0x5c5c5c5c5c5c5c5c, 128
	if len(key) > sha256.BlockSize || len(text) > most {
		h := hmac.New(sha256.New, bytes.Clone(key)) // clones, so that what is short need not be on the heap
		h.Write(bytes.Clone(text))
		copy(out[:], h.Sum(nil))
		return out
	}
	var buf [sha256.BlockSize + most]byte
	copy(buf[:sha256.BlockSize], key)
	mix(buf[:sha256.BlockSize], inner)
	n := copy(buf[sha256.BlockSize:], text)
	sum := sha256.Sum256(buf[:sha256.BlockSize+n])
	mix(buf[:sha256.BlockSize], inner^outer)
	n = copy(buf[sha256.BlockSize:], sum[:])
	return sha256.Sum256(buf[:sha256.BlockSize+n])
}

// mix XORs each eight bytes of b with pad.
func mix(b []byte, pad uint64) {
	for ; len(b) >= 8; b = b[8:] {
		binary.NativeEndian.PutUint64(b, binary.NativeEndian.Uint64(b)^pad)
	}
}

// sealInto returns the encoded reply, its body sealed and, if private is not nil, the whole signed. page is the reply as it
// would be open, with all its fields in place.
func sealInto(dst, page []byte, aead cipher.AEAD, host ed25519.PublicKey, id [8]byte, private ed25519.PrivateKey) ([]byte, error) {
	body := page[replyHeader:]
	dst = append(dst[:0], page[:replyHeader]...)
	flags := binary.BigEndian.Uint16(dst[6:]) | uint16(FlagSealed)
	if private != nil {
		flags |= uint16(FlagSigned)
	}
	binary.BigEndian.PutUint16(dst[6:], flags)
	copy(dst[16:], id[:])
	binary.BigEndian.PutUint16(dst[62:], uint16(sealOverhead+len(body)))
	dst = append(dst, host...)
	dst = aead.Seal(dst, nil, body, dst[:replyHeader])
	if private != nil {
		dst = append(dst, ed25519.Sign(private, dst)...)
	}
	if len(dst) > maxReply {
		return nil, fmt.Errorf("seal reply of %d bytes: %w", len(dst), errTooLong)
	}
	return dst, nil
}

// Errors of opening a reply.
var (
	errSeal      = errors.New("reply is not sealed for this operator")
	errSignature = errors.New("signature is not the key's")
)

// sealedKey returns the key that a sealed reply says is the host's.
func (r *Reply) sealedKey() (ed25519.PublicKey, error) {
	if len(r.Box) < sealOverhead {
		return nil, errSeal
	}
	return ed25519.PublicKey(r.Box[:sealKeySize]), nil
}

// openBox opens the body of the reply that b was parsed to. m is where it is put.
func (r *Reply) openBox(b []byte, aead cipher.AEAD, m *tray) error {
	body, err := aead.Open(m.body[:0], nil, r.Box[sealKeySize:], b[:replyHeader])
	if err != nil {
		return errSeal
	}
	m.body = body
	if r.Flags&FlagChallenge != 0 {
		if len(body) != cookieSize {
			return errSeal
		}
		r.Cookie = bytes.Clone(body)
		return nil
	}
	return r.Body.unmarshal(body, r.Page, m)
}

// verify checks the signature of the reply b.
func (r *Reply) verify(b []byte, key ed25519.PublicKey) error {
	if r.Flags&FlagSigned == 0 || !ed25519.Verify(key, b[:len(b)-signatureSize], r.Signature[:]) {
		return errSignature
	}
	return nil
}

// tagger makes the group tags of one operator: a keyed hash of a request's header, with his public key for the key. The tag
// is no proof of anything; but who does not know the public key, which is never sent, can't have a host check signatures
// for nothing. It is for one goroutine.
type tagger struct {
	mac hash.Hash
	sum [sha256.Size]byte
}

const tagLabel = "rollcall RCL1 tag"

func newTagger(operator ed25519.PublicKey) *tagger {
	return &tagger{mac: hmac.New(sha256.New, append([]byte(tagLabel), operator...))}
}

func (t *tagger) tag(header []byte) [groupTagSize]byte {
	t.mac.Reset() // to where the key has been taken in, which is half of the work
	t.mac.Write(header)
	return [groupTagSize]byte(t.mac.Sum(t.sum[:0]))
}

// sign puts tag and signature into an encoded request.
func sign(b []byte, private ed25519.PrivateKey, t *tagger) {
	end := len(b) - signatureSize
	tag := t.tag(b[:requestHeader])
	copy(b[end-groupTagSize:], tag[:])
	copy(b[end:], ed25519.Sign(private, b[:end]))
}

// Sign returns the datagram, signed with the operator's key, and with a tag for each host that the operator shares one of the secrets with.
func (r Request) Sign(k Key, hosts ...Secret) ([]byte, error) {
	r.Signed, r.Operator, r.HostTags = true, k.ID(), len(hosts)
	b, err := r.Marshal()
	if err != nil {
		return nil, err
	}
	sign(r.signed(b), k.Private(), newTagger(public(k)))
	addHostTags(b, hosts)
	return b, nil
}

// tagged reports whether the request b has the group tag of the operator.
func tagged(b []byte, t *tagger) bool {
	tag := t.tag(b[:requestHeader])
	end := len(b) - signatureSize
	return hmac.Equal(tag[:], b[end-groupTagSize:end])
}

// signedBy reports whether the request b is signed with the key.
func signedBy(b []byte, key ed25519.PublicKey) bool {
	end := len(b) - signatureSize
	return ed25519.Verify(key, b[:end], b[end:])
}
