package main

import (
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"rollcall/internal/bus"
	"rollcall/reports"
)

// Bounds of what top keeps.
const (
	maxTopValues = 1 << 12 // topics of a service
	maxTopText   = 1 << 10 // bytes of a value: no terminal is wider
)

// rateOver is the time over which messages are averaged.
const rateOver = 10 * time.Second

// meter counts messages and knows how many come in a second.
type meter struct {
	n    int // since the last tick
	rate float64
}

// tick takes in what was counted in a time.
func (m *meter) tick(took time.Duration) {
	if took <= 0 {
		return
	}
	m.rate += (float64(m.n)/took.Seconds() - m.rate) * (1 - math.Exp(-took.Seconds()/rateOver.Seconds()))
	if m.n = 0; m.rate < 0.005 {
		m.rate = 0
	}
}

// topValue is the last value of a point.
type topValue struct {
	text  string
	at    time.Time // zero: it was retained, nobody knows since when
	stale bool
	meter
}

// topService is a service of a host as top knows it.
type topService struct {
	name, function string
	status         reports.Status
	described      bool
	simulated      bool
	err            string
	points         []reports.Point
	values         map[string]*topValue // by path
	meter
}

// topHost is a host as top knows it.
type topHost struct {
	id, name, addr string
	problem        string // why its broker can't be read; "" while it is
	services       map[string]*topService
	meter
}

// topModel is all that top knows. It is safe for concurrent use.
type topModel struct {
	mu      sync.Mutex
	hosts   map[string]*topHost
	ticked  time.Time
	note    string        // the last warning
	changed chan struct{} // holds one word once anything has changed
}

func newTopModel() *topModel {
	return &topModel{hosts: map[string]*topHost{}, changed: make(chan struct{}, 1)}
}

// keyOf tells hosts apart.
func keyOf(h *host) string { return h.ID + " " + h.Hostname + " " + h.IPAddr }

// do changes the model.
func (m *topModel) do(change func()) {
	m.mu.Lock()
	change()
	m.mu.Unlock()
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// put takes in what a sweep says of a host.
func (m *topModel) put(key string, h *host) {
	m.do(func() {
		t := m.hosts[key]
		if t == nil {
			t = &topHost{services: map[string]*topService{}}
			m.hosts[key] = t
		}
		t.id, t.name, t.addr = h.ID, h.Hostname, h.IPAddr
		for name := range t.services {
			if serviceIndex(h, name) < 0 && !t.services[name].described {
				delete(t.services, name)
			}
		}
		for _, f := range h.Services {
			s := t.service(f.Name)
			if s == nil {
				return
			}
			s.function, s.simulated = f.Function, f.Simulated
			if f.Status != reports.Unknown {
				s.status = f.Status
			}
		}
	})
}

// drop forgets a host.
func (m *topModel) drop(key string) { m.do(func() { delete(m.hosts, key) }) }

// trouble says why the broker of a host can't be read; "" that it can.
func (m *topModel) trouble(key, text string) {
	m.do(func() {
		if t := m.hosts[key]; t != nil {
			t.problem = text
		}
	})
}

// service returns a service of the host, a new one where there is none; nil if there are too many.
func (t *topHost) service(name string) *topService {
	s := t.services[name]
	if s == nil && len(t.services) < maxServices {
		s = &topService{name: name, values: map[string]*topValue{}}
		t.services[name] = s
	}
	return s
}

// message takes in what came on a topic of a host.
func (m *topModel) message(key string, msg bus.Message) {
	parts := strings.SplitN(strings.TrimPrefix(msg.Topic, "/"), "/", 3)
	if len(parts) < 3 || reports.ValidName(parts[1]) != nil {
		return
	}
	m.do(func() {
		t := m.hosts[key]
		if t == nil || parts[0] != t.name {
			return
		}
		tail := parts[2]
		says := (tail == "description" || tail == "status") && len(msg.Payload) > 0 && !slices.Contains(reports.Reserved, parts[1])
		s := t.services[parts[1]]
		if s == nil && says {
			s = t.service(parts[1])
		}
		if s == nil {
			return // of no service that is known
		}
		if tail == "description" && len(msg.Payload) == 0 {
			delete(t.services, s.name)
			return
		}
		if !msg.Retained {
			t.n++
			s.n++
		}
		s.message(tail, msg)
	})
}

// message takes in what came on a topic of the service.
func (s *topService) message(tail string, msg bus.Message) {
	switch tail {
	case "description":
		if d, err := reports.ParseService(msg.Payload, s.name); err == nil {
			s.described, s.function, s.points, s.simulated = true, d.Function, d.Points, d.Simulated
		}
	case "status":
		if st := reports.Status(msg.Payload); st == reports.Online || st == reports.Offline {
			s.status = st
		}
	case "error":
		s.err = reports.OneLine(string(msg.Payload[:min(len(msg.Payload), maxTopText)]))
	default:
		v := s.value(tail)
		if v == nil {
			return
		}
		v.text, v.stale = string(msg.Payload[:min(len(msg.Payload), maxTopText)]), len(msg.Payload) == 0
		if !msg.Retained {
			v.at = time.Now()
			v.n++
		}
	}
}

// value returns the value of a path, a new one where there is none; nil if there are too many.
func (s *topService) value(path string) *topValue {
	v := s.values[path]
	if v == nil && len(s.values) < maxTopValues && reports.ValidPath(path) == nil {
		v = &topValue{}
		s.values[path] = v
	}
	return v
}

// readings takes in what a service has answered to get: since when its values are what they are.
func (m *topModel) readings(key, service string, list []reading) {
	m.do(func() {
		t := m.hosts[key]
		if t == nil || t.services[service] == nil {
			return
		}
		for _, r := range list {
			v := t.services[service].value(r.Path)
			if v == nil || !v.at.IsZero() {
				continue // what came since is newer
			}
			if v.at, v.stale = r.Time, r.Stale; v.text == "" {
				text := bare(r.Value)
				v.text = text[:min(len(text), maxTopText)]
			}
		}
	})
}

// asked returns the services of a host that can be asked for their values.
func (m *topModel) asked(key string) (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.hosts[key]; t != nil {
		for name, s := range t.services {
			if s.described && s.status == reports.Online {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// tick takes in what was counted since the last tick.
func (m *topModel) tick(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	took := now.Sub(m.ticked)
	if m.ticked.IsZero() {
		took = time.Second
	}
	m.ticked = now
	for _, t := range m.hosts {
		t.tick(took)
		for _, s := range t.services {
			s.tick(took)
			for _, v := range s.values {
				v.tick(took)
			}
		}
	}
}

// warn keeps a warning for the screen.
func (m *topModel) warn(text string) {
	m.do(func() { m.note = strings.TrimPrefix(reports.OneLine(text), "udpsrv: ") })
}

// Write takes in the lines that a command would print to stderr.
func (m *topModel) Write(b []byte) (int, error) {
	if text := strings.TrimSpace(string(b)); text != "" {
		m.warn(text)
	}
	return len(b), nil
}
