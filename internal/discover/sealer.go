package discover

import (
	"crypto/cipher"
	"crypto/ed25519"
)

// Sealer seals the replies of one host to one operator, for who speaks for many hosts: the simulated fleet. A Responder does it by
// itself. It is safe for concurrent use.
type Sealer struct {
	host   Key
	own    ed25519.PublicKey
	secret Secret
}

// NewSealer computes the secret of host and operator. The error is for an operator's key that is none.
func NewSealer(host Key, operator ed25519.PublicKey) (*Sealer, error) {
	own := public(host)
	secret, err := share(host, operator, operator, own)
	if err != nil {
		return nil, err
	}
	return &Sealer{host, own, secret}, nil
}

// Box returns what Seal needs for the replies of one sweep.
func (s *Sealer) Box(sweep uint64) (cipher.AEAD, error) {
	return seal(s.secret, sweep)
}

// Size returns how many bytes a reply that has so many open may have sealed.
func (s *Sealer) Size(open int) int { return min(open+sealOverhead+signatureSize, maxReply) }

// Seal writes a reply, as Card.Reply has made it, sealed over dst and returns it; introduce has the host sign it too, for a
// requester that may not know its key.
func (s *Sealer) Seal(dst, reply []byte, box cipher.AEAD, introduce bool) ([]byte, error) {
	var private ed25519.PrivateKey
	if introduce {
		private = s.host.Private()
	}
	return sealInto(dst, reply, box, s.own, s.host.ID(), private)
}

// ParseSigned reads a request as a host does that obeys this operator alone: errSignature if its group tag or its signature are
// not his. Its time is not looked at.
func ParseSigned(b []byte, operator ed25519.PublicKey) (Request, error) {
	b, _ = cutTail(b)
	q, err := ParseRequest(b)
	if err != nil {
		return Request{}, err
	}
	if b = q.signed(b); !q.Signed || !tagged(b, newTagger(operator)) || !signedBy(b, operator) {
		return Request{}, errSignature
	}
	return q, nil
}
