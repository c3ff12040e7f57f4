package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"rollcall/reports"
)

// missesUntilLost is how many sweeps in a row a host or service may miss before it counts as lost.
const missesUntilLost = 3

// maxWarnings bounds the different warnings of one watch.
const maxWarnings = 100

// event is a change that watch saw.
type event struct {
	Event string        `json:"event"` // join, change, restart or loss
	Time  time.Time     `json:"time"`
	Host  reports.Found `json:"host"` // as it is now; for a loss, as it was
	rows  []markedRow
	host  *host
}

func eventOf(what string, h *host, rows []markedRow) event {
	return event{Event: what, Host: h.public(), rows: rows, host: h}
}

// markedRow is a service with what became of it: + new, ~ changed, - gone.
type markedRow struct {
	mark    string
	service reports.FoundService
}

// watched is a host that watch knows.
type watched struct {
	*host
	missed  int            // sweeps in a row without it
	without map[string]int // the same for each service
}

// watcher tells what changes from sweep to sweep.
type watcher struct{ hosts []*watched }

// update compares a sweep, its hosts sorted, with what is known and returns the changes.
func (w *watcher) update(hosts []*host) (events []event) {
	seen := map[*watched]bool{}
	for _, h := range hosts {
		old := w.find(h, seen)
		if old == nil {
			old = &watched{host: h, without: map[string]int{}}
			w.hosts = append(w.hosts, old)
			events = append(events, eventOf("join", h, marked("+", h.Services)))
		} else {
			restarted, rows := old.restarted(h), old.merge(h)
			if restarted {
				events = append(events, eventOf("restart", old.host, marked("~", old.Services)))
			} else if rows != nil {
				events = append(events, eventOf("change", old.host, rows))
			}
		}
		seen[old] = true
	}
	w.hosts = slices.DeleteFunc(w.hosts, func(old *watched) bool {
		if seen[old] {
			old.missed = 0
			return false
		}
		if old.missed++; old.missed < missesUntilLost {
			return false
		}
		events = append(events, eventOf("loss", old.host, marked("-", old.Services)))
		return true
	})
	return events
}

// find returns the known host that h is: the one with its id, or else with its name and address.
func (w *watcher) find(h *host, taken map[*watched]bool) *watched {
	same := func(is func(*watched) bool) *watched {
		i := slices.IndexFunc(w.hosts, func(old *watched) bool { return !taken[old] && is(old) })
		if i < 0 {
			return nil
		}
		return w.hosts[i]
	}
	if h.ID != "" {
		if old := same(func(old *watched) bool { return old.ID == h.ID && old.Hostname == h.Hostname }); old != nil {
			return old
		}
	}
	return same(func(old *watched) bool {
		return (old.ID == "" || h.ID == "") && old.Hostname == h.Hostname && old.IPAddr == h.IPAddr
	})
}

// merge takes the host as it is now in and returns a row for each service that changed, or nil if nothing did. A service that
// is missing is kept until it has been missed often enough: answers get lost.
func (o *watched) merge(h *host) (rows []markedRow) {
	moved := h.IPAddr != o.IPAddr || (h.ExtAddr != o.ExtAddr && h.ExtAddr != "")
	kept := *h
	kept.Services = slices.Clone(h.Services)
	for _, f := range h.Services {
		o.without[f.Name] = 0
		i := serviceIndex(o.host, f.Name)
		switch {
		case i < 0:
			rows = append(rows, markedRow{"+", f})
		case o.Services[i] != f || moved:
			rows = append(rows, markedRow{"~", f})
		}
	}
	for _, f := range o.Services {
		if serviceIndex(h, f.Name) >= 0 {
			continue
		}
		if o.without[f.Name]++; o.without[f.Name] < missesUntilLost {
			kept.Services = append(kept.Services, f)
			continue
		}
		delete(o.without, f.Name)
		rows = append(rows, markedRow{"-", f})
	}
	if rows == nil && moved {
		rows = []markedRow{{"~", reports.FoundService{}}}
	}
	slices.SortFunc(kept.Services, func(a, b reports.FoundService) int { return strings.Compare(a.Name, b.Name) })
	if h.ID == "" {
		kept.ID, kept.boot, kept.started = o.ID, o.boot, o.started
		kept.key, kept.from = o.key, o.from
	}
	o.host = &kept
	return rows
}

// marked returns a row for each service, or one without a service where there is none.
func marked(mark string, services []reports.FoundService) []markedRow {
	if len(services) == 0 {
		return []markedRow{{mark, reports.FoundService{}}}
	}
	rows := make([]markedRow, len(services))
	for i, f := range services {
		rows[i] = markedRow{mark, f}
	}
	return rows
}

// watchAll sweeps until ctx ends and prints what changes. By UDP it sweeps once, and follows the hosts from there.
func (s *sweeping) watchAll(ctx context.Context, a *app, c *collector) error {
	t := newFound(a.out, true)
	return s.watchEach(ctx, a, c, func(e event) error { return e.print(a, t, &s.format) })
}

// watchEach is watchAll with somebody else who is told what changes.
func (s *sweeping) watchEach(ctx context.Context, a *app, c *collector, tell func(event) error) error {
	hellos, stop := s.listenHello(ctx, a)
	defer stop()
	s.silent = true
	f := &follower{a: a, warned: map[string]bool{}, print: tell}
	for ctx.Err() == nil {
		began := time.Now()
		f.scope = s.scope()
		rd, err := s.ask(ctx, a, c, f.expect, nil)
		follow := err == nil && rd.whole && c == nil
		if err != nil {
			a.errorf("%s", clean(err.Error())) // the network may come back
		}
		if err := f.swept(ctx, rd, err == nil && rd.whole); err != nil {
			return err
		}
		if follow {
			if follow, err = s.follow(ctx, f, rd, began, hellos); err != nil {
				return err
			}
		}
		if follow {
			continue // the network has changed
		}
		if err := s.rest(ctx, hellos, func(h hello) error { return f.tell(f.w.bye(h, time.Now())) }); err != nil {
			return err
		}
	}
	if !f.found {
		return errNothing
	}
	return nil
}

// print prints the event: a row for each service, or a document.
func (e event) print(a *app, t *found, f *format) error {
	e.Time = time.Now().UTC()
	if f.asked() {
		return f.next(a.out, e)
	}
	h := &host{Found: e.Host}
	for _, r := range e.rows {
		t.row(r.mark, h, r.service)
	}
	return a.out.failed
}

// jitter returns d give or take a tenth, so that many watchers do not fall into step.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d))
}
