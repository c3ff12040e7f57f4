package discover

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// relayKeys returns what seals orders and what seals batches, in one sweep by one relay. The nonce is that of the offer, or zero for
// early orders.
func relayKeys(s Secret, sweep uint64, nonce [16]byte) (orders, batches cipher.AEAD, err error) {
	info := append(binary.BigEndian.AppendUint64([]byte("rollcall RCL1 relay"), sweep), nonce[:]...)
	key, err := hkdf.Expand(sha256.New, s[:], string(info), 64)
	if err != nil {
		return nil, nil, fmt.Errorf("derive key: %w", err)
	}
	var boxes [2]cipher.AEAD
	for i := range boxes {
		block, err := aes.NewCipher(key[32*i : 32*i+32])
		if err != nil {
			return nil, nil, err
		}
		if boxes[i], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, nil, err
		}
	}
	return boxes[0], boxes[1], nil
}

// sealRelay returns an order or a batch.
func sealRelay(dst []byte, h relayHead, body []byte, box cipher.AEAD) []byte {
	h.Body = sealNonce + sealTag + len(body)
	dst = h.append(dst[:0])
	return box.Seal(dst, nil, body, dst[:relayHeader])
}

// openRelay returns the body of an order or a batch.
func openRelay(b []byte, box cipher.AEAD) ([]byte, error) {
	body, err := box.Open(nil, nil, b[relayHeader:], b[:relayHeader])
	if err != nil {
		return nil, errSeal
	}
	return body, nil
}

// earlyLink stands for the link in an early order: it is that of the request's requester.
const earlyLink = 0xff

// order is a request that a relay is to send: to everybody on a link, or to one host there.
type order struct {
	link    int        // of the offer, or earlyLink
	to      netip.Addr // not valid: everybody
	request []byte     // empty: the sweep is over
}

func (o order) append(b []byte) []byte {
	to := [4]byte{}
	if o.to.Is4() {
		to = o.to.As4()
	}
	b = append(append(b, byte(o.link)), to[:]...)
	return append(b, o.request...)
}

func parseOrder(b []byte) (order, error) {
	if len(b) < orderHead {
		return order{}, errors.New("order is cut off")
	}
	o := order{link: int(b[0]), request: b[orderHead:]}
	if a := netip.AddrFrom4([4]byte(b[1:])); !a.IsUnspecified() {
		o.to = a
	}
	return o, nil
}

// entry is a reply in a batch.
type entry struct {
	link  int
	from  netip.Addr // IPv4
	reply []byte
}

func (e entry) append(b []byte) []byte {
	from := e.from.As4()
	b = append(append(b, byte(e.link)), from[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.reply)))
	return append(b, e.reply...)
}

// parseBatch reads the replies of a batch.
func parseBatch(b []byte) (out []entry, err error) {
	for len(b) > 0 {
		if len(b) < entryHead {
			return nil, errors.New("batch is cut off")
		}
		size := int(binary.BigEndian.Uint16(b[5:]))
		e := entry{link: int(b[0]), from: netip.AddrFrom4([4]byte(b[1:]))}
		b = b[entryHead:]
		if size > len(b) || size > maxReply {
			return nil, errors.New("batch is cut off")
		}
		e.reply, b = b[:size:size], b[size:]
		out = append(out, e)
	}
	return out, nil
}

// seen is which of the last 64 numbers have come: each counts once, and those that are older count for nothing.
type seen struct {
	high uint32
	mask uint64 // bit i: high-i has come
}

// add reports whether the number is new.
func (s *seen) add(n uint32) bool {
	switch d := int64(n) - int64(s.high); {
	case d >= 64:
		s.mask = 1
	case d > 0:
		s.mask = s.mask<<d | 1
	case d <= -64 || s.mask>>-d&1 == 1:
		return false
	default:
		s.mask |= 1 << -d
		return true
	}
	s.high = n
	return true
}
