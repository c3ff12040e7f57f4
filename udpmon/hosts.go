package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/reports"
)

// When a host is taken off the map (PROTOCOL.md §1).
const (
	hostLifetime = time.Hour
	hostSweeps   = 3
	maxHosts     = 10_000
	// sweepAnswers is how long after this host's own broadcast a list of hosts heard counts as the outcome of that sweep. A
	// list that comes without one is of a sweep that asked only some hosts.
	sweepAnswers = 30 * time.Second
)

// heard is the map of hosts that this one has heard: /<hostname> = ipaddr, retained on the host's own broker. The names are
// kept in a file as well, so that a restart finds what it has to take away. It is safe for concurrent use.
type heard struct {
	path string
	now  func() time.Time

	mu     sync.Mutex
	sweeps int       // sweeps of this host that were answered
	asked  time.Time // when this host last broadcast a request
	hosts  map[string]host
}

type host struct {
	Addr  netip.Addr
	at    time.Time
	sweep int
}

// loadHeard reads the map; what is on it counts as heard now. The map is usable whatever the error.
func loadHeard(path string, now func() time.Time) (*heard, error) {
	h := &heard{path: path, now: now, hosts: map[string]host{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	saved := map[string]netip.Addr{}
	if err := json.Unmarshal(b, &saved); err != nil {
		return h, fmt.Errorf("%s: %w", path, err)
	}
	for name, addr := range saved {
		if reports.ValidName(name) == nil && len(h.hosts) < maxHosts {
			h.hosts[name] = host{Addr: addr, at: now()}
		}
	}
	return h, nil
}

func (h *heard) save() error {
	out := map[string]netip.Addr{}
	for name, e := range h.hosts {
		out[name] = e.Addr
	}
	b, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return config.Save(h.path, b)
}

// has reports whether the name is that of a host on the map.
func (h *heard) has(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.hosts[name]
	return ok
}

// sweep notes that this host has asked all others.
func (h *heard) sweep() {
	h.mu.Lock()
	h.asked = h.now()
	h.mu.Unlock()
}

// add notes hosts that have answered and returns the messages that change the map, and the error of saving it.
func (h *heard) add(found map[string]netip.Addr) ([]bus.Message, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if !h.asked.IsZero() && now.Sub(h.asked) < sweepAnswers {
		h.sweeps++
		h.asked = time.Time{}
	}
	out := h.aged(now)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		addr := found[name]
		old, ok := h.hosts[name]
		if reports.ValidName(name) != nil || !addr.IsValid() || (!ok && len(h.hosts) >= maxHosts) {
			continue
		}
		h.hosts[name] = host{Addr: addr, at: now, sweep: h.sweeps}
		if !ok || old.Addr != addr {
			out = append(out, bus.Message{Topic: "/" + name, Payload: []byte(addr.String()), QoS: 1, Retained: true})
		}
	}
	return h.changed(out)
}

// age takes off hosts that have not been heard for too long.
func (h *heard) age() ([]bus.Message, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed(h.aged(h.now()))
}

func (h *heard) aged(now time.Time) []bus.Message {
	var out []bus.Message
	for _, name := range slices.Sorted(maps.Keys(h.hosts)) {
		if e := h.hosts[name]; now.Sub(e.at) > hostLifetime || h.sweeps-e.sweep > hostSweeps {
			delete(h.hosts, name)
			out = append(out, bus.Message{Topic: "/" + name, QoS: 1, Retained: true})
		}
	}
	return out
}

func (h *heard) changed(out []bus.Message) ([]bus.Message, error) {
	if len(out) == 0 {
		return nil, nil
	}
	return out, h.save()
}

// all returns the messages that make the whole map.
func (h *heard) all() []bus.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []bus.Message
	for _, name := range slices.Sorted(maps.Keys(h.hosts)) {
		out = append(out, bus.Message{Topic: "/" + name, Payload: []byte(h.hosts[name].Addr.String()), QoS: 1, Retained: true})
	}
	return out
}

// heardList takes the list of hosts that udpsrv on this machine has just heard.
func (m *monitor) heardList(msg bus.Message) {
	var list []struct{ Hostname, IPAddr string }
	if len(msg.Payload) == 0 || len(msg.Payload) > 1<<20 || reports.Depth(msg.Payload) > reports.MaxDepth || json.Unmarshal(msg.Payload, &list) != nil {
		return
	}
	found := map[string]netip.Addr{}
	for _, e := range list {
		if addr, err := netip.ParseAddr(e.IPAddr); err == nil {
			found[e.Hostname] = addr
		}
	}
	m.mapChanged(m.hosts.add(found))
}

// heardReport takes an answer to this host's own request in the original form.
func (m *monitor) heardReport(msg bus.Message) {
	r, err := reports.ParseReport(msg.Payload)
	if err != nil {
		return
	}
	if addr, err := netip.ParseAddr(r.IPAddr); err == nil {
		m.mapChanged(m.hosts.add(map[string]netip.Addr{r.Hostname: addr}))
	}
}

func (m *monitor) mapChanged(messages []bus.Message, err error) {
	if err != nil {
		m.log.Warn("map of hosts not saved", "err", err)
	}
	for _, msg := range messages {
		m.client.Keep(msg)
	}
}

// age keeps the map, and listens for the answers to this host's own requests.
func (m *monitor) age(ctx context.Context) error {
	for _, msg := range m.hosts.all() {
		m.client.Keep(msg)
	}
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			m.mapChanged(m.hosts.age())
		case topic := <-m.replies.fresh:
			if err := m.client.Subscribe(ctx, 1, m.heardReport, topic); err != nil && ctx.Err() == nil {
				m.log.Warn("answers to this host's own requests are not followed", "topic", topic, "err", err)
			}
		}
	}
}
