package discover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Flags of a request.
const (
	flagSignedRequest = 1 << iota // a signature stands at the end
	flagIntroduce                 // replies are to be signed: the host may not be known yet
	flagClock                     // a host whose clock differs may say so, see FlagChallenge
	flagHostTags                  // host tags stand behind the signature
	knownRequestFlags = flagSignedRequest | flagIntroduce | flagClock | flagHostTags
)

// Request is a question in the sealed form. Zero fields mean "not said": everyone, at once, one copy.
type Request struct {
	Signed    bool
	Introduce bool      // the reply is to be signed by the host
	Clock     bool      // a host whose clock differs by more than 30 s is to send a challenge
	Sweep     uint64    // 1 to 2^53-1
	Time      time.Time // of the requester, in milliseconds
	Operator  [8]byte   // key that signs; zero: unsigned
	Requester netip.Addr
	MAC       [6]byte
	PrefixLen uint8
	Copies    uint8 // how often each reply is to be sent
	ReplyPort uint16
	Round     uint16
	Seq       uint32        // of this datagram in its sweep, from 1
	Window    time.Duration // over which replies are to be spread, in whole microseconds
	Sample    uint64        // hosts whose sample hash is below it answer; 0: all
	Lo, Hi    uint64        // hosts whose place hash is in [Lo, Hi) answer; Hi 0: no upper bound
	Salt      uint64        // of the hashes, fresh for each round

	Filter       []byte // Bloom filter of hosts already heard
	FilterHashes uint8
	Want         string // pattern of host names that are to answer; "": all
	BrokerPort   uint16 // of a broker on the requester's address; 0: none
	Topic        string // there
	Page         uint8  // of the reply
	Cookie       []byte // of the host's challenge, which stands for the time; else empty

	// Changed makes the request one of a watch: beside the range, whoever has changed for so long at most (whole milliseconds)
	// and is not in the filter answers, and whoever is named. 0: it is one of a sweep.
	Changed time.Duration
	Names   []ID // at most maxNames

	Signature [signatureSize]byte // over everything before it
	HostTags  int                 // hosts that need not look at it, for they find a tag behind it; at most maxHostTags
}

// Marshal returns the datagram, padded to MinRequest.
func (r Request) Marshal() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	body, err := r.marshalBody()
	if err != nil {
		return nil, err
	}
	size := max(MinRequest, requestHeader+len(body)+r.trailer())
	size += size % 2 // see withTail
	if size > MaxRequest {
		return nil, fmt.Errorf("marshal request: body has %d bytes: %w", len(body), errTooLong)
	}
	b := make([]byte, 0, size)
	b = append(b, magic...)
	b = append(b, wireVersion, typeRequest)
	flags := uint16(0)
	for i, set := range []bool{r.Signed, r.Introduce, r.Clock, r.HostTags > 0} { // in the order of the flags
		if set {
			flags |= 1 << i
		}
	}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint64(b, r.Sweep)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time.UnixMilli()))
	b = append(b, r.Operator[:]...)
	addr := [16]byte{}
	if r.Requester.IsValid() {
		addr = r.Requester.As16()
	}
	b = append(b, addr[:]...)
	b = append(b, r.MAC[:]...)
	b = append(b, r.PrefixLen, r.Copies)
	b = binary.BigEndian.AppendUint16(b, r.ReplyPort)
	b = binary.BigEndian.AppendUint16(b, r.Round)
	b = binary.BigEndian.AppendUint32(b, r.Seq)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Window/time.Microsecond))
	for _, v := range []uint64{r.Sample, r.Lo, r.Hi, r.Salt} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	b = append(b, body...)
	b = b[:size]
	copy(b[len(r.signed(b))-signatureSize:], r.Signature[:])
	return b, nil
}

// ParseRequest reads a request. It is strict: unknown flags, unknown keys of the body, or anything but zeros as padding are
// refused, because a host that does not understand the whole question must not answer it.
func ParseRequest(b []byte) (Request, error) {
	r, body, err := parseRequestHeader(b)
	if err != nil {
		return Request{}, err
	}
	if err := r.parseBody(b, body); err != nil {
		return Request{}, err
	}
	return r, nil
}

// parseRequestHeader reads the fixed fields; body is the length of the body, which parseBody reads. It does not allocate.
func parseRequestHeader(b []byte) (r Request, body int, err error) {
	switch {
	case len(b) > MaxRequest:
		return r, 0, errTooLong
	case len(b) < MinRequest:
		return r, 0, fmt.Errorf("request has %d bytes, at least %d are needed", len(b), MinRequest)
	case string(b[:4]) != magic:
		return r, 0, errors.New("request does not start with " + magic)
	}
	flags := binary.BigEndian.Uint16(b[6:])
	if b[4] != wireVersion || b[5] != typeRequest || flags&^knownRequestFlags != 0 {
		return r, 0, errVersion
	}
	r.Signed, r.Introduce, r.Clock = flags&flagSignedRequest != 0, flags&flagIntroduce != 0, flags&flagClock != 0
	r.Sweep = binary.BigEndian.Uint64(b[8:])
	ms := binary.BigEndian.Uint64(b[16:])
	if ms > maxMillis {
		return r, 0, errors.New("request is from a time that can't be")
	}
	r.Time = time.UnixMilli(int64(ms)).UTC()
	r.Operator = [8]byte(b[24:])
	if a := [16]byte(b[32:]); a != ([16]byte{}) {
		r.Requester = netip.AddrFrom16(a).Unmap()
	}
	r.MAC = [6]byte(b[48:])
	r.PrefixLen, r.Copies = b[54], b[55]
	r.ReplyPort = binary.BigEndian.Uint16(b[56:])
	r.Round = binary.BigEndian.Uint16(b[58:])
	r.Seq = binary.BigEndian.Uint32(b[60:])
	r.Window = time.Duration(binary.BigEndian.Uint32(b[64:])) * time.Microsecond
	r.Sample = binary.BigEndian.Uint64(b[68:])
	r.Lo = binary.BigEndian.Uint64(b[76:])
	r.Hi = binary.BigEndian.Uint64(b[84:])
	r.Salt = binary.BigEndian.Uint64(b[92:])
	body = int(binary.BigEndian.Uint16(b[100:]))
	if flags&flagHostTags != 0 {
		if r.HostTags, err = hostTagsOf(b); err != nil {
			return r, 0, err
		}
	}
	end := len(r.signed(b))
	r.Signature = [signatureSize]byte(b[end-signatureSize : end])
	if body > len(b)-requestHeader-r.trailer() {
		return r, 0, fmt.Errorf("request's body of %d bytes does not fit", body)
	}
	return r, body, r.check()
}

// trailer is how many bytes stand behind body and padding: the signature, of a signed request the group tag, and host tags.
func (r *Request) trailer() int {
	n := signatureSize + hostTagsSize(r.HostTags)
	if r.Signed {
		n += groupTagSize
	}
	return n
}

// check refuses a header that contradicts itself.
func (r Request) check() error {
	switch {
	case r.Sweep == 0 || r.Sweep > maxSweep:
		return badSweep(r.Sweep)
	case r.Seq == 0:
		return errors.New("request has no sequence number")
	case r.Signed == (r.Operator == [8]byte{}):
		return errors.New("request must have a key and the flag that says so, or neither")
	case !r.Signed && (r.Introduce || r.Clock || r.HostTags > 0):
		return errors.New("unsigned request asks for what only operators are told")
	case r.HostTags < 0 || r.HostTags > maxHostTags:
		return fmt.Errorf("request has %d host tags", r.HostTags)
	case !r.Signed && r.Signature != [signatureSize]byte{}:
		return errors.New("unsigned request has a signature")
	case r.PrefixLen > 128 || (r.Requester.Is4() && r.PrefixLen > 32):
		return fmt.Errorf("prefix length %d is too long", r.PrefixLen)
	case r.Requester.Zone() != "" || r.Requester.Is4In6() || r.Requester.IsUnspecified():
		return fmt.Errorf("requester %v is not in its plain form", r.Requester)
	case r.Time.UnixMilli() < 0 || r.Time.UnixMilli() > maxMillis:
		return errors.New("request is from a time that can't be")
	case r.Window < 0 || r.Window/time.Microsecond > 1<<32-1:
		return fmt.Errorf("window %v is too long", r.Window)
	}
	return nil
}
