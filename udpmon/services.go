package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/discover"
	"rollcall/reports"
)

// Bounds of the cache.
const (
	maxServices     = 256              // services of one host
	foreignLifetime = 10 * time.Minute // how long a program that knows only the original form is listed after its last answer
)

// services is the live cache of what the host's services say of themselves: their retained descriptions and statuses, and
// the answers of programs that know only the original form. Its zero value is empty.
type services struct {
	mu      sync.Mutex
	list    map[string]entry
	changed chan struct{} // size 1: something is new
}

type entry struct {
	discover.Service
	described bool      // a retained description is there
	heard     time.Time // of a program without a description: its last answer
}

// update changes the entry of the service with the name, and removes it when keep returns false.
func (s *services) update(name string, change func(*entry) (keep bool)) {
	if reports.ValidName(name) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.list[name]
	if !ok && len(s.list) >= maxServices {
		return
	}
	before := e
	e.Name = name
	keep := change(&e)
	switch {
	case !keep && !ok, keep && ok && e.Service == before.Service && e.described == before.described:
		if keep {
			s.list[name] = e
		}
		return
	case !keep:
		delete(s.list, name)
	case s.list == nil:
		s.list = map[string]entry{name: e}
	default:
		s.list[name] = e
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// described takes a retained description; an empty one removes the service.
func (s *services) described(name string, payload []byte) {
	var d reports.Service
	if len(payload) > 0 && (json.Unmarshal(payload, &d) != nil || d.Name != name || d.Validate() != nil) {
		return // a program's own mistake on its own host; it stays as it was
	}
	s.update(name, func(e *entry) bool {
		sum := sha256.Sum256(payload)
		e.described, e.Function, e.Points = len(payload) > 0, d.Function, len(d.Points)
		copy(e.Digest[:], sum[:])
		return e.described
	})
}

// status takes a status message.
func (s *services) status(name string, payload []byte) {
	s.update(name, func(e *entry) bool {
		e.Status = reports.Unknown
		if st := reports.Status(payload); st == reports.Online || st == reports.Offline {
			e.Status = st
		}
		return e.described || e.Status != reports.Unknown
	})
}

// answered takes the answer of a program in the original form.
func (s *services) answered(r reports.Report, now time.Time) {
	found := reports.FoundFrom(r)
	if reports.ValidName(found.Function) != nil {
		return
	}
	s.update(found.Name, func(e *entry) bool {
		if !e.described {
			e.Function, e.heard = found.Function, now
		}
		return true
	})
}

// expire removes programs that know only the original form and have not answered for foreignLifetime.
func (s *services) expire(now time.Time) {
	for _, e := range s.all() {
		if !e.described && !e.heard.IsZero() && now.Sub(e.heard) > foreignLifetime {
			s.update(e.Name, func(*entry) bool { return false })
		}
	}
}

func (s *services) all() []entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.list), func(a, b entry) int { return cmp.Compare(a.Name, b.Name) })
}

// listed returns the services that can be told of: those that have said what they are.
func (s *services) listed() []discover.Service {
	out := []discover.Service{}
	for _, e := range s.all() {
		if e.Function != "" {
			out = append(out, e.Service)
		}
	}
	return out
}

func (s *services) names() []string {
	out := []string{}
	for _, e := range s.listed() {
		out = append(out, e.Name)
	}
	return out
}

// subscribe receives what the caches are made of.
func (m *monitor) subscribe(ctx context.Context) error {
	host := m.cfg.Host
	for _, s := range []struct {
		filters []string
		handler func(bus.Message)
	}{
		{[]string{"/" + host + "/+/description", host + "/+/description"}, func(msg bus.Message) { m.services.described(service(msg.Topic), msg.Payload) }},
		{[]string{"/" + host + "/+/status", host + "/+/status"}, func(msg bus.Message) { m.services.status(service(msg.Topic), msg.Payload) }},
		{[]string{"/" + host + "/report"}, func(msg bus.Message) {
			if r, err := reports.ParseReport(msg.Payload); err == nil && r.Hostname == host {
				m.services.answered(r, time.Now())
			}
		}},
		{[]string{"/" + host + "/heard"}, m.heardList},
	} {
		if err := m.client.Subscribe(ctx, 1, s.handler, s.filters...); err != nil {
			return err
		}
	}
	return nil
}

// service returns the second segment of /host/service/tail.
func service(topic string) string {
	segs := strings.Split(strings.TrimPrefix(topic, "/"), "/")
	if len(segs) < 3 {
		return ""
	}
	return segs[1]
}

// refresh hands every change of the services to the responder.
func (m *monitor) refresh(ctx context.Context) error {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			m.services.expire(time.Now())
		case <-m.services.changed:
		}
		m.describe()
	}
}

// describe tells the responder what the host says of itself from now on.
func (m *monitor) describe() {
	m.reloads.Lock()
	operators := m.cfg.Discovery.AuthorizedOperators
	m.reloads.Unlock()
	m.responder.Update(discover.Host{
		ID: m.id, Hostname: m.cfg.Host, Addrs: localAddrs(), ExtAddr: m.ext.get(),
		Model: boardModel(), OS: osName(), Arch: arch, Version: version, BootID: bootID(), Started: m.started,
		Brokers: m.brokers, LoopbackOnly: m.loopback, Open: !exists(operators), Services: m.services.listed(),
	})
}
