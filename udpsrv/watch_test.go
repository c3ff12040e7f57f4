package main

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rollcall/reports"
)

// at makes a host as one sweep finds it.
func at(id, name, ip string, services ...reports.FoundService) *host {
	return &host{Found: reports.Found{ID: id, Hostname: name, IPAddr: ip, Services: services}}
}

func TestWatcher(t *testing.T) {
	t.Parallel()
	on := reports.FoundService{Name: "gpio", Status: reports.Online, Points: 1}
	off := reports.FoundService{Name: "gpio", Status: reports.Offline, Points: 1}
	extra := reports.FoundService{Name: "more", Status: reports.Online}
	sweeps := []struct {
		name  string
		hosts []*host
		want  []string
	}{
		{"first", []*host{at("a", "pi1", "10.0.0.1", on), at("b", "pi1", "10.0.0.2"), at("", "old", "10.0.0.3", on)},
			[]string{"join pi1 10.0.0.1 +gpio", "join pi1 10.0.0.2 +", "join old 10.0.0.3 +gpio"}},
		{"the same", []*host{at("a", "pi1", "10.0.0.1", on), at("b", "pi1", "10.0.0.2"), at("", "old", "10.0.0.3", on)}, nil},
		{"status, new service, address, old host has an id now",
			[]*host{at("a", "pi1", "10.0.0.1", off, extra), at("b", "pi1", "10.0.0.7"), at("c", "old", "10.0.0.3", on)},
			[]string{"change pi1 10.0.0.1 ~gpio +more", "change pi1 10.0.0.7 ~"}},
		{"missed once", []*host{at("a", "pi1", "10.0.0.1", off)}, nil},
		{"missed twice", []*host{at("a", "pi1", "10.0.0.1", off), at("", "old", "10.0.0.3", on)}, nil},
		{"lost", []*host{at("a", "pi1", "10.0.0.1", off), at("c", "old", "10.0.0.3", on)},
			[]string{"change pi1 10.0.0.1 -more", "loss pi1 10.0.0.7 -"}},
		{"nobody", nil, nil},
		{"nobody still", nil, nil},
		{"all lost", nil, []string{"loss pi1 10.0.0.1 -gpio", "loss old 10.0.0.3 -gpio"}},
		{"back", []*host{at("a", "pi1", "10.0.0.1", on)}, []string{"join pi1 10.0.0.1 +gpio"}},
	}
	var w watcher
	for _, s := range sweeps {
		var got []string
		for _, e := range w.update(s.hosts) {
			text := e.Event + " " + e.Host.Hostname + " " + e.Host.IPAddr
			for _, r := range e.rows {
				text += " " + r.mark + r.service.Name
			}
			got = append(got, text)
		}
		if diff := cmp.Diff(s.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.name, diff)
		}
	}
}

// An event carries the host as it is, services that were only missed once included.
func TestWatcherKeepsMissedServices(t *testing.T) {
	t.Parallel()
	a, b := reports.FoundService{Name: "a"}, reports.FoundService{Name: "b", Points: 1}
	var w watcher
	w.update([]*host{at("x", "pi", "10.0.0.1", a, b)})
	b.Points = 2
	events := w.update([]*host{at("x", "pi", "10.0.0.1", b)})
	if len(events) != 1 || !slices.Equal(events[0].Host.Services, []reports.FoundService{a, b}) {
		t.Errorf("events = %+v, want one with the services a and b", events)
	}
}

// TestWatcherFollows gives the watcher what a watch by UDP tells of one host after the other.
func TestWatcherFollows(t *testing.T) {
	t.Parallel()
	on, more := reports.FoundService{Name: "gpio", Status: reports.Online}, reports.FoundService{Name: "more"}
	restarted := at("a", "pi", "10.0.0.1", on)
	restarted.boot = "another"
	first := at("a", "pi", "10.0.0.1", on, more)
	first.boot = "one"
	w := watcher{}
	for _, tt := range []struct {
		do   func() []event
		want []string
	}{
		{func() []event { return w.see(first) }, []string{"join pi +gpio +more"}},
		{func() []event { return w.see(first) }, nil},
		{func() []event { return w.see(at("a", "pi", "10.0.0.1", on)) }, []string{"change pi -more"}}, // not missed: gone
		{func() []event { first.started = time.Time{}; return w.see(restarted) }, nil},                // its boot id was not known
		{func() []event { h := *restarted; h.boot = "third"; return w.see(&h) }, []string{"restart pi ~gpio"}},
		{func() []event { return w.see(at("a", "pie", "10.0.0.1", on)) }, []string{"loss pi -gpio", "join pie +gpio"}},
		{func() []event { return w.lose("b") }, nil},
		{func() []event { return w.lose("a") }, []string{"loss pie -gpio"}},
	} {
		var got []string
		for _, e := range tt.do() {
			text := e.Event + " " + e.Host.Hostname
			for _, r := range e.rows {
				text += " " + r.mark + r.service.Name
			}
			got = append(got, text)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("events %q, want %q", got, tt.want)
		}
	}
	if len(w.hosts) != 0 {
		t.Errorf("%d hosts left", len(w.hosts))
	}
	for i := range maxAtAddress {
		w.see(at(string(rune('A'+i)), "evil", "10.0.0.66"))
	}
	if w.room(at("new", "evil", "10.0.0.66")) || !w.room(at("A", "evil", "10.0.0.66")) || !w.room(at("new", "pi", "10.0.0.1")) {
		t.Errorf("room for more than %d hosts at one address, or for none at another", maxAtAddress)
	}
}
