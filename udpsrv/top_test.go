package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/internal/bus"
	"rollcall/reports"
)

func TestTopFilter(t *testing.T) {
	t.Parallel()
	row := topRow{host: "PiZero2", service: "gpio", function: "pins", path: "output/pump", class: "temperature humidity", status: "online"}
	for text, want := range map[string]bool{
		"": true, " , ": true, "pizero*": true, "zero": true, "PUMP": true, "fan": false, "service=gpio": true, "service=pins": true, "service=gp": false,
		"service=g*,class=humidity": true, "service=g*,class=voltage": false, "point=output/*": true, "point=*": false, "name=pi*,status=online": true,
		"status=offline": false, "name=zero": false,
	} {
		f, err := parseTopFilter(text)
		if err != nil || f.covers(row) != want {
			t.Errorf("filter %q covers: %t, %v, want %t", text, f.covers(row), err, want)
		}
	}
	for text, want := range map[string]string{"color=x": `"color" is none of name, service, class, point, status`, "name=[": `"[" is no pattern`, "a,[": `"[" is no pattern`} {
		if _, err := parseTopFilter(text); err == nil || err.Error() != want {
			t.Errorf("filter %q: %v, want %s", text, err, want)
		}
	}
}

func FuzzTopFilter(f *testing.F) {
	for _, s := range []string{"name=pi*", "a,b=", "=x", "class=[a-z]?", "\\"} {
		f.Add(s, "pizero2")
	}
	f.Fuzz(func(t *testing.T, text, host string) {
		filter, err := parseTopFilter(text)
		if err == nil && len(filter) == 0 && !filter.covers(topRow{host: host}) {
			t.Errorf("%q is empty and does not cover %q", text, host)
		}
		filter.covers(topRow{host: host, path: text})
	})
}

func TestSortRows(t *testing.T) {
	t.Parallel()
	now := time.Now()
	rows := []topRow{{host: "b", path: "x", value: "10", at: now, rate: 1}, {host: "a", path: "y", value: "9", at: now.Add(-time.Hour), rate: 3}, {host: "a", path: "x", value: "ON"}, {host: "c", path: "z", value: "9"}}
	for _, c := range []struct {
		order   string
		reverse bool
		want    string
	}{
		{byName, false, "ax ay bx cz"}, {byName, true, "cz bx ay ax"}, {byValue, false, "ay cz bx ax"}, {byValue, true, "ax bx ay cz"},
		{byAge, false, "bx ay ax cz"}, {byRate, false, "ay bx ax cz"}, {byRate, true, "ax cz bx ay"},
	} {
		sorted := slices.Clone(rows)
		sortRows(sorted, c.order, c.reverse)
		var got []string
		for _, r := range sorted {
			got = append(got, r.host+r.path)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("by %s, reversed %t: %q, want %q", c.order, c.reverse, got, c.want)
		}
	}
}

func TestSplitKeys(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]string{
		"q": {"q"}, "\x1b[A\x1b[6~x": {"\x1b[A", "\x1b[6~", "x"}, "\x1b": {"\x1b"}, "\x1bOH": {"\x1bOH"}, "äb": {"ä", "b"}, "\xff\xfe": {"\xff", "\xfe"}, "\x1b[": {"\x1b["}, "": nil,
		"\x1b[1;5Aq": {"\x1b[1;5A", "q"},
	} {
		if got := splitKeys(in); !slices.Equal(got, want) {
			t.Errorf("splitKeys(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzTopKeys: whatever a terminal sends, nothing of it is lost, and the view goes on.
func FuzzTopKeys(f *testing.F) {
	f.Add("/x\x7f\r\x1b[Avsr")
	f.Add("\xff\x1b[\x1bO")
	f.Fuzz(func(t *testing.T, typed string) {
		keys := splitKeys(typed)
		if strings.Join(keys, "") != typed {
			t.Errorf("splitKeys(%q) = %q", typed, keys)
		}
		v, m := &topView{view: viewPoints, order: byName}, newTopModel()
		for _, k := range keys {
			v.press(k)
		}
		lines := v.lines(m, terminal{}, 40, 10, time.Unix(0, 0))
		if len(lines) != 10 {
			t.Errorf("%d lines", len(lines))
		}
		for _, l := range lines {
			if clean(l) != l {
				t.Errorf("line %q", l)
			}
		}
	})
}

// TestTopModelIsBounded: a broker that says anything fills no more than there is room for, and what is no service is none.
func TestTopModelIsBounded(t *testing.T) {
	t.Parallel()
	m := newTopModel()
	h := at("aa01", "pi", "10.0.0.1", reports.FoundService{Name: "gpio", Status: reports.Online})
	key := keyOf(h)
	m.put(key, h)
	say := func(topic, payload string) {
		m.message(key, bus.Message{Topic: topic, Payload: []byte(payload)})
	}
	for i := range 2 * maxTopValues {
		say(fmt.Sprintf("/pi/gpio/x/%d", i), strings.Repeat("v", 2*maxTopText))
	}
	for i := range 2 * maxServices {
		say(fmt.Sprintf("/pi/s%d/status", i), "online")
	}
	for _, topic := range []string{"/other/gpio/x", "/pi/get/gpio", "/pi/set/status", "/pi/unknown/x", "", "/", "/pi", "/pi//x", "/pi/gpio/set/x"} {
		say(topic, "1")
	}
	say("/pi/gpio/description", `{"name":"other"}`)
	say("/pi/gpio/error", "two\nlines")
	got := m.hosts[key]
	s := got.services["gpio"]
	if len(got.services) != maxServices || len(s.values) != maxTopValues || s.described || len(s.values["x/0"].text) != maxTopText || s.err != "two lines" {
		t.Errorf("%d services, %d values, described %t, error %q", len(got.services), len(s.values), s.described, s.err)
	}
	for _, name := range []string{"get", "set", "unknown", ""} {
		if got.services[name] != nil {
			t.Errorf("%q became a service", name)
		}
	}
	say("/pi/s1/description", "")
	if got.services["s1"] != nil {
		t.Error("a service whose description is gone is still there")
	}
	m.drop(key)
	say("/pi/gpio/status", "online") // after it has gone
	if len(m.hosts) != 0 {
		t.Error("the host is still there")
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	var m meter
	for range 60 {
		m.n = 4
		m.tick(time.Second)
	}
	if math.Abs(m.rate-4) > 0.05 {
		t.Errorf("4 messages a second for a minute are %v", m.rate)
	}
	for range 120 {
		m.tick(time.Second)
	}
	if m.rate != 0 {
		t.Errorf("after two silent minutes the rate is %v", m.rate)
	}
	for d, want := range map[time.Duration]string{-time.Second: "0s", 59 * time.Second: "59s", time.Hour - 1: "59m", 99 * time.Hour: "99h", 200 * time.Hour: "8d"} {
		if got := briefAge(d); got != want {
			t.Errorf("briefAge(%s) = %s, want %s", d, got, want)
		}
	}
	for r, want := range map[float64]string{0: "-", 0.06: "0.06", 12.34: "12.3", 1234: "1234"} {
		if got := perSecond(r); got != want {
			t.Errorf("perSecond(%v) = %s, want %s", r, got, want)
		}
	}
}
