package discover

import (
	"bytes"
	"crypto/cipher"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"rollcall/reports"
)

// Detail is one thing that a datagram says.
type Detail struct {
	Name  string
	Value any // string, bool, int, uint64, float64, []string or [][]Detail
}

// Sighting is what a datagram of discovery is.
type Sighting struct {
	Form    string // request, reply, challenge, hello, bye, ticket, offer, order, batch, original or unknown
	Details []Detail
}

func (s *Sighting) add(name string, v any) { s.Details = append(s.Details, Detail{name, v}) }

// addIf adds what is not the zero value of its type.
func addIf[T comparable](s *Sighting, name string, v T) {
	if zero := *new(T); v != zero {
		s.add(name, v)
	}
}

// Spy says what datagrams are, and opens those parts that are sealed for its key. It is for one goroutine.
type Spy struct {
	key     Key // nil: none
	own     ed25519.PublicKey
	id      [8]byte
	secrets map[[ed25519.PublicKeySize]byte]Secret
	relays  map[spiedRelay][2]cipher.AEAD // of orders, of batches
	met     map[netip.AddrPort]Secret     // shared with relays whose offer was seen, in any sweep: for early orders
}

// spiedRelay names a sweep by way of a relay.
type spiedRelay struct {
	sweep uint64
	relay netip.AddrPort
}

// maxSpied is how many hosts and relays a Spy keeps keys of; when there are more it begins anew.
const maxSpied = 4096

// NewSpy returns a Spy with an operator's key, or with none.
func NewSpy(k Key) *Spy {
	s := &Spy{key: k, secrets: map[[ed25519.PublicKeySize]byte]Secret{}, relays: map[spiedRelay][2]cipher.AEAD{}, met: map[netip.AddrPort]Secret{}}
	if k != nil {
		s.own, s.id = public(k), k.ID()
	}
	return s
}

// Read says what a datagram is. It never fails: what can't be read is unknown, or says why under "error".
func (s *Spy) Read(f Frame) Sighting {
	b := f.Data
	switch {
	case isRelay(b):
		return s.relay(f)
	case len(b) > 5 && string(b[:len(magic)]) == magic && b[5] == typeRequest:
		return s.request(b)
	case len(b) > 5 && string(b[:len(magic)]) == magic && b[5] == typeReply:
		return s.reply(b)
	case len(b) > 5 && string(b[:len(magic)]) == magic && b[5] == typeHello:
		return s.hello(b)
	case bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")):
		return s.original(b)
	}
	out := Sighting{Form: "unknown"}
	out.add("begins", hex.EncodeToString(b[:min(len(b), 16)]))
	return out
}

// signature says of what use a signature is to us: only one by a key that is at hand can be checked.
func signature(good func() bool) string {
	switch {
	case good == nil:
		return "not checked"
	case good():
		return "good"
	}
	return "BAD"
}

func (s *Spy) original(b []byte) Sighting {
	out := Sighting{Form: "original"}
	q, err := reports.ParseRequest(b)
	if err != nil {
		out.add("error", err.Error())
		return out
	}
	out.add("cmd", q.Cmd)
	addIf(&out, "replyto", q.ReplyTo)
	addIf(&out, "topic", q.Topic)
	addIf(&out, "id", string(q.ID))
	return out
}

func (s *Spy) request(b []byte) Sighting {
	out := Sighting{Form: "request"}
	b, tail := cutTail(b)
	q, err := ParseRequest(b)
	if err != nil {
		out.add("error", err.Error())
		return out
	}
	out.add("sweep", q.Sweep)
	out.add("round", int(q.Round))
	out.add("seq", uint64(q.Seq))
	if q.Signed {
		s.operator(&out, q.Operator)
		var good func() bool
		if q.Operator == s.id {
			b := q.signed(b)
			good = func() bool { return tagged(b, newTagger(s.own)) && signedBy(b, s.own) }
		}
		out.add("signature", signature(good))
		addIf(&out, "host_tags", q.HostTags)
	} else {
		out.add("signature", "none")
	}
	if q.Requester.IsValid() {
		out.add("requester", q.Requester.String())
	}
	addIf(&out, "mac", macText(q.MAC))
	addIf(&out, "tail", tail)
	addIf(&out, "window_us", uint64(q.Window.Microseconds()))
	addIf(&out, "copies", int(q.Copies))
	addIf(&out, "want", q.Want)
	addIf(&out, "page", int(q.Page))
	if q.Sample != 0 {
		out.add("sample", float64(q.Sample)/(1<<64))
	}
	if q.Lo != 0 || q.Hi != 0 {
		out.add("range", fmt.Sprintf("%016x-%016x", q.Lo, q.Hi))
	}
	addIf(&out, "filter_bytes", len(q.Filter))
	addIf(&out, "changed_ms", int(q.Changed.Milliseconds()))
	addIf(&out, "names", len(q.Names))
	addIf(&out, "introduce", q.Introduce)
	addIf(&out, "clock", q.Clock)
	addIf(&out, "cookie", len(q.Cookie) > 0)
	if q.BrokerPort != 0 {
		out.add("broker_port", int(q.BrokerPort))
		out.add("topic", q.Topic)
	}
	return out
}

// operator adds who signs.
func (s *Spy) operator(out *Sighting, id [8]byte) {
	out.add("operator", hex.EncodeToString(id[:]))
	if s.key != nil && id == s.id {
		out.add("own", true)
	}
}

func macText(mac [6]byte) string {
	if mac == [6]byte{} {
		return ""
	}
	return net.HardwareAddr(mac[:]).String()
}

func (s *Spy) reply(b []byte) Sighting {
	out := Sighting{Form: "reply"}
	r, err := ParseReply(b)
	if err != nil {
		out.add("error", err.Error())
		return out
	}
	if r.Flags&FlagChallenge != 0 {
		out.Form = "challenge"
	}
	out.add("host", r.Host.String())
	out.add("sweep", r.Sweep)
	out.add("round", int(r.Round))
	out.add("seq", uint64(r.Seq))
	out.add("first", uint64(r.First))
	out.add("tx", int(r.Tx))
	if r.Pages > 1 {
		out.add("page", fmt.Sprintf("%d/%d", r.Page+1, r.Pages))
	}
	out.add("delay_us", uint64(r.Delay.Microseconds()))
	addIf(&out, "mac", macText(r.MAC))
	addIf(&out, "arp", r.Flags&FlagNoNeighbour != 0)
	addIf(&out, "open", r.Flags&FlagOpen != 0)
	if r.Flags&FlagSealed != 0 && !s.open(&out, b, &r) {
		return out
	}
	if r.Flags&FlagChallenge == 0 {
		s.body(&out, r.Body, r.Page)
	}
	return out
}

// body adds what a host says of itself.
func (s *Spy) body(out *Sighting, b ReplyBody, page uint8) {
	if page == 0 {
		out.add("hostname", b.Hostname)
		var addrs []string
		for _, a := range b.Addrs {
			addrs = append(addrs, a.String())
		}
		out.add("addresses", addrs)
		for _, d := range []Detail{{"extaddr", b.ExtAddr}, {"model", b.Model}, {"os", b.OS}, {"arch", b.Arch}, {"version", b.Version}} {
			if d.Value != "" {
				out.Details = append(out.Details, d)
			}
		}
		out.add("brokers", b.Brokers)
	}
	var services []string
	for _, v := range b.Services {
		services = append(services, strings.TrimSpace(v.Name+" "+string(v.Status)))
	}
	out.add("services", services)
}

// secret returns what this key shares with a host.
func (s *Spy) secret(host ed25519.PublicKey) (Secret, error) {
	if s.key == nil {
		return Secret{}, errors.New("no key")
	}
	at := [ed25519.PublicKeySize]byte(host)
	if secret, ok := s.secrets[at]; ok {
		return secret, nil
	}
	secret, err := share(s.key, host, s.own, host)
	if err != nil {
		return Secret{}, err
	}
	if len(s.secrets) >= maxSpied {
		clear(s.secrets)
	}
	s.secrets[at] = secret
	return secret, nil
}

// open opens a sealed reply, if it is for this key, and says so.
func (s *Spy) open(out *Sighting, b []byte, r *Reply) bool {
	key, err := r.sealedKey()
	if err != nil {
		out.add("error", err.Error())
		return false
	}
	out.add("host_key", hex.EncodeToString(r.Key[:]))
	if r.Flags&FlagSigned != 0 {
		out.add("signature", signature(func() bool { return r.verify(b, key) == nil }))
	}
	secret, err := s.secret(key)
	var box cipher.AEAD
	if err == nil {
		box, err = seal(secret, r.Sweep)
	}
	if err == nil {
		err = r.openBox(b, box, newTray(1))
	}
	if err != nil {
		out.add("sealed", "for another key")
		return false
	}
	out.add("sealed", "opened")
	return true
}

func (s *Spy) hello(b []byte) Sighting {
	out := Sighting{Form: "hello"}
	h, err := ParseHello(b)
	if err != nil && !errors.Is(err, errSignature) {
		out.add("error", err.Error())
		return out
	}
	if err != nil {
		out.add("signature", "BAD")
		return out
	}
	if h.Bye {
		out.Form = "bye"
	}
	out.add("host", h.Host.String())
	out.add("seq", uint64(h.Seq))
	out.add("age_s", uint64(h.Age.Seconds()))
	out.add("edition", int(h.Edition))
	addIf(&out, "mac", macText(h.MAC))
	addIf(&out, "open", h.Open)
	if h.Key != nil {
		out.add("signature", "good")
	} else {
		out.add("signature", "none")
	}
	return out
}
