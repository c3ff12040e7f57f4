package discover

import (
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// HelloPort is the UDP port that hosts say HELLO and BYE to.
const HelloPort = Port + 1

const (
	typeHello   = 3
	helloHeader = 64
	helloSigned = helloHeader + ed25519.PublicKeySize + signatureSize
)

// Flags of a hello.
const (
	helloFlagSigned = 1 << iota
	helloFlagOpen
	helloFlagBye
	knownHelloFlags = helloFlagSigned | helloFlagOpen | helloFlagBye
)

// Hello is what a host says unasked: that it is there, that its addresses have changed, or that it goes. It says nothing that a
// bystander should not know; who wants to know more asks.
type Hello struct {
	Bye, Open bool
	Host      ID
	Time      time.Time // of the host, in milliseconds
	Seq       uint32    // of this process, from 1
	Age       time.Duration
	MAC       [6]byte
	Edition   uint16 // changes when what the host says of itself does
	BootID    [16]byte
	Key       ed25519.PublicKey // the host's; nil: the hello is not signed
}

// marshal returns the datagram, signed if k is not nil.
func (h Hello) marshal(k Key) []byte {
	b := make([]byte, helloHeader, helloSigned)
	copy(b, magic)
	b[4], b[5] = wireVersion, typeHello
	var flags uint16
	for flag, on := range map[uint16]bool{helloFlagSigned: k != nil, helloFlagOpen: h.Open, helloFlagBye: h.Bye} {
		if on {
			flags |= flag
		}
	}
	binary.BigEndian.PutUint16(b[6:], flags)
	copy(b[8:], h.Host[:])
	binary.BigEndian.PutUint64(b[24:], uint64(h.Time.UnixMilli()))
	binary.BigEndian.PutUint32(b[32:], h.Seq)
	binary.BigEndian.PutUint32(b[36:], clampUint32(h.Age/time.Second))
	copy(b[40:], h.MAC[:])
	binary.BigEndian.PutUint16(b[46:], h.Edition)
	copy(b[48:], h.BootID[:])
	if k == nil {
		return b
	}
	id := k.ID()
	copy(b[16:], id[:])
	b = append(b, public(k)...)
	return append(b, ed25519.Sign(k.Private(), b)...)
}

// ParseHello reads a hello and checks its signature, if it has one. That the key is the host's is for the caller to check.
func ParseHello(b []byte) (Hello, error) {
	var h Hello
	switch {
	case len(b) < helloHeader || string(b[:len(magic)]) != magic:
		return h, errors.New("datagram is no hello")
	case b[4] != wireVersion || b[5] != typeHello:
		return h, errVersion
	}
	flags := binary.BigEndian.Uint16(b[6:])
	signed := flags&helloFlagSigned != 0
	ms := binary.BigEndian.Uint64(b[24:])
	h = Hello{Bye: flags&helloFlagBye != 0, Open: flags&helloFlagOpen != 0, Host: ID(b[8:16]), Seq: binary.BigEndian.Uint32(b[32:]),
		Age: time.Duration(binary.BigEndian.Uint32(b[36:])) * time.Second, MAC: [6]byte(b[40:]), Edition: binary.BigEndian.Uint16(b[46:]),
		BootID: [16]byte(b[48:])}
	switch {
	case flags&^knownHelloFlags != 0:
		return Hello{}, errVersion
	case h.Host == ID{} || h.Seq == 0 || ms > maxMillis:
		return Hello{}, errors.New("hello has no host, no number or no time that can be")
	case !signed && (len(b) != helloHeader || [8]byte(b[16:]) != [8]byte{}), signed && len(b) != helloSigned:
		return Hello{}, fmt.Errorf("hello has %d bytes, which is not what its flags say", len(b))
	}
	h.Time = time.UnixMilli(int64(ms)).UTC()
	if !signed {
		return h, nil
	}
	end := len(b) - signatureSize
	h.Key = ed25519.PublicKey(b[helloHeader:end:end])
	if !ed25519.Verify(h.Key, b[:end], b[end:]) {
		return Hello{}, errSignature
	}
	return h, nil
}

// bootID packs a boot id as random(4) has it; anything else is all zeros.
func bootID(s string) (out [16]byte) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err == nil && len(b) == len(out) {
		copy(out[:], b)
	}
	return out
}
