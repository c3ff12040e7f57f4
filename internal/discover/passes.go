package discover

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"rollcall/reports"
)

// Passes makes and checks the notes by which a host's monitor tells the host's services, over a broker that others may
// publish to as well, that a request was checked and what endpoint it means. The key is shared through a file in the state
// directory. It is safe for concurrent use.
type Passes struct{ key []byte }

const (
	passVersion = 1
	passHead    = 1 + 8 + 1 + 16 + 2 // version, time in ms, TLS, address, port
	passAge     = time.Minute
	passAhead   = 5 * time.Second // a clock may be set back a little between two readings
	passKeySize = 32
)

// LoadPasses reads the key from the file report.key in stateDir, or makes it (mode 0640).
func LoadPasses(stateDir string) (*Passes, error) {
	key, err := secret(stateDir, "report.key", passKeySize, 0o640)
	if err != nil {
		return nil, err
	}
	return &Passes{key: key}, nil
}

// Issue returns the note for the request.
func (p *Passes) Issue(r reports.Request, e Endpoint, now time.Time) string {
	head := make([]byte, 0, passHead+sha256.Size)
	head = append(head, passVersion)
	head = binary.BigEndian.AppendUint64(head, uint64(now.UnixMilli()))
	tls := byte(0)
	if e.TLS {
		tls = 1
	}
	head = append(head, tls)
	addr := e.Addr.Addr().As16()
	head = append(head, addr[:]...)
	head = binary.BigEndian.AppendUint16(head, e.Addr.Port())
	return base64.RawURLEncoding.EncodeToString(append(head, p.mac(head, r)...))
}

// Open checks r.Pass, that it belongs to this very request (cmd, replyto, topic, id, seq) and is younger than a minute, and
// returns the endpoint.
func (p *Passes) Open(r reports.Request, now time.Time) (Endpoint, error) {
	const size = passHead + sha256.Size
	if r.Pass == "" {
		return Endpoint{}, errors.New("request has no pass: no monitor of this host has checked it")
	}
	if len(r.Pass) != base64.RawURLEncoding.EncodedLen(size) {
		return Endpoint{}, errors.New("pass has the wrong length")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(r.Pass)
	if err != nil || len(b) != size {
		return Endpoint{}, errors.New("pass can't be decoded")
	}
	head := b[:passHead]
	if !hmac.Equal(b[passHead:], p.mac(head, r)) || head[0] != passVersion {
		return Endpoint{}, errors.New("pass does not belong to this request, or was made with another key")
	}
	age := now.Sub(time.UnixMilli(int64(binary.BigEndian.Uint64(head[1:]))))
	if age > passAge || age < -passAhead {
		return Endpoint{}, fmt.Errorf("pass is %v old, at most %v is allowed", age.Round(time.Second), passAge)
	}
	addr := netip.AddrFrom16([16]byte(head[10:])).Unmap()
	return Endpoint{Addr: netip.AddrPortFrom(addr, binary.BigEndian.Uint16(head[26:])), TLS: head[9] == 1}, nil
}

// mac authenticates head and the fields of the request that the pass is for, each with its length before it.
func (p *Passes) mac(head []byte, r reports.Request) []byte {
	h := hmac.New(sha256.New, p.key)
	for _, field := range []string{"rollcall pass", string(head), r.Cmd, r.ReplyTo, r.Topic, string(r.ID), string(r.Seq)} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(field))))
		h.Write([]byte(field))
	}
	return h.Sum(nil)
}
