package main

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/reports"
)

// topRow is a row of top: a host, a service of it, or a point of that.
type topRow struct {
	host, addr, id          string
	service, function       string
	status                  string
	path, value, unit, note string
	class                   string
	at                      time.Time
	stale                   bool
	count                   int // points of a service, services of a host
	rate                    float64
}

// Views of top.
const (
	viewPoints   = "points"
	viewServices = "services"
	viewHosts    = "hosts"
)

var topViews = []string{viewPoints, viewServices, viewHosts} // never changed

// Orders of the rows.
const (
	byName  = "name"
	byValue = "value"
	byAge   = "age"
	byRate  = "rate"
)

var topOrders = []string{byName, byValue, byAge, byRate} // never changed

// rows returns the rows of a view, in no order.
func (m *topModel) rows(view string) (out []topRow) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.hosts {
		row := topRow{host: t.name, addr: t.addr, id: t.id, note: t.problem, count: len(t.services), rate: t.rate, status: string(reports.Online)}
		if t.problem != "" {
			row.status = "unread"
		}
		if view == viewHosts {
			for _, s := range t.services {
				if s.status == reports.Offline {
					row.stale = true
				}
			}
			out = append(out, row)
			continue
		}
		if len(t.services) == 0 {
			out = append(out, row)
		}
		for _, s := range t.services {
			out = append(out, s.rows(row, view)...)
		}
	}
	return out
}

// rows returns the row of a service, or those of its points.
func (s *topService) rows(of topRow, view string) (out []topRow) {
	of.service, of.function, of.status, of.rate, of.count = s.name, s.function, string(s.status), s.rate, len(s.points)
	of.note = cmp.Or(s.err, of.note)
	if s.simulated {
		of.note = strings.TrimSpace("simulated " + of.note)
	}
	for _, v := range s.values {
		if v.at.After(of.at) {
			of.at = v.at
		}
	}
	var classes []string
	for _, p := range s.points {
		classes = append(classes, p.Class)
	}
	of.class = strings.Join(classes, " ")
	if view == viewServices || len(s.points) == 0 {
		return []topRow{of}
	}
	for _, p := range s.points {
		row := of
		row.path, row.unit, row.class, row.value, row.at, row.rate = p.Path, p.Unit, p.Class, "", time.Time{}, 0
		if v := s.values[p.Path]; v != nil {
			row.value, row.at, row.stale, row.rate = v.text, v.at, v.stale, v.rate
		}
		out = append(out, row)
	}
	return out
}

// age says how old the value is.
func (r topRow) age(now time.Time) string {
	text := "-"
	if !r.at.IsZero() {
		text = briefAge(now.Sub(r.at))
	}
	if r.stale {
		text += "!"
	}
	return text
}

// briefAge returns a time in at most four letters.
func briefAge(d time.Duration) string {
	switch d = max(0, d); { // the clocks of two machines differ
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	case d < 100*time.Hour:
		return strconv.Itoa(int(d.Hours())) + "h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + "d"
}

// perSecond returns a rate in at most five letters.
func perSecond(rate float64) string {
	switch {
	case rate == 0:
		return "-"
	case rate < 10:
		return fmt.Sprintf("%.2f", rate)
	case rate < 100:
		return fmt.Sprintf("%.1f", rate)
	}
	return fmt.Sprintf("%.0f", rate)
}

// sortRows puts rows in order; those that are alike in it by their names.
func sortRows(rows []topRow, order string, reverse bool) {
	slices.SortFunc(rows, func(a, b topRow) int {
		c := 0
		switch order {
		case byValue:
			c = compareValues(a.value, b.value)
		case byAge:
			c = b.at.Compare(a.at)
		case byRate:
			c = cmp.Compare(b.rate, a.rate)
		}
		names := cmp.Or(strings.Compare(a.host, b.host), strings.Compare(a.addr, b.addr), strings.Compare(a.id, b.id), strings.Compare(a.service, b.service), strings.Compare(a.path, b.path))
		if reverse {
			c = -c
		}
		if order == byName && reverse {
			names = -names
		}
		return cmp.Or(c, names)
	})
}

// compareValues puts numbers by their size, before texts.
func compareValues(a, b string) int {
	x, errA := strconv.ParseFloat(a, 64)
	y, errB := strconv.ParseFloat(b, 64)
	switch {
	case errA == nil && errB == nil:
		return cmp.Compare(x, y)
	case errA == nil:
		return -1
	case errB == nil:
		return 1
	}
	return strings.Compare(a, b)
}

// topFilter is what rows must have in common, as --want says it and more: words with commas in between.
type topFilter []topTerm

// topTerm is a word of a filter: a pattern of what key says, or for no key a word in a name.
type topTerm struct{ key, pattern string }

var topKeys = []string{"name", "service", "class", "point", "status"} // never changed

// parseTopFilter reads a filter.
func parseTopFilter(text string) (topFilter, error) {
	var f topFilter
	for word := range strings.SplitSeq(strings.ToLower(text), ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		key, pattern, ok := strings.Cut(word, "=")
		if !ok {
			key, pattern = "", word
		} else if !slices.Contains(topKeys, key) {
			return nil, fmt.Errorf("%q is none of %s", key, strings.Join(topKeys, ", "))
		}
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("%q is no pattern", pattern)
		}
		f = append(f, topTerm{key, pattern})
	}
	return f, nil
}

// covers reports whether all words of the filter are true of a row.
func (f topFilter) covers(r topRow) bool {
	for _, term := range f {
		if !term.covers(r) {
			return false
		}
	}
	return true
}

func (t topTerm) covers(r topRow) bool {
	among := map[string][]string{"": {r.host, r.service, r.path}, "name": {r.host}, "service": {r.service, r.function}, "class": strings.Fields(r.class),
		"point": {r.path}, "status": {r.status}}[t.key]
	return slices.ContainsFunc(among, func(word string) bool {
		word = strings.ToLower(word)
		ok, _ := path.Match(t.pattern, word) // the pattern is one
		return ok || t.key == "" && strings.Contains(word, t.pattern)
	})
}

// topDoc is what top --json prints.
type topDoc struct {
	Hosts []topHostDoc `json:"hosts"`
}

// topHostDoc is a host as top --json prints it.
type topHostDoc struct {
	ID       string          `json:"id"`
	Hostname string          `json:"hostname"`
	IPAddr   string          `json:"ipaddr"`
	Error    string          `json:"error,omitempty"` // why its broker could not be read
	Services []topServiceDoc `json:"services"`
}

// topServiceDoc is a service of a topHostDoc.
type topServiceDoc struct {
	Name      string        `json:"name"`
	Function  string        `json:"function"`
	Status    string        `json:"status,omitempty"`
	Simulated bool          `json:"simulated,omitempty"`
	Error     string        `json:"error,omitempty"`
	Points    []topPointDoc `json:"points"`
}

// topPointDoc is a point of a topServiceDoc. A value is text as its topic has it; a point that nobody has heard of has none.
type topPointDoc struct {
	Path  string     `json:"path"`
	Value *string    `json:"value,omitempty"`
	Unit  string     `json:"unit,omitempty"`
	Time  *time.Time `json:"time,omitempty"` // since when it is known to be so
	Stale bool       `json:"stale,omitempty"`
}

// document returns what is known, sorted.
func (m *topModel) document(f topFilter) []topHostDoc {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := []topHostDoc{}
	for _, t := range m.hosts {
		h := topHostDoc{ID: t.id, Hostname: t.name, IPAddr: t.addr, Error: t.problem, Services: []topServiceDoc{}}
		for _, name := range slices.Sorted(maps.Keys(t.services)) {
			s := t.services[name]
			d := topServiceDoc{name, s.function, string(s.status), s.simulated, s.err, []topPointDoc{}}
			for _, p := range s.points {
				d.Points = append(d.Points, s.document(p))
			}
			rows := s.rows(topRow{host: t.name, status: string(s.status)}, viewPoints)
			if len(s.points) > 0 {
				d.Points = slices.DeleteFunc(d.Points, func(p topPointDoc) bool {
					return !slices.ContainsFunc(rows, func(r topRow) bool { return r.path == p.Path && f.covers(r) })
				})
			}
			if len(d.Points) > 0 || slices.ContainsFunc(rows, f.covers) {
				h.Services = append(h.Services, d)
			}
		}
		if len(h.Services) > 0 || f.covers(topRow{host: t.name}) {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b topHostDoc) int {
		return cmp.Or(strings.Compare(a.Hostname, b.Hostname), strings.Compare(a.ID, b.ID), strings.Compare(a.IPAddr, b.IPAddr))
	})
	return out
}

func (s *topService) document(p reports.Point) topPointDoc {
	d := topPointDoc{Path: p.Path, Unit: p.Unit}
	v := s.values[p.Path]
	if v == nil {
		return d
	}
	if d.Stale = v.stale; v.text != "" {
		d.Value = &v.text
	}
	if !v.at.IsZero() {
		at := v.at.UTC()
		d.Time = &at
	}
	return d
}
