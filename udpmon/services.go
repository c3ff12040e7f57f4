package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
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
	maxServices     = 256              // services that a host tells of
	maxNames        = 4 * maxServices  // names that it knows anything of
	maxDescription  = 1 << 20          // bytes
	foreignLifetime = 10 * time.Minute // how long a program that knows only the original form is listed after its last answer
	absence         = time.Minute      // how long services may take to come back to a broker that was lost
)

// services is the live cache of what the host's services say of themselves: their retained descriptions and statuses, and
// the answers of programs that know only the original form. It is safe for concurrent use.
type services struct {
	changed chan struct{} // size 1: there is something new to tell

	mu       sync.Mutex
	list     map[string]entry
	shown    int       // of list
	left     int       // services that there was no room for, since somebody asked
	up, down time.Time // when the connection to the broker was last made, and last found missing
}

type entry struct {
	discover.Service
	described bool      // a retained description is there
	said      time.Time // when the last message of its own came
	heard     time.Time // of a program without a description: its last answer
}

// shown reports whether the service has said what it is.
func (e entry) shown() bool { return e.Function != "" }

func newServices() *services {
	return &services{changed: make(chan struct{}, 1), list: map[string]entry{}}
}

// update changes the entry of the service with the name. One of which nothing is known any more is removed.
func (s *services) update(name string, change func(*entry)) {
	if reports.ValidName(name) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := s.list[name]
	e := old
	e.Name = name
	change(&e)
	if !e.described && e.heard.IsZero() {
		e.Service = discover.Service{Name: name, Status: e.Status}
	}
	switch {
	case e.shown() && !old.shown() && s.shown >= maxServices, !known && len(s.list) >= maxNames:
		s.left++
		return
	case !e.shown() && e.Status == reports.Unknown:
		delete(s.list, name)
	default:
		s.list[name] = e
	}
	if e.shown() {
		s.shown++
	}
	if old.shown() {
		s.shown--
	}
	if e.shown() != old.shown() || (e.shown() && e.Service != old.Service) {
		poke(s.changed)
	}
}

// described takes a retained description; an empty one removes the service. With an error the service stays as it was.
func (s *services) described(name string, payload []byte, now time.Time) error {
	d, err := parseDescription(name, payload)
	if err != nil {
		return err
	}
	s.update(name, func(e *entry) {
		e.described, e.Function, e.Points, e.said, e.heard = len(payload) > 0, d.Function, len(d.Points), now, time.Time{}
		e.Simulated, e.Classes = d.Simulated, classes(d)
		sum := sha256.Sum256(payload)
		copy(e.Digest[:], sum[:])
	})
	return nil
}

// parseDescription reads a retained description; an empty one is no service's.
func parseDescription(name string, payload []byte) (reports.Service, error) {
	if len(payload) == 0 {
		return reports.Service{}, nil
	}
	if len(payload) > maxDescription {
		return reports.Service{}, fmt.Errorf("description has %d bytes, more than %d", len(payload), maxDescription)
	}
	return reports.ParseService(payload, name)
}

// mistakes are what is wrong with descriptions, by service: whoever wrote the program is told once of each.
type mistakes map[string]string

// tell logs what is wrong with a description unless that was the last it logged of the service.
func (m mistakes) tell(log *slog.Logger, name string, err error) {
	switch {
	case err == nil:
		delete(m, name)
	case m[name] != err.Error() && len(m) < maxNames && reports.ValidName(name) == nil:
		m[name] = err.Error()
		log.Warn("the service is left out: its description is not valid", "service", name, "err", err)
	}
}

// classes returns the device classes of a service's points, each once.
func classes(d reports.Service) string {
	var all []string
	for _, p := range d.Points {
		if p.Class != "" && !slices.Contains(all, p.Class) {
			all = append(all, p.Class)
		}
	}
	return strings.Join(all, " ")
}

// status takes a status message.
func (s *services) status(name string, payload []byte, now time.Time) {
	s.update(name, func(e *entry) {
		e.Status, e.said = reports.Unknown, now
		if st := reports.Status(payload); st == reports.Online || st == reports.Offline {
			e.Status = st
		}
	})
}

// answered takes the answer of a program in the original form.
func (s *services) answered(r reports.Report, now time.Time) {
	found := reports.FoundFrom(r)
	if reports.ValidName(found.Function) != nil {
		return
	}
	s.update(found.Name, func(e *entry) {
		if !e.described {
			e.Function, e.Simulated, e.heard = found.Function, found.Simulated, now
		}
	})
}

// connected and disconnected note how the connection to the broker fares.
func (s *services) connected(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up = now
}

func (s *services) disconnected(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up, s.down = time.Time{}, now
}

// settled reports whether services have had the time to come back to the broker.
func (s *services) settled(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.up.IsZero() && now.Sub(s.up) >= absence
}

// expire removes programs that know only the original form and have not answered for foreignLifetime, and services that have
// not come back with the broker: a broker that remembers nothing can't tell that they have gone. It returns how many services
// there was no room for since the last call.
func (s *services) expire(now time.Time) (left int) {
	s.mu.Lock()
	left, s.left = s.left, 0
	names := slices.Sorted(maps.Keys(s.list))
	lost := time.Time{}
	if !s.up.IsZero() && now.Sub(s.up) >= absence {
		lost = s.down
	}
	s.mu.Unlock()
	for _, name := range names {
		s.update(name, func(e *entry) {
			if !e.heard.IsZero() && now.Sub(e.heard) > foreignLifetime {
				e.heard = time.Time{}
			}
			if e.said.Before(lost) {
				e.described, e.Status = false, reports.Unknown
			}
		})
	}
	return left
}

// listed returns the services that can be told of, by name: those that have said what they are.
func (s *services) listed() []discover.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]discover.Service, 0, s.shown)
	for _, e := range s.list {
		if e.shown() {
			out = append(out, e.Service)
		}
	}
	slices.SortFunc(out, func(a, b discover.Service) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (s *services) names() []string {
	out := []string{}
	for _, e := range s.listed() {
		out = append(out, e.Name)
	}
	return out
}

// subscribe receives what the caches are made of. It is called before the client runs, so that there is nothing to wait for.
func (m *monitor) subscribe() error {
	host, wrong := m.cfg.Host, mistakes{}
	for _, s := range []struct {
		filters []string
		handler func(bus.Message)
	}{
		{[]string{"/" + host + "/+/description", host + "/+/description"}, func(msg bus.Message) {
			name := service(msg.Topic)
			wrong.tell(m.log, name, m.services.described(name, msg.Payload, m.now()))
		}},
		{[]string{"/" + host + "/+/status", host + "/+/status"}, func(msg bus.Message) {
			m.services.status(service(msg.Topic), msg.Payload, m.now())
		}},
		{[]string{"/" + host + "/report"}, func(msg bus.Message) {
			if r, err := reports.ParseReport(msg.Payload); err == nil && r.Hostname == host && !msg.Retained {
				m.services.answered(r, m.now())
			}
		}},
		{[]string{"/" + host + "/heard"}, m.heardList},
	} {
		if err := m.client.Subscribe(context.Background(), 1, s.handler, s.filters...); err != nil {
			return err
		}
	}
	return nil
}

// service returns the second segment of /host/service/tail, or "" where that is a verb: /host/set/description is a command.
func service(topic string) string {
	segs := strings.Split(strings.TrimPrefix(topic, "/"), "/")
	if len(segs) < 3 || slices.Contains(reports.Verbs, segs[1]) {
		return ""
	}
	return segs[1]
}
