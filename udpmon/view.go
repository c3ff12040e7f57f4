package main

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"rollcall/internal/bus"
	"rollcall/reports"
)

// Bounds of what is kept for the faces.
const (
	maxValue  = 4096 // bytes of a value; a longer one is not kept
	maxValues = 1024 // of a service
)

// view is what the host's services say: descriptions, statuses, errors and the values of their points, for the faces. It is
// safe for concurrent use.
type view struct {
	host reports.Host // without services

	mu       sync.Mutex
	services map[string]*viewed
	settled  bool // the services have had the time to say what they are
	// changed is told of each change of a service but its values; said of each value and event. Both are called without the lock,
	// by the goroutine that receives.
	changed func()
	said    func(reports.HostService, reports.Point, string)
}

// viewed is a service as it is seen.
type viewed struct {
	reports.HostService
	raw    string // the description
	points map[string]reports.Point
	again  bool            // it has been heard of since disconnected
	seen   map[string]bool // the same of Values
}

// told is the service without the values that change.
func (s *viewed) told() reports.HostService {
	c := s.HostService
	c.Values = nil
	return c
}

func newView(h reports.Host) *view {
	return &view{host: h, services: map[string]*viewed{}, changed: func() {}, said: func(reports.HostService, reports.Point, string) {}}
}

// take takes a message below the host's topic.
func (v *view) take(msg bus.Message) {
	name := service(msg.Topic)
	if reports.ValidName(name) != nil {
		return
	}
	path := strings.TrimPrefix(strings.TrimPrefix(msg.Topic, "/"), v.host.Name+"/"+name+"/")
	switch first, _, _ := strings.Cut(path, "/"); {
	case path == "description":
		v.describe(name, string(msg.Payload))
	case path == "status":
		v.note(name, func(s *viewed) (was, is string) {
			was, s.Status = string(s.Status), reports.Status(msg.Payload)
			return was, string(s.Status)
		})
	case path == "error":
		v.note(name, func(s *viewed) (was, is string) {
			was, s.Error = s.Error, string(msg.Payload[:min(len(msg.Payload), maxValue)])
			return was, s.Error
		})
	case path == reports.HealthTail:
		v.health(name, msg.Payload)
	case reports.ValidPath(path) != nil, first == "log":
	default:
		v.value(name, path, msg)
	}
}

// of returns the service with the name, which it makes up to maxNames of. The lock is held.
func (v *view) of(name string) *viewed {
	s := v.services[name]
	if s == nil {
		s = &viewed{HostService: reports.HostService{Service: reports.Service{Name: name}, Values: map[string]string{}}, seen: map[string]bool{}}
		if len(v.services) < maxNames {
			v.services[name] = s
		}
	}
	s.again = true
	return s
}

// note changes something of a service, and tells of it where it is another than before.
func (v *view) note(name string, change func(*viewed) (was, is string)) {
	v.mu.Lock()
	was, is := change(v.of(name))
	v.mu.Unlock()
	if was != is {
		v.changed()
	}
}

// health takes what a service has done. The faces are not told of it: those that show it ask.
func (v *view) health(name string, payload []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.of(name)
	s.Health = nil
	if h, ok := reports.ParseHealth(payload); ok {
		s.Health = &h
	}
}

// describe takes a description; an empty one, or one that is not valid, leaves the service without.
func (v *view) describe(name, payload string) {
	d, err := parseDescription(name, []byte(payload))
	if err != nil {
		return
	}
	v.note(name, func(s *viewed) (was, is string) {
		was, s.raw = s.raw, payload
		s.Service, s.Described, s.points = d.On(v.host.Name), payload != "", map[string]reports.Point{}
		s.Name = name
		for _, p := range d.Points {
			s.points[p.Path] = p
		}
		return was, payload
	})
}

// value takes the payload of a point's topic: a value, an event, or nothing any more.
func (v *view) value(name, path string, msg bus.Message) {
	payload := string(msg.Payload)
	if len(payload) > maxValue {
		return
	}
	v.mu.Lock()
	s := v.of(name)
	p, described := s.points[path]
	switch old, had := s.Values[path]; {
	case payload == "":
		delete(s.Values, path)
	case described && !p.Access.Has(reports.Get):
	case had || len(s.Values) < maxValues:
		s.Values[path] = payload
		s.seen[path] = true
		described = described && !(msg.Retained && old == payload)
	}
	told := s.told()
	v.mu.Unlock()
	if described && (p.Access.Has(reports.Get) || !msg.Retained) {
		v.said(told, p, payload)
	}
}

// disconnected is called when the connection to the broker is lost: with the next one it says all that it keeps again.
func (v *view) disconnected() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.services {
		s.again = false
		clear(s.seen)
	}
}

// prune drops what the broker has not said again since disconnected.
func (v *view) prune() {
	type gone struct {
		s reports.HostService
		p reports.Point
	}
	var all []gone
	v.mu.Lock()
	v.settled = true
	for name, s := range v.services {
		if !s.again {
			delete(v.services, name)
			continue
		}
		for path := range s.Values {
			if !s.seen[path] {
				delete(s.Values, path)
				if p, ok := s.points[path]; ok {
					all = append(all, gone{s.told(), p})
				}
			}
		}
	}
	v.mu.Unlock()
	for _, g := range all {
		v.said(g.s, g.p, "")
	}
	v.changed()
}

// has reports whether all services with the names have said what they are, or have had the time to.
func (v *view) has(names []string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.settled || !slices.ContainsFunc(names, func(n string) bool { return v.services[n] == nil || !v.services[n].Described })
}

// snapshot returns the host as it is, with the values of its points.
func (v *view) snapshot() reports.Host {
	v.mu.Lock()
	h := v.host
	for _, s := range v.services {
		if !s.Described {
			continue
		}
		c := s.HostService
		c.Values = map[string]string{}
		for path, value := range maps.All(s.Values) {
			if _, ok := s.points[path]; ok {
				c.Values[path] = value
			}
		}
		h.Services = append(h.Services, c)
	}
	v.mu.Unlock()
	return reports.NewCluster([]reports.Host{h}).Hosts[0]
}
