package main

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"rollcall/internal/discover"
	"rollcall/reports"
)

// saveEvery is how often a watch writes what it learns to the cache at most.
const saveEvery = 10 * time.Second

// follower follows the hosts that a sweep has found. It belongs to one goroutine.
type follower struct {
	a      *app
	w      watcher
	trust  *identity
	print  func(event) error
	warned map[string]bool // about what; each warning once
	found  bool            // somebody was heard
	scope  string
	expect []discover.Known // in the next sweep
	learn  []*host          // that the cache does not know yet
	saved  time.Time        // when the cache was; zero: never
}

// tell prints events.
func (f *follower) tell(events []event) error {
	for _, e := range events {
		f.found = true
		if err := f.print(e); err != nil {
			return err
		}
	}
	return nil
}

// warn prints a warning, one about each thing.
func (f *follower) warn(about, text string) {
	if !f.warned[about] && len(f.warned) < maxWarnings {
		f.warned[about] = true
		f.a.warnf("%s", text)
	}
}

// swept tells what a sweep has found, if it was not interrupted.
func (f *follower) swept(ctx context.Context, rd *round, whole bool) error {
	for _, text := range rd.stats.Warnings {
		f.warn(text, text)
	}
	for _, ip := range rd.crowds() {
		f.warn(ip.String(), rd.crowd(ip)) // how many they are changes all the time
	}
	if !whole {
		return nil
	}
	events := f.w.update(rd.sorted())
	if err := f.tell(events); err != nil {
		return err
	}
	f.trust = rd.trust
	known := f.a.openCache() // other commands write it too
	known.learn(rd, f.scope)
	if len(events) > 0 || f.saved.IsZero() {
		f.a.save(known)
		f.saved = time.Now()
	}
	f.expect = known.expect(f.scope)
	tellHeard(ctx, f.a, rd.hosts)
	return nil
}

// follow watches until ctx ends or the machine's network changes, and tells of what hosts say unasked as well. By UDP one
// request a second does for that, however many hosts there are. It returns false if it can't.
func (s *sweeping) follow(ctx context.Context, f *follower, rd *round, began time.Time, hellos <-chan hello) (ok bool, err error) {
	conf, _, err := s.config(ctx, f.a, 0, nil)
	if err != nil {
		f.warn(err.Error(), err.Error())
		return false, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	news := make(chan func() error, backlog)
	post := func(do func() error) {
		select {
		case news <- do:
		case <-ctx.Done():
		}
	}
	watch, err := discover.NewWatch(discover.WatchConfig{SweepConfig: conf, Cycle: s.every * 5 / 6, Since: time.Since(began),
		Hosts: rd.answers, Lost: f.w.unheard(rd), Loss: 1 - (1-rd.stats.RequestLoss)*(1-rd.stats.ReplyLoss),
		Seen:     func(a discover.Answer) { post(func() error { return f.seen(a) }) },
		Gone:     func(id discover.ID) { post(func() error { return f.tell(f.w.lose(id.String())) }) },
		Distrust: func(c discover.KeyChange) { post(func() error { return f.distrust(c) }) },
		Warn:     func(text string) { post(func() error { f.warn(text, text); return nil }) }})
	if err != nil {
		f.warn(err.Error(), err.Error())
		return false, nil
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	ended := make(chan error, 1)
	wg.Go(func() {
		stats, err := watch.Run(ctx)
		f.a.log().Debug("watched", "requests", stats.Requests, "replies", stats.Replies, "wrong", stats.Wrong, "drops", stats.Drops)
		ended <- err
	})
	defer f.save()
	for {
		select {
		case do := <-news:
			if err := do(); err != nil {
				return false, err
			}
		case h := <-hellos:
			if !h.Bye {
				watch.Look(h.Host, h.from)
			} else if gone := f.w.bye(h, time.Now()); gone != nil {
				watch.Forget(h.Host)
				if err := f.tell(gone); err != nil {
					return false, err
				}
			}
		case err := <-ended:
			return errors.Is(err, discover.ErrNetworkChanged), nil
		}
	}
}

// seen takes in a host that is new, or not as it was.
func (f *follower) seen(a discover.Answer) error {
	r := newRoll()
	r.trust = f.trust
	h, _, _ := r.answer(a)
	for _, err := range r.distrusted {
		f.warn(err.Error(), err.Error())
	}
	if h == nil {
		return nil
	}
	slices.SortFunc(h.Services, func(a, b reports.FoundService) int { return strings.Compare(a.Name, b.Name) })
	if !f.w.room(h) {
		f.warn(h.IPAddr, "more hosts answer than are believed, some of them from "+h.IPAddr)
		return nil
	}
	f.learn = append(f.learn, h)
	err := f.tell(f.w.see(h))
	if time.Since(f.saved) > saveEvery {
		f.save()
	}
	return err
}

// distrust warns of a host that is not who it was.
func (f *follower) distrust(c discover.KeyChange) error {
	for _, err := range f.trust.strange([]discover.KeyChange{c}) {
		f.warn(err.Error(), err.Error())
	}
	return nil
}

// save has the cache know of the hosts that were seen since it was told last; other commands write it too.
func (f *follower) save() {
	f.saved = time.Now()
	if len(f.learn) == 0 {
		return
	}
	c := f.a.openCache()
	c.add(f.learn, f.scope)
	f.a.save(c)
	f.learn = nil
}

// room reports whether a host is known, or can be taken in beside the others.
func (w *watcher) room(h *host) bool {
	here := 0
	for _, old := range w.hosts {
		if old.ID == h.ID {
			return true
		}
		if old.IPAddr == h.IPAddr {
			here++
		}
	}
	return here < maxAtAddress && len(w.hosts) < maxHosts
}

// see compares a host, of which all is known, with what was known of it.
func (w *watcher) see(h *host) (events []event) {
	old := w.find(h, nil)
	if old == nil {
		events = w.lose(h.ID) // it has another name now
		w.hosts = append(w.hosts, &watched{host: h, without: map[string]int{}})
		return append(events, eventOf("join", h, marked("+", h.Services)))
	}
	for _, s := range old.Services {
		old.without[s.Name] = missesUntilLost // this answer was whole
	}
	restarted, rows := old.restarted(h), old.merge(h)
	old.missed = 0
	switch {
	case restarted:
		return []event{eventOf("restart", old.host, marked("~", old.Services))}
	case rows != nil:
		return []event{eventOf("change", old.host, rows)}
	}
	return nil
}

// lose takes the host of an id off the list.
func (w *watcher) lose(id string) (events []event) {
	i := slices.IndexFunc(w.hosts, func(old *watched) bool { return old.ID == id })
	if i < 0 {
		return nil
	}
	old := w.hosts[i]
	w.hosts = slices.Delete(w.hosts, i, i+1)
	return []event{eventOf("loss", old.host, marked("-", old.Services))}
}

// unheard returns the hosts on the list that a sweep has not heard.
func (w *watcher) unheard(rd *round) (ids []discover.ID) {
	heard := map[string]bool{}
	for _, a := range rd.answers {
		heard[hex.EncodeToString(a.Host.ID[:])] = true
	}
	for _, old := range w.hosts {
		if id, ok := parseID(old.ID); ok && !heard[old.ID] {
			ids = append(ids, id)
		}
	}
	return ids
}

// add takes in hosts beside those of the last sweep of a scope.
func (c *cache) add(hosts []*host, scope string) {
	now := time.Now()
	for _, h := range hosts {
		c.put(h, now)
		last, ok := c.Last[scope]
		if ok && h.ID != "" && !slices.Contains(last.IDs, h.ID) {
			last.IDs = append(last.IDs, h.ID)
			c.Last[scope] = last
		}
	}
}
