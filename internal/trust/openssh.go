package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/pem"
	"errors"
)

// The OpenSSH private key format (openssh-portable, PROTOCOL.key).
const (
	pemType  = "OPENSSH PRIVATE KEY"
	keyMagic = "openssh-key-v1\x00"
	keyBlock = 8 // bytes that an unencrypted private part is padded to
)

// marshal returns the key as ssh-keygen writes it, without a passphrase.
func (k Key) marshal() []byte {
	check := make([]byte, 4)
	rand.Read(check) //nolint:errcheck // never fails, by its documentation
	private := append(bytes.Clone(check), check...)
	private = appendString(private, []byte(keyType))
	private = appendString(private, k.Public().Key)
	private = appendString(private, k.private)
	private = appendString(private, []byte(k.comment))
	for i := byte(1); len(private)%keyBlock != 0; i++ {
		private = append(private, i)
	}
	b := []byte(keyMagic)
	b = appendString(b, []byte("none")) // cipher
	b = appendString(b, []byte("none")) // key derivation
	b = appendString(b, nil)            // its options
	b = binary.BigEndian.AppendUint32(b, 1)
	b = appendString(b, k.Public().blob())
	b = appendString(b, private)
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: b})
}

var errBroken = errors.New("key is broken")

// parsePrivate reads an OpenSSH private key.
func parsePrivate(b []byte) (Key, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != pemType {
		return Key{}, errors.New("not an OpenSSH private key; ssh-keygen -t ed25519 makes one")
	}
	rest, ok := bytes.CutPrefix(block.Bytes, []byte(keyMagic))
	if !ok {
		return Key{}, errBroken
	}
	cipher, rest, ok := cutString(rest)
	if !ok {
		return Key{}, errBroken
	}
	if string(cipher) != "none" {
		return Key{}, errors.New("key has a passphrase; ssh-keygen -p takes it away")
	}
	_, rest, ok1 := cutString(rest) // key derivation
	_, rest, ok2 := cutString(rest) // its options
	if !ok1 || !ok2 || len(rest) < 4 || binary.BigEndian.Uint32(rest) != 1 {
		return Key{}, errBroken
	}
	public, rest, ok1 := cutString(rest[4:])
	private, rest, ok2 := cutString(rest)
	if !ok1 || !ok2 || len(rest) != 0 {
		return Key{}, errBroken
	}
	k, err := parsePrivatePart(private)
	if err == nil && !bytes.Equal(public, k.Public().blob()) {
		err = errBroken
	}
	if err != nil {
		return Key{}, err
	}
	return k, nil
}

// parsePrivatePart reads what would be encrypted.
func parsePrivatePart(b []byte) (Key, error) {
	if len(b) < 8 || !bytes.Equal(b[:4], b[4:8]) || len(b)%keyBlock != 0 {
		return Key{}, errBroken
	}
	kind, b, ok := cutString(b[8:])
	if !ok {
		return Key{}, errBroken
	}
	if string(kind) != keyType {
		return Key{}, errors.New("key is of another type than " + keyType + "; ssh-keygen -t ed25519 makes one")
	}
	public, b, ok1 := cutString(b)
	private, b, ok2 := cutString(b)
	comment, padding, ok3 := cutString(b)
	if !ok1 || !ok2 || !ok3 || len(private) != ed25519.PrivateKeySize || len(padding) >= keyBlock {
		return Key{}, errBroken
	}
	for i, c := range padding {
		if int(c) != i+1 {
			return Key{}, errBroken
		}
	}
	key := ed25519.NewKeyFromSeed(private[:ed25519.SeedSize])
	if !bytes.Equal(key, private) || !bytes.Equal(key.Public().(ed25519.PublicKey), public) {
		return Key{}, errBroken
	}
	k := Key{key, string(comment)}
	return k, checkComment(k.comment)
}
