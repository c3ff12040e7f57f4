package discover

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// pages is what a host says of itself, encoded as replies that lack only the fields that Reply.patch writes.
type pages struct {
	id      ID
	name    string // as it stands in topics
	labels  labels // for selectors
	mac     [6]byte
	started time.Time
	edition uint16
	changed time.Time // when the host became what it is
	boot    [16]byte
	data    [][]byte
}

// encodePages encodes the host. The error names what had to be left out, and is returned beside the pages; only a host without
// a valid name or id has no pages at all.
func encodePages(h Host, edition uint16) (*pages, error) {
	body, err := bodyOf(h)
	first := Reply{Flags: flagsOf(h), Host: h.ID, Sweep: 1, Pages: 1, Edition: edition, Body: body}
	first.Body.Services = nil
	raw, merr := first.Marshal()
	if merr != nil {
		return nil, merr
	}
	reserve := 0
	if !h.Open {
		reserve = sealOverhead + signatureSize
	}
	lists, left := split(body.Services, maxReply-len(raw)-reserve, maxReply-replyHeader-reserve)
	if left > 0 {
		err = errors.Join(err, fmt.Errorf("%d services do not fit the %d pages that there may be", left, maxPages))
	}
	p := &pages{id: h.ID, name: h.Hostname, labels: labelsOf(h), started: h.Started, edition: edition, boot: bootID(h.BootID)}
	copy(p.mac[:], h.MAC)
	for i, list := range lists {
		r := first
		r.Page, r.Pages = uint8(i), uint8(len(lists))
		if i > 0 {
			r.Body = ReplyBody{}
		}
		r.Body.Services = list
		raw, merr := r.Marshal()
		if merr != nil {
			return nil, merr
		}
		p.data = append(p.data, raw)
	}
	return p, err
}

// same reports whether the pages are those of old, which may be nil.
func (p *pages) same(old *pages) bool {
	return old != nil && slices.EqualFunc(p.data, old.data, bytes.Equal)
}

// split spreads services over pages, of which the first has room for so many bytes and the others for rest.
func split(services []Service, room, rest int) (lists [][]Service, left int) {
	const listHead, simulated = 1 + 2, 1 + 9 // a key and the head of the list; a key and the number behind it
	room -= listHead + simulated
	rest -= listHead + simulated + 1 // the head of the map
	var list []Service
	for i, s := range services {
		raw, err := encoding.Marshal(encodeService(s))
		if err != nil {
			left++ // not to be thought of: it is a list of words and numbers
			continue
		}
		if len(raw) > room || len(list) == maxPerPage {
			if len(lists) == maxPages-1 {
				return append(lists, list), left + len(services) - i
			}
			lists, list, room = append(lists, list), nil, rest
		}
		list = append(list, s)
		room -= len(raw)
	}
	return append(lists, list), left
}

func flagsOf(h Host) ReplyFlags {
	f := ReplyFlags(0)
	if h.Open {
		f |= FlagOpen
	}
	if h.LoopbackOnly || allLoopback(h.Brokers) {
		f |= FlagLoopbackOnly
	}
	return f
}

// bodyOf returns the part of h that may stand in a reply, and an error that names the rest.
func bodyOf(h Host) (ReplyBody, error) {
	var errs []error
	b := ReplyBody{Hostname: h.Hostname, Model: clean(h.Model), OS: clean(h.OS), Arch: clean(h.Arch), Version: clean(h.Version),
		BootID: clean(h.BootID)}
	if a, err := netip.ParseAddr(h.ExtAddr); err == nil && a.Zone() == "" {
		b.ExtAddr = a.Unmap().String()
	} else if h.ExtAddr != "" {
		errs = append(errs, fmt.Errorf("public address %q is none", h.ExtAddr))
	}
	for _, a := range h.Addrs {
		if a = a.Unmap().WithZone(""); a.IsValid() && len(b.Addrs) < maxAddrs {
			b.Addrs = append(b.Addrs, a)
		}
	}
	for _, u := range h.Brokers {
		if _, err := brokerHost(u); err != nil {
			errs = append(errs, err)
		} else if len(b.Brokers) < maxBrokers {
			b.Brokers = append(b.Brokers, u)
		}
	}
	for _, s := range h.Services {
		if err := s.check(); err != nil {
			errs = append(errs, err)
			continue
		}
		b.Services = append(b.Services, s)
	}
	return b, errors.Join(errs...)
}
