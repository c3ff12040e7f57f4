package discover

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// ReplyFlags are what a reply says of its host before its body is read.
type ReplyFlags uint16

// The flags of a reply.
const (
	FlagSealed       ReplyFlags = 1 << iota // the body is encrypted to the operator of the request
	FlagOpen                                // the host answers anyone
	FlagLoopbackOnly                        // the host's broker is to be reached on the host itself only
	FlagNoNeighbour                         // the host had to ask by ARP where the requester is
	FlagSigned                              // a signature by the host's key follows the body
	FlagChallenge                           // the clocks differ; the body is what a request with the right time has instead of it
	knownReplyFlags  = FlagSealed | FlagOpen | FlagLoopbackOnly | FlagNoNeighbour | FlagSigned | FlagChallenge
)

// Reply is an answer in the sealed form, or one page of it.
type Reply struct {
	Flags       ReplyFlags
	Host        ID
	Key         [8]byte // the host's key; zero: none
	Sweep       uint64
	Round       uint16
	Page, Pages uint8
	Edition     uint16 // changes when the pages do
	Seq         uint32 // of the request that this answers
	First       uint32 // seq of the first request of this sweep that the host heard
	Tx          uint16 // replies that the host has sent in this sweep, with this one
	MAC         [6]byte
	Delay       time.Duration // since the request came, in whole microseconds
	Age         time.Duration // since the host's monitor started, in whole seconds

	Body      ReplyBody           // when not FlagSealed
	Box       []byte              // the host's key and the encrypted body, when FlagSealed; of ParseReply: a part of the datagram
	Cookie    []byte              // of an opened challenge
	HostKey   ed25519.PublicKey   // of an opened reply
	Signature [signatureSize]byte // when FlagSigned
}

// Offsets of fields of a reply: first those by which pages are told apart, then those that differ from one reply to the next of the
// same page.
const (
	offHost  = 8
	offPage  = 34
	offSweep = 24
	offRound = 32
	offSeq   = 38
	offFirst = 42
	offTx    = 46
	offMAC   = 48
	offDelay = 54
	offAge   = 58
)

// Marshal returns the datagram.
func (r Reply) Marshal() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	body := r.Box
	if r.Flags&FlagSealed == 0 {
		var err error
		if body, err = r.Body.marshal(r.Page); err != nil {
			return nil, err
		}
	}
	b := make([]byte, replyHeader, replyHeader+len(body)+signatureSize)
	copy(b, magic)
	b[4], b[5] = wireVersion, typeReply
	binary.BigEndian.PutUint16(b[6:], uint16(r.Flags))
	copy(b[offHost:], r.Host[:])
	copy(b[16:], r.Key[:])
	b[offPage], b[offPage+1] = r.Page, r.Pages
	binary.BigEndian.PutUint16(b[36:], r.Edition)
	r.patch(b)
	binary.BigEndian.PutUint16(b[62:], uint16(len(body)))
	b = append(b, body...)
	if r.Flags&FlagSigned != 0 {
		b = append(b, r.Signature[:]...)
	}
	if len(b) > maxReply {
		return nil, fmt.Errorf("marshal reply of %d bytes: %w", len(b), errTooLong)
	}
	return b, nil
}

// patch writes the fields that differ from one reply to the next into an encoded page.
func (r *Reply) patch(b []byte) {
	binary.BigEndian.PutUint64(b[offSweep:], r.Sweep)
	binary.BigEndian.PutUint16(b[offRound:], r.Round)
	binary.BigEndian.PutUint32(b[offSeq:], r.Seq)
	binary.BigEndian.PutUint32(b[offFirst:], r.First)
	binary.BigEndian.PutUint16(b[offTx:], r.Tx)
	copy(b[offMAC:], r.MAC[:])
	binary.BigEndian.PutUint32(b[offDelay:], clampUint32(r.Delay/time.Microsecond))
	binary.BigEndian.PutUint32(b[offAge:], clampUint32(r.Age/time.Second))
}

func clampUint32(d time.Duration) uint32 { return uint32(min(max(d, 0), 1<<32-1)) }

// ParseReply reads a reply. Everything in it is checked: names are names, texts have no control characters, lists are short.
// Keys of the body that it does not know are passed over, so that a newer host can say more.
func ParseReply(b []byte) (r Reply, err error) {
	err = r.parse(b)
	return r, err
}

// parse is ParseReply into r, which is empty.
func (r *Reply) parse(b []byte) error {
	switch {
	case len(b) > MaxRequest:
		return errTooLong
	case len(b) < replyHeader:
		return fmt.Errorf("reply has %d bytes, at least %d are needed", len(b), replyHeader)
	case string(b[:4]) != magic:
		return errors.New("reply does not start with " + magic)
	}
	r.Flags = ReplyFlags(binary.BigEndian.Uint16(b[6:]))
	if b[4] != wireVersion || b[5] != typeReply || r.Flags&^knownReplyFlags != 0 {
		return errVersion
	}
	r.Host, r.Key = ID(b[8:16]), [8]byte(b[16:])
	r.Sweep = binary.BigEndian.Uint64(b[offSweep:])
	r.Round = binary.BigEndian.Uint16(b[offRound:])
	r.Page, r.Pages = b[offPage], b[offPage+1]
	r.Edition = binary.BigEndian.Uint16(b[36:])
	r.Seq = binary.BigEndian.Uint32(b[offSeq:])
	r.First = binary.BigEndian.Uint32(b[offFirst:])
	r.Tx = binary.BigEndian.Uint16(b[offTx:])
	r.MAC = [6]byte(b[offMAC:])
	r.Delay = time.Duration(binary.BigEndian.Uint32(b[offDelay:])) * time.Microsecond
	r.Age = time.Duration(binary.BigEndian.Uint32(b[offAge:])) * time.Second
	rest := b[replyHeader:]
	if r.Flags&FlagSigned != 0 {
		if len(rest) < signatureSize {
			return errors.New("reply's signature is cut off")
		}
		r.Signature = [signatureSize]byte(rest[len(rest)-signatureSize:])
		rest = rest[:len(rest)-signatureSize]
	}
	if body := int(binary.BigEndian.Uint16(b[62:])); body != len(rest) {
		return fmt.Errorf("reply's body has %d bytes where it says %d", len(rest), body)
	}
	if err := r.check(); err != nil {
		return err
	}
	if r.Flags&FlagSealed != 0 {
		r.Box = rest[:len(rest):len(rest)]
		return nil
	}
	return r.Body.unmarshal(rest, r.Page, newTray(1))
}

// check refuses a header that contradicts itself.
func (r *Reply) check() error {
	switch {
	case r.Host == ID{}:
		return errors.New("reply has no host id")
	case r.Sweep == 0 || r.Sweep > maxSweep:
		return badSweep(r.Sweep)
	case r.Pages == 0 || r.Pages > maxPages || r.Page >= r.Pages:
		return fmt.Errorf("reply is page %d of %d", r.Page, r.Pages)
	case r.Flags&FlagChallenge != 0 && r.Flags&FlagSealed == 0:
		return errors.New("challenge is not sealed")
	case r.Flags&(FlagSealed|FlagSigned) != 0 && r.Key == [8]byte{}:
		return errors.New("sealed or signed reply names no key")
	}
	return nil
}
