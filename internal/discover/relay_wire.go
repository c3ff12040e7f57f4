package discover

import (
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/fxamacker/cbor/v2"

	"rollcall/reports"
)

// A relay is a host that asks its own networks for an operator who is in none of them. What it sends there are requests that
// the operator has signed for the relay's address, and which the hosts take like any other; nothing of them knows of relays.
const (
	typeRelay    = 4
	relayHeader  = 40
	ticketSize   = 512 // of a ticket, and the most that an offer may have
	ticketFields = 96  // of a ticket, which the group tag is of
	offerBodyMax = ticketSize - relayHeader - signatureSize
	batchMax     = MaxRequest
	orderHead    = 1 + 4     // what stands before the request in an order
	entryHead    = 1 + 4 + 2 // before each reply in a batch: link, address, length
	// relayOverhead is how many bytes an order has more than the request in it.
	relayOverhead = relayHeader + sealNonce + sealTag + orderHead
	maxLinks      = 8 // that an offer has room for
)

// relayKind is what a datagram about relaying is.
type relayKind uint8

// The kinds.
const (
	kindTicket relayKind = 1 + iota // operator to host: relay for me
	kindOffer                       // host to operator: I do, on these links
	kindOrder                       // operator to relay: send this request
	kindBatch                       // relay to operator: these replies came
)

// Flags.
const (
	relayFlagSigned = 1 // of a ticket, that the offer is to be signed; of an offer, that it is
	relayFlagEarly  = 2 // of an order, that it was sent with the ticket, before there was an offer
)

// relayHead is what all of them begin with.
type relayHead struct {
	Kind     relayKind
	Signed   bool
	Early    bool
	Sweep    uint64
	Operator [8]byte
	Time     time.Time
	Seq      uint32 // of the datagrams of its kind in this sweep, from 1
	Body     int    // bytes behind the head; of a ticket 0
}

func (h relayHead) append(b []byte) []byte {
	b = append(b, magic...)
	flags := byte(0)
	if h.Signed {
		flags = relayFlagSigned
	}
	if h.Early {
		flags |= relayFlagEarly
	}
	b = append(b, wireVersion, typeRelay, byte(h.Kind), flags)
	b = binary.BigEndian.AppendUint64(b, h.Sweep)
	b = append(b, h.Operator[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Time.UnixMilli()))
	b = binary.BigEndian.AppendUint32(b, h.Seq)
	b = binary.BigEndian.AppendUint16(b, uint16(h.Body))
	return append(b, 0, 0)
}

// isRelay reports whether the datagram claims to be about relaying.
func isRelay(b []byte) bool {
	return len(b) >= relayHeader && string(b[:len(magic)]) == magic && b[5] == typeRelay
}

// parseRelayHead reads the head. Its body, and of a signed offer the signature behind it, fill the rest of the datagram.
func parseRelayHead(b []byte) (relayHead, error) {
	switch {
	case len(b) > MaxRequest:
		return relayHead{}, errTooLong
	case !isRelay(b):
		return relayHead{}, errors.New("datagram is not about relaying")
	case b[4] != wireVersion || b[6] < byte(kindTicket) || b[6] > byte(kindBatch) || b[7]&^(relayFlagSigned|relayFlagEarly) != 0:
		return relayHead{}, errVersion
	}
	h := relayHead{Kind: relayKind(b[6]), Signed: b[7]&relayFlagSigned != 0, Early: b[7]&relayFlagEarly != 0, Sweep: binary.BigEndian.Uint64(b[8:]), Operator: [8]byte(b[16:]),
		Seq: binary.BigEndian.Uint32(b[32:]), Body: int(binary.BigEndian.Uint16(b[36:]))}
	ms := binary.BigEndian.Uint64(b[24:])
	size := relayHeader + h.Body
	switch {
	case h.Early && h.Kind != kindOrder:
		return h, errVersion
	case h.Kind == kindTicket:
		size = ticketSize + h.Body
	case h.Kind == kindOffer && h.Signed:
		size += signatureSize
	case h.Signed:
		return h, errVersion
	}
	if h.Sweep == 0 || h.Sweep > maxSweep || h.Seq == 0 || ms > maxMillis || len(b) != size || (h.Kind == kindTicket) != (h.Body == 0) ||
		(h.Kind == kindOffer && len(b) > ticketSize) || b[38]|b[39] != 0 {
		return h, errors.New("datagram about relaying contradicts itself")
	}
	h.Time = time.UnixMilli(int64(ms)).UTC()
	return h, nil
}

// ticket asks a host to relay. It is signed, and good for one host, one requester, one network and half a minute.
type ticket struct {
	relayHead
	Requester netip.Addr   // IPv4, where it comes from
	Relay     netip.Addr   // IPv4, where it goes to
	Network   netip.Prefix // the relay's links in it are asked for
}

// sign returns the datagram.
func (t ticket) sign(k Key) ([]byte, error) {
	t.Kind, t.Operator, t.Body = kindTicket, k.ID(), 0
	if err := t.check(); err != nil {
		return nil, err
	}
	b := t.append(make([]byte, 0, ticketSize))
	for _, a := range []netip.Addr{t.Requester, t.Relay, t.Network.Addr()} {
		a16 := a.As16()
		b = append(b, a16[:]...)
	}
	b = append(b, byte(t.Network.Bits()))
	b = b[:ticketSize]
	tag := newTagger(public(k)).tag(b[:ticketFields])
	end := ticketSize - signatureSize
	copy(b[end-groupTagSize:], tag[:])
	copy(b[end:], ed25519.Sign(k.Private(), b[:end]))
	return b, nil
}

// ticketTagged reports whether the ticket b has the group tag of the operator.
func ticketTagged(b []byte, t *tagger) bool {
	tag := t.tag(b[:ticketFields])
	end := ticketSize - signatureSize
	return hmac.Equal(tag[:], b[end-groupTagSize:end])
}

// parseTicket reads a ticket. That tag and signature are good is for the caller to check.
func parseTicket(b []byte) (ticket, error) {
	h, err := parseRelayHead(b)
	if err != nil {
		return ticket{}, err
	}
	if h.Kind != kindTicket {
		return ticket{}, errors.New("datagram is no ticket")
	}
	at := func(i int) netip.Addr { return netip.AddrFrom16([16]byte(b[i:])).Unmap() }
	t := ticket{relayHead: h, Requester: at(40), Relay: at(56)}
	network := at(72)
	t.Network = netip.PrefixFrom(network, int(b[88]))
	for _, c := range b[89 : ticketSize-signatureSize-groupTagSize] {
		if c != 0 {
			return t, errors.New("ticket's padding is not zero")
		}
	}
	return t, t.check()
}

func (t ticket) check() error {
	switch {
	case t.Operator == [8]byte{}:
		return errors.New("ticket names no operator")
	case !t.Requester.Is4() || !t.Relay.Is4() || !unicast(t.Requester) || !unicast(t.Relay):
		return errors.New("ticket's requester and relay must be the IPv4 addresses of machines")
	case !t.Network.IsValid() || !t.Network.Addr().Is4() || t.Network != t.Network.Masked():
		return fmt.Errorf("ticket's network %v is none", t.Network)
	}
	return nil
}

// relayLink is a network of a relay: its own address there with the length of the prefix, and its MAC, zero where there is none.
type relayLink struct {
	Prefix netip.Prefix
	MAC    [6]byte
}

// tolerant reads offers: what a newer relay adds is passed over. It is never changed.
var tolerant = must(decodeOptions(cbor.ExtraDecErrorNone).DecMode())

// offer is what a relay answers a ticket with. Only the operator of the ticket can read it, and who has read it was where the
// ticket says that it came from.
type offer struct {
	relayHead
	Host  ID
	Name  string
	Nonce [16]byte // of the keys of this sweep's orders and batches
	Links []relayLink
	Early bool              // the relay takes orders that come before its offer is read
	Key   ed25519.PublicKey // the relay's, of one that was opened
}

// offerBody is an offer as it is encoded.
type offerBody struct {
	Host  []byte      `cbor:"1,keyasint"`
	Name  string      `cbor:"2,keyasint"`
	Nonce []byte      `cbor:"3,keyasint"`
	Links []offerLink `cbor:"4,keyasint"`
	Early bool        `cbor:"5,keyasint,omitempty"`
}

type offerLink struct {
	_    struct{} `cbor:",toarray"`
	Addr []byte
	Bits uint8
	MAC  []byte // empty or 6 bytes
}

// marshal returns the datagram, sealed by box, which belongs to own, and signed if private is not nil.
func (o offer) marshal(box cipher.AEAD, own ed25519.PublicKey, private ed25519.PrivateKey) ([]byte, error) {
	in := offerBody{Host: o.Host[:], Name: o.Name, Nonce: o.Nonce[:], Early: o.Early}
	for _, l := range o.Links {
		link := offerLink{Addr: l.Prefix.Addr().AsSlice(), Bits: uint8(l.Prefix.Bits()), MAC: []byte{}}
		if l.MAC != [6]byte{} {
			link.MAC = l.MAC[:]
		}
		in.Links = append(in.Links, link)
	}
	body, err := encoding.Marshal(in)
	if err != nil {
		return nil, err
	}
	o.Kind, o.Signed, o.Body = kindOffer, private != nil, sealOverhead+len(body)
	if o.Body > offerBodyMax {
		return nil, fmt.Errorf("marshal offer of %d bytes: %w", o.Body, errTooLong)
	}
	b := o.append(make([]byte, 0, ticketSize))
	b = append(b, own...)
	b = box.Seal(b, nil, body, b[:relayHeader])
	if private != nil {
		b = append(b, ed25519.Sign(private, b)...)
	}
	return b, nil
}

// offerKey returns the key that a parsed offer says is the relay's.
func offerKey(h relayHead, b []byte) (ed25519.PublicKey, error) {
	if h.Kind != kindOffer || h.Body < sealOverhead {
		return nil, errSeal
	}
	return ed25519.PublicKey(b[relayHeader : relayHeader+sealKeySize]), nil
}

// openOffer opens an offer, whose head was parsed, with what belongs to its key.
func openOffer(h relayHead, b []byte, box cipher.AEAD) (offer, error) {
	key, err := offerKey(h, b)
	if err != nil {
		return offer{}, err
	}
	raw, err := box.Open(nil, nil, b[relayHeader+sealKeySize:relayHeader+h.Body], b[:relayHeader])
	if err != nil {
		return offer{}, errSeal
	}
	var in offerBody
	if err := decode(tolerant, raw, &in); err != nil {
		return offer{}, err
	}
	o := offer{relayHead: h, Name: in.Name, Early: in.Early, Key: key}
	if len(in.Host) != len(o.Host) || len(in.Nonce) != len(o.Nonce) || len(in.Links) == 0 || len(in.Links) > maxLinks || reports.ValidName(in.Name) != nil {
		return o, errors.New("offer is broken")
	}
	o.Host, o.Nonce = ID(in.Host), [16]byte(in.Nonce)
	for _, l := range in.Links {
		a, ok := netip.AddrFromSlice(l.Addr)
		p := netip.PrefixFrom(a, int(l.Bits))
		if _, wide := broadcastOf(p); !ok || !p.IsValid() || !wide || !unicast(a) || (len(l.MAC) != 0 && len(l.MAC) != 6) {
			return o, errors.New("offer has a link that can't be")
		}
		link := relayLink{Prefix: p}
		copy(link.MAC[:], l.MAC)
		o.Links = append(o.Links, link)
	}
	return o, nil
}

// iface returns the interface that a relay's link is for the requests that are signed for it.
func (o offer) iface(l relayLink) iface {
	f := iface{Name: "via " + o.Name, Prefixes: []netip.Prefix{l.Prefix}, Addrs: []netip.Addr{l.Prefix.Addr()}}
	if l.MAC != [6]byte{} {
		f.MAC = net.HardwareAddr(l.MAC[:])
	}
	return f
}
