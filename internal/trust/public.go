package trust

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// keyType is the only kind of key there is, as SSH names it (RFC 8709).
const keyType = "ssh-ed25519"

// Bounds of what is read.
const (
	maxLine    = 1024 // bytes of a line
	maxComment = 128  // bytes
)

// ID is the first 8 bytes of a key's SHA-256 fingerprint. It names a key in a datagram.
type ID = [8]byte

// PublicKey is the public half of an operator's or a host's key, with the comment that tells a person whose it is.
type PublicKey struct {
	Key     ed25519.PublicKey
	Comment string
}

// blob returns the key as SSH encodes it (RFC 8709 §4).
func (p PublicKey) blob() []byte {
	return appendString(appendString(nil, []byte(keyType)), p.Key)
}

// ID returns the first 8 bytes of the fingerprint.
func (p PublicKey) ID() ID {
	sum := sha256.Sum256(p.blob())
	return ID(sum[:8])
}

// Fingerprint returns the key's SHA-256 fingerprint as ssh-keygen -l prints it: "SHA256:" and 43 letters.
func (p PublicKey) Fingerprint() string {
	sum := sha256.Sum256(p.blob())
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// String returns the line that stands in authorized_operators and known_hosts: type, key, comment.
func (p PublicKey) String() string {
	s := keyType + " " + base64.StdEncoding.EncodeToString(p.blob())
	if p.Comment != "" {
		s += " " + p.Comment
	}
	return s
}

// Equal reports whether both are the same key, whatever the comments.
func (p PublicKey) Equal(o PublicKey) bool { return len(p.Key) > 0 && p.Key.Equal(o.Key) }

// ParsePublicKey reads a public line: type, key in base64, comment.
func ParsePublicKey(line string) (PublicKey, error) {
	if len(line) > maxLine {
		return PublicKey{}, fmt.Errorf("line of %d bytes is longer than %d", len(line), maxLine)
	}
	kind, rest := nextField(line)
	if kind != keyType {
		return PublicKey{}, fmt.Errorf("key is of type %.40q, only %s can be used", kind, keyType)
	}
	text, rest := nextField(rest)
	blob, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || text == "" {
		return PublicKey{}, fmt.Errorf("key %.40q is not base64", text)
	}
	name, blob, ok := cutString(blob)
	key, blob, ok2 := cutString(blob)
	if !ok || !ok2 || len(blob) > 0 || string(name) != keyType || len(key) != ed25519.PublicKeySize {
		return PublicKey{}, errors.New("key is not a whole " + keyType + " key")
	}
	p := PublicKey{Key: key, Comment: strings.TrimSpace(rest)}
	if _, err := Montgomery(p.Key); err != nil {
		return PublicKey{}, err
	}
	return p, checkComment(p.Comment)
}

// checkComment refuses what a terminal or a log should not be shown.
func checkComment(s string) error {
	if len(s) > maxComment || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("comment is longer than %d bytes or can't be shown", maxComment)
	}
	return nil
}

// nextField cuts the first word off a line.
func nextField(s string) (field, rest string) {
	s = strings.TrimLeft(s, " \t")
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i:]
}

// appendString appends a string as SSH encodes it: its length in 4 bytes before it (RFC 4251 §5).
func appendString(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// cutString cuts a string off b.
func cutString(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n : 4+n], b[4+n:], true
}
