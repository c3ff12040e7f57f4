package main

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"rollcall/internal/bus"
	"rollcall/reports"
)

const (
	maxHeardList = 1 << 20                // bytes of a list of hosts
	mapGather    = 500 * time.Millisecond // news of the map are worked off together: a list comes in parts, and flash wears out
	mapEvery     = time.Second            // at most this often
)

// heardList takes the list of hosts that udpsrv on this machine has just heard.
func (m *monitor) heardList(msg bus.Message) {
	var list []struct{ Hostname, IPAddr string }
	if len(msg.Payload) == 0 || len(msg.Payload) > maxHeardList || reports.Depth(msg.Payload) > reports.MaxDepth || json.Unmarshal(msg.Payload, &list) != nil {
		return
	}
	found := map[string]netip.Addr{}
	for _, e := range list {
		if addr, err := netip.ParseAddr(e.IPAddr); err == nil {
			found[e.Hostname] = addr
		}
	}
	m.note(found, true)
}

// heardReport takes an answer to this host's own request in the original form.
func (m *monitor) heardReport(msg bus.Message) {
	if msg.Retained {
		return // an answer of long ago
	}
	r, err := reports.ParseReport(msg.Payload)
	if err != nil {
		return
	}
	if addr, err := netip.ParseAddr(r.IPAddr); err == nil {
		m.note(map[string]netip.Addr{reports.FirstLabel(r.Hostname): addr}, false)
	}
}

// note puts hosts on the map. Where this one is, it knows better than others.
func (m *monitor) note(found map[string]netip.Addr, all bool) {
	if addr, ok := found[m.cfg.Host]; ok && !addr.IsLoopback() && !slices.Contains(localAddrs(), addr.Unmap()) {
		delete(found, m.cfg.Host)
	}
	m.keep(func() []bus.Message { return m.hosts.add(found, all, m.now()) })
}

// keep publishes a change of the map, one change after the other.
func (m *monitor) keep(change func() []bus.Message) {
	m.mapping.Lock()
	defer m.mapping.Unlock()
	for _, msg := range change() {
		m.client.Keep(msg)
	}
}

// keepMap keeps the map and its file current until ctx ends.
func (m *monitor) keepMap(ctx context.Context) error {
	m.keep(m.hosts.all)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	waiting := false
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			m.saveMap()
			return nil
		case <-m.hosts.news:
			if !waiting {
				waiting = true
				timer.Reset(max(mapGather, mapEvery-time.Since(last)))
			}
		case <-timer.C:
			waiting, last = false, time.Now()
			m.keep(func() []bus.Message { return m.hosts.age(m.now()) })
			m.saveMap()
		}
	}
}

func (m *monitor) saveMap() {
	if err := m.hosts.save(); err != nil && m.failures.allow("map", m.now()) {
		m.log.Warn("map of hosts not saved", "err", err)
	}
}
