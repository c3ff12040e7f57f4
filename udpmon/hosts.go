package main

import (
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
	// sweepAnswers is how long after this host's own broadcast an answer counts as one to that. A list of hosts that comes
	// later is of a sweep that asked only some of them.
	sweepAnswers = 30 * time.Second
)

// heard is the map of hosts that this one has heard: /<hostname> = ipaddr, retained on the host's own broker. The names are
// kept in a file as well, so that a restart finds what it has to take away. It is safe for concurrent use and never waits for
// the disk but in save.
type heard struct {
	path string
	news chan struct{} // size 1: age and save have something to do

	mu    sync.Mutex
	ended int        // sweeps of this host that are over
	id    reports.ID // of the sweep under way
	asked time.Time  // when it began; zero: none is under way
	hosts map[string]host
	dirty bool // differs from the file
}

type host struct {
	addr  netip.Addr
	at    time.Time // last heard
	sweep int       // number of the last sweep that it answered
}

// loadHeard reads the map; what is on it counts as heard now. The map is usable whatever the error.
func loadHeard(path string, now time.Time) (*heard, error) {
	h := &heard{path: path, news: make(chan struct{}, 1), hosts: map[string]host{}}
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
	for _, name := range slices.Sorted(maps.Keys(saved)) {
		if addr := saved[name]; reports.ValidName(name) == nil && addr.IsValid() && len(h.hosts) < maxHosts {
			h.hosts[name] = host{addr: addr, at: now}
		}
	}
	return h, nil
}

// save writes the map to its file if it has changed since.
func (h *heard) save() error {
	h.mu.Lock()
	dirty := h.dirty
	h.dirty = false
	out := make(map[string]netip.Addr, len(h.hosts))
	for name, e := range h.hosts {
		out[name] = e.addr
	}
	h.mu.Unlock()
	if !dirty {
		return nil
	}
	b, err := json.Marshal(out)
	if err == nil {
		err = config.Save(h.path, b)
	}
	if err != nil {
		h.mu.Lock()
		h.dirty = true
		h.mu.Unlock()
	}
	return err
}

// has reports whether the name is that of a host on the map.
func (h *heard) has(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.hosts[name]
	return ok
}

// sweep notes that this host has asked all others. A machine with two networks hears its own request on both.
func (h *heard) sweep(id reports.ID, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.asked.IsZero() && id != "" && id == h.id {
		return
	}
	h.end()
	h.id, h.asked = id, now
}

// end ends the sweep under way.
func (h *heard) end() {
	if !h.asked.IsZero() {
		h.ended++
		h.asked = time.Time{}
		poke(h.news)
	}
}

// add notes hosts that have answered and returns the messages that change the map. all says that these are all hosts that have
// answered the sweep under way, and not only some of them.
func (h *heard) add(found map[string]netip.Addr, all bool, now time.Time) []bus.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	sweep := h.ended
	if !h.asked.IsZero() {
		sweep++
		if all || now.Sub(h.asked) >= sweepAnswers {
			h.end()
		}
	}
	var out []bus.Message
	for _, name := range slices.Sorted(maps.Keys(found)) {
		addr := found[name].Unmap()
		old, ok := h.hosts[name]
		if reports.ValidName(name) != nil || !addr.IsGlobalUnicast() && !addr.IsLoopback() || addr.Zone() != "" || (!ok && len(h.hosts) >= maxHosts) {
			continue
		}
		h.hosts[name] = host{addr: addr, at: now, sweep: sweep}
		if !ok || old.addr != addr {
			out = append(out, entryOf(name, addr))
		}
	}
	h.changed(out)
	return out
}

// age takes off hosts that have not been heard for too long and returns the messages that say so.
func (h *heard) age(now time.Time) []bus.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.asked.IsZero() && now.Sub(h.asked) >= sweepAnswers {
		h.end()
	}
	var out []bus.Message
	for _, name := range slices.Sorted(maps.Keys(h.hosts)) {
		if e := h.hosts[name]; now.Sub(e.at) >= hostLifetime || h.ended-e.sweep >= hostSweeps {
			delete(h.hosts, name)
			out = append(out, entryOf(name, netip.Addr{}))
		}
	}
	h.changed(out)
	return out
}

func (h *heard) changed(out []bus.Message) {
	if len(out) > 0 {
		h.dirty = true
		poke(h.news)
	}
}

// all returns the messages that make the whole map.
func (h *heard) all() []bus.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []bus.Message
	for _, name := range slices.Sorted(maps.Keys(h.hosts)) {
		out = append(out, entryOf(name, h.hosts[name].addr))
	}
	return out
}

// entryOf returns the message that puts a host on the map, or takes it off where the address is none.
func entryOf(name string, addr netip.Addr) bus.Message {
	m := bus.Message{Topic: "/" + name, QoS: 1, Retained: true}
	if addr.IsValid() {
		m.Payload = []byte(addr.String())
	}
	return m
}
