package discover

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"rollcall/internal/census"
)

const (
	pageRetry       = 100 * time.Millisecond
	pagesAtOnce     = 4    // asked for when a page has come
	maxPageRequests = 2048 // in one sweep
)

// heard is a host that answered.
type heard struct {
	answer  Answer
	way     *way
	edition uint16
	pages   [][]Service // nil: not here yet
	left    int         // pages not here yet
	asked   int         // the pages below this were asked for
	tries   int         // since a page came
	told    bool        // found was called
}

// take looks at one datagram.
func (s *sweep) take(p packet) {
	if s.stats.Received++; p.claimed {
		defer s.census.Settle(p.claimant())
	}
	r, err := p.reply, s.sealedTrouble(p)
	switch {
	case err != nil:
	case r.Flags&FlagChallenge != 0:
		return
	case r.Sweep != s.c.ID:
		err = errors.New("it belongs to another sweep")
	case !s.census.WasSent(r.Seq):
		err = errors.New("it answers what was not asked")
	case !p.way.asked(p.from):
		err = errors.New("that address was not asked")
	default:
		err = s.reply(p, r)
	}
	if err != nil {
		s.stats.Wrong++
		s.c.Log.Debug("drop datagram", "from", p.from, "err", err)
	}
}

// reply takes one page of one host.
func (s *sweep) reply(p packet, r Reply) error {
	h := s.hosts[r.Host]
	switch {
	case h == nil && r.Page != 0:
		return errors.New("it is a page of a host that was not heard before")
	case h == nil && len(s.hosts) == allHosts:
		s.warn(fmt.Sprintf("more than %d hosts answered", allHosts))
		return errors.New("too many hosts")
	case h == nil:
		h = &heard{way: p.way}
		h.answer = Answer{From: p.from, Interface: p.way.iface.Name, Bits: p.way.bitsOf(p.from), After: p.at.Sub(s.start)}
		s.hosts[r.Host] = h
		s.hear(p, r)
		if s.partial++; s.partial == 1 {
			s.retry = p.at.Add(pageRetry)
		}
		s.begin(h, r)
	case h.told:
		return nil // the second copy, or another way to the same host
	case h.answer.From != p.from:
		if r.Page != 0 {
			return errors.New("it is a page of another host")
		}
		return nil
	case h.edition != r.Edition || len(h.pages) != int(r.Pages):
		if r.Page != 0 {
			return s.askPage(h, 0) // the host has changed: from the beginning
		}
		s.begin(h, r)
	}
	if h.pages[r.Page] == nil {
		h.pages[r.Page] = pageOf(r)
		h.left--
		h.tries = 0
	}
	if h.left == 0 {
		s.tell(h)
		return nil
	}
	if r.Page == 0 {
		return s.askNext(h, 1)
	}
	return s.askNext(h, pagesAtOnce)
}

// pageOf returns the services of a page, not nil.
func pageOf(r Reply) []Service {
	if r.Body.Services == nil {
		return []Service{}
	}
	return r.Body.Services
}

// hear has the algorithm know of a host's first reply.
func (s *sweep) hear(p packet, r Reply) {
	delete(s.awaited, p.from)
	first := r.First
	if p.way.late {
		first = 0 // it was not asked in the first rounds
	}
	resolved := r.Flags&FlagNoNeighbour != 0 && !s.machine.isOwn(p.from.Addr())
	if resolved {
		s.stats.Resolved++
	}
	s.census.Hear(census.Heard{ID: r.Host, Seq: r.Seq, First: first, Tx: r.Tx, Delay: r.Delay + s.lag(p.way, r.Seq), Resolved: resolved,
		Late: p.way.late && !s.askedEarly(r.Body.Addrs)}, p.at.Sub(s.start))
	if p.way.single[p.from] && !s.answered[p.from] {
		s.answered[p.from] = true
		if p.way.gap == 0 {
			s.census.Answered()
		}
	}
}

// askedEarly reports whether one of the addresses is in a network that is asked from the first round on.
func (s *sweep) askedEarly(addrs []netip.Addr) bool {
	return slices.ContainsFunc(s.ways, func(w *way) bool {
		return !w.late && slices.ContainsFunc(addrs, func(a netip.Addr) bool { return w.asked(netip.AddrPortFrom(a, uint16(s.c.Port))) })
	})
}

// begin notes what the first page says.
func (s *sweep) begin(h *heard, r Reply) {
	h.answer.Edition = r.Edition
	h.edition, h.pages, h.left, h.asked = r.Edition, make([][]Service, r.Pages), int(r.Pages), 1
	h.answer.Host = s.host(r, h.answer.From.Addr())
}

// host returns what the first page says of the host, without brokers that can't be meant for us.
func (s *sweep) host(r Reply, from netip.Addr) Host {
	b := r.Body
	h := Host{ID: r.Host, Hostname: b.Hostname, Addrs: b.Addrs, ExtAddr: b.ExtAddr, Model: b.Model, OS: b.OS, Arch: b.Arch,
		Version: b.Version, BootID: b.BootID, Started: startOf(r.Age), Brokers: b.Brokers,
		Open: r.Flags&FlagOpen != 0, Key: r.HostKey}
	if r.MAC != [6]byte{} {
		h.MAC = r.MAC[:]
	}
	if s.machine.isOwn(from) {
		h.LoopbackOnly = r.Flags&FlagLoopbackOnly != 0
		return h
	}
	h.Brokers = slices.DeleteFunc(slices.Clone(b.Brokers), loopbackURL)
	h.LoopbackOnly = len(h.Brokers) == 0 && (len(b.Brokers) > 0 || r.Flags&FlagLoopbackOnly != 0)
	return h
}

// startOf returns when a monitor of that age started; zero for one as old as can be said, which does not know.
func startOf(age time.Duration) time.Time {
	if age >= math.MaxUint32*time.Second {
		return time.Time{}
	}
	return time.Now().Add(-age).Truncate(time.Second)
}

// tell calls found for a host.
func (s *sweep) tell(h *heard) {
	h.join()
	s.partial--
	s.found(h.answer)
}

// join puts the services of all pages together.
func (h *heard) join() {
	size := 0
	for _, page := range h.pages {
		size += len(page)
	}
	all := slices.Grow([]Service(nil), size) // its own: the pages may be another host's too
	for _, page := range h.pages {
		for _, sv := range page {
			if !slices.ContainsFunc(all, func(o Service) bool { return o.Name == sv.Name }) {
				all = append(all, sv)
			}
		}
	}
	h.answer.Host.Services = all
	h.told, h.pages = true, nil
}

// askNext asks for up to n pages that were not asked for yet.
func (s *sweep) askNext(h *heard, n int) error {
	for ; n > 0 && h.asked < len(h.pages); n-- {
		if err := s.askPage(h, h.asked); err != nil {
			return err
		}
		h.asked++
	}
	return nil
}

// askPage asks a host for one page. A host that does not answer is soon left alone: whoever sends replies in another's name
// could have us send to him.
func (s *sweep) askPage(h *heard, page int) error {
	if s.pageRequests == maxPageRequests {
		s.warn("hosts have more pages of services than can be asked for")
		return nil
	}
	return s.askSingle(h.way, h.answer.From, page)
}

// retryPages asks again for the first pages that were asked for and did not come.
func (s *sweep) retryPages(now time.Time) {
	const maxTries = 5
	s.retry = now.Add(pageRetry)
	for _, h := range s.hosts {
		if h.told {
			continue
		}
		if h.tries++; h.tries > maxTries {
			s.give(h)
			continue
		}
		n := 0
		for page := 1; page < h.asked && n < pagesAtOnce; page++ {
			if h.pages[page] != nil {
				continue
			}
			n++
			if err := s.askPage(h, page); err != nil {
				s.warn(err.Error())
			}
		}
	}
}

// give tells of a host with the pages that came.
func (s *sweep) give(h *heard) {
	s.warn(fmt.Sprintf("host %s (%v) did not send all its services: %d of %d pages are missing", h.answer.Host.Hostname,
		h.answer.From, h.left, len(h.pages)))
	s.tell(h)
}

// flush tells of the hosts of which pages are missing at the end.
func (s *sweep) flush() {
	for _, h := range s.hosts {
		if !h.told {
			s.give(h)
		}
	}
}
