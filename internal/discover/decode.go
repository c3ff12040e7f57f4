package discover

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"unicode/utf8"
)

// Kinds of CBOR items, which stand in the upper three bits of their first byte (RFC 8949 §3.1).
const (
	cborNumber = iota
	cborNegative
	cborBytes
	cborText
	cborList
	cborMap
	cborTag
	cborSimple
)

// Bounds of what is decoded.
const (
	maxPairs  = 16 // of a map
	maxNested = 4
)

// errCut is for a body that ends before it should.
var errCut = errors.New("body is cut off")

// decoder reads the body of a reply: ten thousand of them come in a sweep, so what it makes is put on a tray, and a list of services
// that another host has said is not read again. It takes definite lengths, no tags, no key twice and valid UTF-8 only, and follows
// no length before it has seen that there is as much.
type decoder struct {
	raw  []byte
	text string // raw again, for the texts to be parts of
	at   int
	tray *tray

	written   []byte  // the services, as they stand there
	simulated uint64  // which of them are, see replyBody
	same      *saying // by whom the services were said before; nil: by nobody
}

// body reads a whole body.
func (d *decoder) body(b *ReplyBody) error {
	*b = ReplyBody{}
	pairs, err := d.expect(cborMap, "a map")
	switch {
	case err != nil:
		return err
	case pairs > maxPairs:
		return fmt.Errorf("%d keys are too many", pairs)
	}
	var seen [maxPairs]uint64
	last := uint64(0) // nearly all write their keys in order, as they should
	for i := range pairs {
		key, err := d.expect(cborNumber, "a whole number for a key")
		if err != nil {
			return err
		}
		switch {
		case key > math.MaxInt64: // as other decoders have it
			return fmt.Errorf("key %d is too large", key)
		case key <= last && slices.Contains(seen[:i], key):
			return fmt.Errorf("key %d stands there twice", key)
		}
		seen[i], last = key, max(key, last)
		if key == 11 {
			d.simulated, err = d.expect(cborNumber, "a number")
		} else {
			err = d.value(b, key)
		}
		if err != nil {
			return fmt.Errorf("key %d: %w", key, err)
		}
	}
	if d.at != len(d.raw) {
		return fmt.Errorf("%d bytes stand behind the map", len(d.raw)-d.at)
	}
	if d.same != nil && d.same.simulated == d.simulated {
		return nil
	}
	if d.same != nil {
		b.Services = slices.Clone(b.Services)
	}
	for i := range b.Services {
		b.Services[i].Simulated = d.simulated>>i&1 == 1
	}
	return nil
}

// value reads what stands behind a key.
func (d *decoder) value(b *ReplyBody, key uint64) (err error) {
	switch key {
	case 1:
		b.Hostname, err = d.string()
	case 2:
		err = d.addrs(b)
	case 3:
		b.ExtAddr, err = d.string()
	case 4:
		b.Model, err = d.string()
	case 5:
		b.OS, err = d.string()
	case 6:
		b.Arch, err = d.string()
	case 7:
		b.Version, err = d.string()
	case 8:
		b.BootID, err = d.string()
	case 9:
		err = d.brokers(b)
	case 10:
		err = d.services(b)
	default:
		err = d.skip(maxNested - 1)
	}
	return err
}

func (d *decoder) addrs(b *ReplyBody) error {
	n, err := d.list(maxAddrs)
	if err != nil {
		return err
	}
	b.Addrs = carve(&d.tray.addrs, n, d.tray.left)
	for i := range b.Addrs {
		raw, err := d.bytes(cborBytes, "bytes")
		if err != nil {
			return err
		}
		a, ok := netip.AddrFromSlice(raw)
		if !ok || a.Is4In6() {
			return fmt.Errorf("address of %d bytes", len(raw))
		}
		b.Addrs[i] = a
	}
	return nil
}

func (d *decoder) brokers(b *ReplyBody) error {
	n, err := d.list(maxBrokers)
	if err != nil {
		return err
	}
	b.Brokers = carve(&d.tray.brokers, n, d.tray.left)
	for i := range b.Brokers {
		if b.Brokers[i], err = d.string(); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) services(b *ReplyBody) error {
	if d.same = d.tray.said(d.raw[d.at:]); d.same != nil {
		b.Services = d.same.services
		d.at += len(d.same.list)
		return nil
	}
	start := d.at
	n, err := d.list(maxPerPage)
	if err != nil {
		return err
	}
	b.Services = carve(&d.tray.services, n, d.tray.left)
	for i := range b.Services {
		if err := d.service(&b.Services[i]); err != nil {
			return err
		}
	}
	d.written = d.raw[start:d.at]
	return nil
}

func (d *decoder) service(s *Service) error {
	const fields = 5
	n, err := d.expect(cborList, "a list")
	if err == nil && n != fields {
		err = fmt.Errorf("service of %d fields", n)
	}
	if err != nil {
		return err
	}
	if s.Name, err = d.string(); err != nil {
		return err
	}
	if s.Function, err = d.string(); err != nil {
		return err
	}
	if s.Function == "" {
		s.Function = s.Name
	}
	status, err := d.expect(cborNumber, "a number")
	if err != nil {
		return err
	}
	points, err := d.expect(cborNumber, "a number")
	if err != nil {
		return err
	}
	digest, err := d.bytes(cborBytes, "bytes")
	switch {
	case err != nil:
		return err
	case status >= uint64(len(statuses)):
		return fmt.Errorf("service status %d is not known", status)
	case points > maxPoints:
		return fmt.Errorf("service %.64q has %d points", s.Name, points)
	case len(digest) != 0 && len(digest) != len(s.Digest):
		return fmt.Errorf("digest of %d bytes", len(digest))
	}
	s.Status, s.Points = statuses[status], int(points)
	copy(s.Digest[:], digest)
	return nil
}

// list reads the head of a list of at most most elements.
func (d *decoder) list(most uint64) (int, error) {
	n, err := d.expect(cborList, "a list")
	if err == nil && n > most {
		err = fmt.Errorf("%d elements are too many", n)
	}
	return int(min(n, most)), err
}

func (d *decoder) string() (string, error) {
	if d.at < len(d.raw) {
		// Short ones, as nearly all are, without another call: below their kind the difference wraps to more than 24.
		start, n := d.at+1, d.raw[d.at]-cborText<<5
		if n == 24 && start < len(d.raw) { // the length is the next byte
			n = d.raw[start]
			start++
		} else if n > 23 {
			n = 255
		}
		if n < 255 && int(n) <= len(d.raw)-start {
			d.at = start + int(n)
			return d.text[start:d.at], nil
		}
	}
	b, err := d.bytes(cborText, "a text")
	if err != nil {
		return "", err
	}
	return d.text[d.at-len(b) : d.at], nil
}

// bytes reads a text or a string of bytes, which is a part of the body. Whether it is UTF-8 is for ReplyBody.check to see.
func (d *decoder) bytes(kind byte, what string) ([]byte, error) {
	n, err := d.expect(kind, what)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(d.raw)-d.at) {
		return nil, errCut
	}
	b := d.raw[d.at : d.at+int(n)]
	d.at += int(n)
	return b, nil
}

// expect reads the head of an item that must be of the kind, what in words.
func (d *decoder) expect(kind byte, what string) (uint64, error) {
	if d.at < len(d.raw) {
		if first := d.raw[d.at]; first>>5 == kind && first&0x1f < 24 { // nearly all are that short
			d.at++
			return uint64(first & 0x1f), nil
		}
	}
	got, n, err := d.head()
	if err == nil && got != kind {
		err = fmt.Errorf("there is something else where %s belongs", what)
	}
	return n, err
}

// head reads the head of an item: its kind, and its value or length.
func (d *decoder) head() (kind byte, n uint64, err error) {
	if d.at >= len(d.raw) {
		return 0, 0, errCut
	}
	first := d.raw[d.at]
	d.at++
	kind, n = first>>5, uint64(first&0x1f)
	if n < 24 {
		return kind, n, nil
	}
	if n > 27 {
		return kind, 0, errors.New("length is not definite")
	}
	size := 1 << (n - 24)
	if size > len(d.raw)-d.at {
		return kind, 0, errCut
	}
	n = 0
	for _, c := range d.raw[d.at : d.at+size] {
		n = n<<8 | uint64(c)
	}
	d.at += size
	return kind, n, nil
}

// skip passes over an item that may hold others, so deep.
func (d *decoder) skip(deep int) error {
	start := d.at
	kind, n, err := d.head()
	if err != nil {
		return err
	}
	switch kind {
	case cborBytes, cborText:
		if n > uint64(len(d.raw)-d.at) {
			return errCut
		}
		d.at += int(n)
		if kind == cborText && !utf8.Valid(d.raw[d.at-int(n):d.at]) {
			return errors.New("text is not UTF-8")
		}
	case cborTag:
		return errors.New("it has a tag")
	case cborSimple:
		if size := d.at - start; size == 2 && n < 32 {
			return errors.New("it is no simple value") // RFC 8949 §3.3
		}
	case cborMap, cborList:
		most := uint64(maxPerPage)
		if kind == cborMap {
			most = maxPairs
		}
		if deep == 0 || n > most {
			return errors.New("it holds too much")
		}
		if kind == cborMap {
			n *= 2
		}
		for range min(n, math.MaxInt32) {
			if err := d.skip(deep - 1); err != nil {
				return err
			}
		}
	}
	return nil
}
