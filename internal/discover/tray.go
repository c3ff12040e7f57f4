package discover

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
)

// tray is where the bodies of replies that came together are decrypted, and what they say is put: one allocation for the texts of
// all of them, and one for the lists of each kind, made as large as the others would need if they were as long as the first. What
// is kept of one reply so keeps the texts of those that came with it. It is for one goroutine and not to be copied; the zero tray
// is for one reply.
type tray struct {
	body  []byte         // decrypted; used again for the next
	hosts []acquaintance // of the replies
	left  int            // replies that are still to come, with the one at hand

	texts    strings.Builder
	services []Service
	addrs    []netip.Addr
	brokers  []string

	sayings [maxSayings]saying
	next    int // of them, to be replaced
}

// saying is a list of services as some host said it and as it was read: hosts of one kind say the same.
type saying struct {
	list      []byte
	services  []Service // never changed
	simulated uint64
}

// maxSayings is how many lists of services are remembered. To look for one takes a thirtieth of what it takes to read it.
const maxSayings = 8

// newTray returns a tray for so many replies.
func newTray(replies int) *tray { return &tray{left: replies} }

// reuse makes it a tray for the next replies; what it holds is left to those who have it.
func (m *tray) reuse(replies int) {
	m.hosts = slices.Grow(m.hosts[:0], replies)[:replies]
	clear(m.hosts)
	m.left, m.texts, m.services, m.addrs, m.brokers = replies, strings.Builder{}, nil, nil, nil
}

// said returns the list of services that b begins with, if it is remembered.
func (m *tray) said(b []byte) *saying {
	for i := range m.sayings {
		if s := &m.sayings[i]; len(s.services) > 0 && bytes.HasPrefix(b, s.list) {
			return s
		}
	}
	return nil
}

// remember keeps the services that d has read, after they were checked.
func (m *tray) remember(d *decoder, services []Service) {
	if len(services) > 0 {
		m.sayings[m.next] = saying{bytes.Clone(d.written), services, d.simulated}
		m.next = (m.next + 1) % maxSayings
	}
}

// text returns a copy of b.
func (m *tray) text(b []byte) string {
	start := m.texts.Len()
	if len(b) > m.texts.Cap()-start {
		m.texts, start = strings.Builder{}, 0
		m.texts.Grow(len(b) * max(m.left, 1))
	}
	m.texts.Write(b)
	return m.texts.String()[start:]
}

// maxCarved is how many elements are made for more than one reply.
const maxCarved = 256

// carve returns n zero elements of free, which is made anew for so many replies if it has none left.
func carve[T any](free *[]T, n, replies int) []T {
	if n > len(*free) {
		*free = make([]T, max(n, min(n*replies, maxCarved))) // what is kept of one reply keeps all of them
	}
	out := (*free)[:n:n]
	*free = (*free)[n:]
	return out
}
