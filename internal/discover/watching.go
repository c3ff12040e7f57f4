package discover

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"rollcall/internal/census"
)

// takeWaiting takes what has come already: it must be known before it is decided who was silent.
func (w *Watch) takeWaiting() {
	const most = 64 // batches; then see what is to be sent
	for range most {
		select {
		case list := <-w.s.in:
			for _, p := range list {
				w.take(p)
			}
		default:
			return
		}
	}
}

// take looks at one datagram.
func (w *Watch) take(p packet) {
	w.stats.Replies++
	r, err := p.reply, p.err
	switch {
	case errors.Is(err, errNotIntroduced):
		w.s.introduce = true
		_, target := w.wayTo(p.from)
		w.w.Look(r.Host, target)
		return
	case errors.Is(err, errKeyChanged):
		w.distrust(KeyChange{Host: r.Host, Hostname: r.Body.Hostname, From: p.from, Now: r.HostKey})
	case err != nil:
	case r.Sweep != w.s.c.ID:
		err = errors.New("it belongs to another sweep")
	case !w.asked(r.Seq, p.at):
		err = errors.New("it answers what was not asked")
	case !p.way.asked(p.from):
		err = errors.New("that address was not asked")
	case w.s.opener != nil && r.Flags&FlagSealed == 0 && w.sealedBefore(r.Host):
		w.distrust(KeyChange{Host: r.Host, Hostname: r.Body.Hostname, From: p.from})
		err = errors.New("host has sealed its replies before and this one is open")
	case r.Flags&FlagChallenge != 0:
		w.challenged(p, r)
	default:
		w.reply(p, r)
	}
	if err != nil {
		w.stats.Wrong++
		w.c.Log.Debug("drop datagram", "from", p.from, "err", err)
	}
}

// asked reports whether the request of that number was sent, and is not too long ago.
func (w *Watch) asked(seq uint32, at time.Time) bool {
	return seq > census.UnicastSeq && seq <= w.single || w.w.Asked(seq, at.Sub(w.s.start))
}

func (w *Watch) sealedBefore(id ID) bool {
	_, sealed := w.s.opener.known(id)
	return sealed
}

// distrust tells of a host whose key is not the known one, once.
func (w *Watch) distrust(c KeyChange) {
	n := len(w.s.stats.Changed)
	if w.s.changed(c); len(w.s.stats.Changed) > n {
		w.c.Distrust(w.s.stats.Changed[n])
	}
}

// challenged takes in that a host is there whose clock differs from ours. What it says of itself is asked for only if that is
// not known.
func (w *Watch) challenged(p packet, r Reply) {
	if len(w.s.cookies) >= maxCookies {
		clear(w.s.cookies)
	}
	w.s.cookies[p.from] = r.Cookie
	h := w.hosts[r.Host]
	if h == nil || h.edition != r.Edition {
		w.errands = slices.DeleteFunc(w.errands, func(e errand) bool { return e.id == r.Host && e.page == 0 })
		w.add(errand{id: r.Host, to: p.from, way: p.way, since: p.at, after: p.at, tries: maxErrand - 3})
	}
	if h == nil {
		return
	}
	_, target := w.wayTo(h.answer.From)
	w.w.Hear(r.Host, h.edition, target, p.at.Sub(w.s.start))
	w.w.Alone(r.Host)
	if h.at = p.at; !h.told {
		w.pages(r.Host, h)
	}
}

// reply takes one page of one host.
func (w *Watch) reply(p packet, r Reply) {
	h := w.hosts[r.Host]
	if r.Page > 0 {
		if h != nil && !h.told && h.answer.From == p.from && h.edition == r.Edition && len(h.pages) == int(r.Pages) {
			w.page(h, r)
		}
		return
	}
	if h == nil && p.way.late && w.askOther(p, r.Host) {
		return
	}
	from, way, at := p.from, p.way, p.at
	if h != nil && h.way != nil && h.answer.From != p.from && !w.moved(h, p, r) {
		from, way, at = h.answer.From, h.way, h.at // it was heard by another way, and stays where it is
	}
	_, target := w.wayTo(from)
	news := w.w.Hear(r.Host, r.Edition, target, p.at.Sub(w.s.start))
	switch {
	case h != nil && !news && from != p.from:
		return
	case h != nil && !news && h.answer.From == p.from && !w.restarted(h, r):
		h.at = p.at
		if !h.told {
			w.pages(r.Host, h)
		}
		return
	case h == nil && len(w.hosts) >= allHosts:
		return
	}
	h = &watchedHost{at: at}
	h.way = way
	h.answer = Answer{From: from, Interface: way.iface.Name, After: p.at.Sub(w.s.start), Edition: r.Edition}
	h.answer.Host = w.s.host(r, from.Addr())
	h.edition, h.pages, h.left = r.Edition, make([][]Service, r.Pages), int(r.Pages)
	w.hosts[r.Host] = h
	w.page(h, r)
	w.pages(r.Host, h)
}

// moved reports whether a host that answers from another address than before is there no more: it says so itself, or nothing
// was heard from there for longer than that takes.
func (w *Watch) moved(h *watchedHost, p packet, r Reply) bool {
	return p.at.Sub(h.at) >= time.Duration(moveAfter*float64(w.cycle())) ||
		r.Edition != h.edition && !slices.Contains(r.Body.Addrs, h.answer.From.Addr().WithZone(""))
}

// askOther has a new host that was heard by IPv6 asked by IPv4 first, and reports whether it is to be left out for that: a host
// that has both is known by its IPv4 address.
func (w *Watch) askOther(p packet, id ID) bool {
	const beats, most = 4, 4096
	if first, ok := w.six[id]; ok {
		if p.at.Sub(first) < beats*cmp.Or(w.c.Beat, time.Second) {
			return true
		}
		delete(w.six, id)
		return false
	}
	i := slices.IndexFunc(w.targets, func(t watchTarget) bool { return !t.way.late && t.way.iface.Index == p.way.iface.Index })
	if i < 0 || len(w.six) >= most {
		return false
	}
	w.six[id] = p.at
	w.w.Look(id, i)
	return true
}

// cycle returns the time in which each host is asked.
func (w *Watch) cycle() time.Duration {
	if w.c.Cycle > 0 {
		return w.c.Cycle
	}
	return census.DefaultCycle
}

// restarted reports whether the host's monitor has started since the host was heard last.
func (w *Watch) restarted(h *watchedHost, r Reply) bool {
	was := h.answer.Host.Started
	return !was.IsZero() && startOf(r.Age).After(was.Add(restartSlip*time.Second))
}

// page takes the services of a page in, and tells of the host when all are here.
func (w *Watch) page(h *watchedHost, r Reply) {
	if h.pages[r.Page] != nil {
		return
	}
	h.pages[r.Page] = pageOf(r)
	if h.left--; h.left > 0 {
		return
	}
	h.join()
	w.c.Seen(h.answer)
}

// pages asks for the pages of a host that are missing.
func (w *Watch) pages(id ID, h *watchedHost) {
	for i, page := range h.pages {
		if page == nil {
			w.add(errand{id: id, to: h.answer.From, way: h.way, page: uint8(i)})
		}
	}
}
