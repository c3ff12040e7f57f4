package discover

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/fxamacker/cbor/v2"

	"rollcall/reports"
)

// Bounds of what a reply may say. The first page of a host at all of them still fits a datagram.
const (
	maxAddrs   = 8
	maxBrokers = 4
	maxBroker  = 96 // bytes of a broker's URL
	maxText    = 48 // bytes of a model, system, architecture, version or boot id
	maxPerPage = 64 // services
	maxPoints  = 1 << 20
)

// requestBody is the body of a request as it is encoded.
type requestBody struct {
	Filter       []byte `cbor:"1,keyasint,omitempty"`
	FilterHashes uint8  `cbor:"2,keyasint,omitempty"`
	Want         string `cbor:"3,keyasint,omitempty"`
	BrokerPort   uint16 `cbor:"4,keyasint,omitempty"`
	Topic        string `cbor:"5,keyasint,omitempty"`
	Page         uint8  `cbor:"6,keyasint,omitempty"`
	Cookie       []byte `cbor:"7,keyasint,omitempty"`
	Changed      uint32 `cbor:"8,keyasint,omitempty"`
	Names        []byte `cbor:"9,keyasint,omitempty"`
}

// ReplyBody is what a host says of itself; pages after the first carry services only.
type ReplyBody struct {
	Hostname string
	Addrs    []netip.Addr
	ExtAddr  string
	Model    string
	OS       string
	Arch     string
	Version  string
	BootID   string
	Brokers  []string
	Services []Service
}

// replyBody is a ReplyBody as it is encoded.
type replyBody struct {
	Hostname string         `cbor:"1,keyasint,omitempty"`
	Addrs    [][]byte       `cbor:"2,keyasint,omitempty"`
	ExtAddr  string         `cbor:"3,keyasint,omitempty"`
	Model    string         `cbor:"4,keyasint,omitempty"`
	OS       string         `cbor:"5,keyasint,omitempty"`
	Arch     string         `cbor:"6,keyasint,omitempty"`
	Version  string         `cbor:"7,keyasint,omitempty"`
	BootID   string         `cbor:"8,keyasint,omitempty"`
	Brokers  []string       `cbor:"9,keyasint,omitempty"`
	Services []replyService `cbor:"10,keyasint,omitempty"`
	// Simulated has bit i set where service i of this page is. It is a key of its own because a list with one element more could
	// not be read by who knows the shorter one.
	Simulated uint64 `cbor:"11,keyasint,omitempty"`
}

// replyService is a Service as it is encoded: a list, without keys.
type replyService struct {
	_        struct{} `cbor:",toarray"`
	Name     string
	Function string // "" when it is the name
	Status   uint8  // index in statuses
	Points   uint32
	Digest   []byte // empty or 8 bytes
}

// statuses are the states of a service by their number on the wire.
var statuses = [...]reports.Status{reports.Unknown, reports.Online, reports.Offline}

// encoding writes bodies; strict reads those of requests. They are never changed.
var (
	encoding = must(cbor.CoreDetEncOptions().EncMode())
	strict   = must(decodeOptions(cbor.ExtraDecErrorUnknownField).DecMode())
)

func decodeOptions(extra cbor.ExtraDecErrorCond) cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		UTF8:              cbor.UTF8RejectInvalid,
		MaxNestedLevels:   maxNested,
		MaxArrayElements:  maxPerPage,
		MaxMapPairs:       maxPairs,
		ExtraReturnErrors: extra,
	}
}

// must is for options that are constants: that they are accepted is tested by the package being there at all.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (r Request) marshalBody() ([]byte, error) {
	if err := r.checkBody(); err != nil {
		return nil, err
	}
	return encoding.Marshal(requestBody{r.Filter, r.FilterHashes, r.Want, r.BrokerPort, r.Topic, r.Page, r.Cookie,
		uint32(r.Changed / time.Millisecond), joinNames(r.Names)})
}

// parseBody reads the body of size bytes that stands in the request b, and checks the padding behind it.
func (r *Request) parseBody(b []byte, size int) error {
	end := requestHeader + size
	if p := b[end : len(b)-r.trailer()]; len(p) > 0 && (p[0] != 0 || !bytes.Equal(p[1:], p[:len(p)-1])) { // each is like the one before
		return errors.New("request's padding is not zero")
	}
	if err := r.checkHostTags(b); err != nil {
		return err
	}
	var body requestBody
	if err := decode(strict, b[requestHeader:end], &body); err != nil {
		return err
	}
	r.Filter, r.FilterHashes, r.Want = body.Filter, body.FilterHashes, body.Want
	r.BrokerPort, r.Topic, r.Page, r.Cookie = body.BrokerPort, body.Topic, body.Page, body.Cookie
	r.Changed = time.Duration(body.Changed) * time.Millisecond
	var err error
	if r.Names, err = splitNames(body.Names); err != nil {
		return err
	}
	return r.checkBody()
}

// decode reads one CBOR map.
func decode(mode cbor.DecMode, b []byte, to any) error {
	const majorMap = 5
	if len(b) == 0 || b[0]>>5 != majorMap {
		return errors.New("body is not a CBOR map")
	}
	if err := mode.Unmarshal(b, to); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	return nil
}

func (r *Request) checkBody() error {
	if (len(r.Filter) == 0) != (r.FilterHashes == 0) {
		return errors.New("filter and its number of hashes go together")
	}
	if err := ValidSelector(r.Want); err != nil {
		return err
	}
	if len(r.Cookie) != 0 && (len(r.Cookie) != cookieSize || !r.Signed) {
		return errors.New("cookie is broken")
	}
	if err := r.checkWatch(); err != nil {
		return err
	}
	if r.Page >= maxPages {
		return fmt.Errorf("page %d is beyond the last possible, %d", r.Page, maxPages-1)
	}
	if (r.BrokerPort == 0) != (r.Topic == "") {
		return errors.New("broker port and topic go together")
	}
	if r.Topic != "" {
		return reports.ValidTopic(r.Topic)
	}
	return nil
}

// marshal encodes the body; pages after the first have no host.
func (b ReplyBody) marshal(page uint8) ([]byte, error) {
	if err := b.check(page); err != nil {
		return nil, err
	}
	out := replyBody{Hostname: b.Hostname, ExtAddr: b.ExtAddr, Model: b.Model, OS: b.OS, Arch: b.Arch, Version: b.Version,
		BootID: b.BootID, Brokers: b.Brokers}
	for _, a := range b.Addrs {
		out.Addrs = append(out.Addrs, a.AsSlice())
	}
	for i, s := range b.Services {
		out.Services = append(out.Services, encodeService(s))
		if s.Simulated {
			out.Simulated |= 1 << i
		}
	}
	return encoding.Marshal(out)
}

func encodeService(s Service) replyService {
	out := replyService{Name: s.Name, Function: s.Function, Points: uint32(s.Points), Digest: []byte{}}
	if s.Function == s.Name {
		out.Function = ""
	}
	for i, v := range statuses {
		if v == s.Status {
			out.Status = uint8(i)
		}
	}
	if s.Digest != [8]byte{} {
		out.Digest = s.Digest[:]
	}
	return out
}

// unmarshal reads a body. What it says is on m; its Services may be another's too, and are not to be changed.
func (b *ReplyBody) unmarshal(raw []byte, page uint8, m *tray) error {
	d := decoder{raw: raw, text: m.text(raw), tray: m}
	if err := d.body(b); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if err := b.checkHost(page); err != nil || d.same != nil {
		return err
	}
	if err := b.checkServices(); err != nil {
		return err
	}
	m.remember(&d, b.Services)
	return nil
}

// check refuses what a program or a terminal should never be shown.
func (b *ReplyBody) check(page uint8) error {
	if err := b.checkHost(page); err != nil {
		return err
	}
	return b.checkServices()
}

// checkHost is check for all but what is in Services.
func (b *ReplyBody) checkHost(page uint8) error {
	if page > 0 && (b.Hostname != "" || len(b.Addrs)+len(b.Brokers) > 0 || b.ExtAddr+b.Model+b.OS+b.Arch+b.Version+b.BootID != "") {
		return errors.New("a page after the first tells of services only")
	}
	if page == 0 {
		if err := reports.ValidName(b.Hostname); err != nil {
			return err
		}
	}
	if len(b.Addrs) > maxAddrs || len(b.Brokers) > maxBrokers || len(b.Services) > maxPerPage {
		return fmt.Errorf("%d addresses, %d brokers and %d services are too many", len(b.Addrs), len(b.Brokers), len(b.Services))
	}
	if b.ExtAddr != "" {
		if a, err := netip.ParseAddr(b.ExtAddr); err != nil || a.Zone() != "" {
			return fmt.Errorf("public address %.48q is none", b.ExtAddr)
		}
	}
	for _, s := range []string{b.Model, b.OS, b.Arch, b.Version, b.BootID} {
		if !showable(s) {
			return fmt.Errorf("text %.48q is too long or can't be shown", s)
		}
	}
	for _, u := range b.Brokers {
		if _, err := brokerHost(u); err != nil {
			return err
		}
	}
	return nil
}

func (b *ReplyBody) checkServices() error {
	for i := range b.Services {
		if err := b.Services[i].check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) check() error {
	if err := reports.ValidName(s.Name); err != nil {
		return err
	}
	if s.Function != s.Name {
		if err := reports.ValidName(s.Function); err != nil {
			return err
		}
	}
	if s.Points < 0 || s.Points > maxPoints {
		return fmt.Errorf("service %s has %d points", s.Name, s.Points)
	}
	return nil
}
