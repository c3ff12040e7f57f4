package discover

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// Host tags stand behind the signature of a request, one for each host that the operator knows: the beginning of a keyed hash of all
// that is before them, under the secret that the two share. A host that finds its own knows who asks, as the signature would tell it,
// for a fiftieth of the time. They are followed by their number and by a part of their hash, so that what was damaged on the way is
// not answered.
const (
	hostTagSize  = 8
	hostTagCheck = 6
	hostTagEnd   = 2 + hostTagCheck // behind the tags
	maxHostTags  = 128
)

// errHostTags is for a request whose host tags are not as they were sent.
var errHostTags = errors.New("request's host tags are damaged")

// hostTagsSize returns how many bytes so many tags take.
func hostTagsSize(n int) int {
	if n == 0 {
		return 0
	}
	return n*hostTagSize + hostTagEnd
}

// hostTag returns the tag of a request with this hash.
func (s *Secret) hostTag(request *[sha256.Size]byte) [hostTagSize]byte {
	const label = "rollcall RCL1 request"
	var text [len(label) + sha256.Size]byte
	copy(text[:], label)
	copy(text[len(label):], request[:])
	sum := mac256(s[:], text[:])
	return [hostTagSize]byte(sum[:])
}

// addHostTags writes the tags of the hosts of these secrets to the end of a signed request, which has room for them there.
func addHostTags(b []byte, hosts []Secret) {
	if len(hosts) == 0 {
		return
	}
	end := len(b) - hostTagsSize(len(hosts))
	request := sha256.Sum256(b[:end])
	list := b[:end]
	for i := range hosts {
		tag := hosts[i].hostTag(&request)
		list = append(list, tag[:]...)
	}
	list = binary.BigEndian.AppendUint16(list, uint16(len(hosts)))
	sum := sha256.Sum256(list[end:])
	copy(b[len(list):], sum[:hostTagCheck])
}

// hostTagsOf returns how many host tags end the datagram of a request, if that can be.
func hostTagsOf(b []byte) (int, error) {
	n := int(binary.BigEndian.Uint16(b[len(b)-hostTagEnd:]))
	if n == 0 || hostTagsSize(n) > len(b)-requestHeader-groupTagSize-signatureSize {
		return 0, errHostTags
	}
	return n, nil
}

// checkHostTags refuses a request of which the host tags are not as they were sent.
func (r *Request) checkHostTags(b []byte) error {
	if r.HostTags == 0 {
		return nil
	}
	end := len(b) - hostTagCheck
	if sum := sha256.Sum256(b[len(r.signed(b)):end]); string(sum[:hostTagCheck]) != string(b[end:]) {
		return errHostTags
	}
	return nil
}

// signed returns that part of the request's datagram that ends with its signature.
func (r *Request) signed(b []byte) []byte { return b[:len(b)-hostTagsSize(r.HostTags)] }

// addressed reports whether one of the request's host tags was made by the operator for this host. It is false before the host has
// computed what it shares with the operator, which it does for its first reply.
func (o *operator) addressed(r *Request, b []byte) bool {
	if o.secret == nil || r.HostTags == 0 {
		return false
	}
	signed := r.signed(b)
	request := sha256.Sum256(signed)
	want := o.secret.hostTag(&request)
	for list := b[len(signed):]; len(list) > hostTagEnd; list = list[hostTagSize:] {
		if hmac.Equal(list[:hostTagSize], want[:]) {
			return true
		}
	}
	return false
}
