package janitoo

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"rollcall/reports"
)

// componentPrefix begins the key of a bus that makes a component.
const componentPrefix = "components."

// haddForm is an address of Janitoo: controller and node.
var haddForm = regexp.MustCompile(`^[0-9]{1,4}/[0-9]{1,4}$`)

// mostDelay is the longest delay that is believed.
const mostDelay = 24 * time.Hour

// isBus reports whether a section is of a bus: it has an address, or components, and is of no component itself.
func (s *section) isBus() bool {
	if s.name == "system" || s.name == "network" || strings.Contains(s.name, "__") {
		return false
	}
	return s.find("hadd") != nil || slices.ContainsFunc(s.keys, func(k *key) bool { return strings.HasPrefix(k.name, componentPrefix) })
}

// bus carries a bus and its components over.
func (im *importer) bus(f *file, s *section) {
	if k := s.take("auto_start"); k != nil && !truth(k.value) {
		s.refuse(k, "the bus is switched off, so that all of it is left out")
		for _, k := range s.keys {
			k.taken = true
		}
		return
	}
	c := &controller{node: s.node("", word(s.name)), section: s}
	for _, k := range s.keys {
		name, ok := strings.CutPrefix(k.name, componentPrefix)
		if !ok {
			continue
		}
		k.taken = true
		part := f.sectionFold(s.name + "__" + name)
		if part == nil {
			s.refuse(k, "[%s__%s] is missing; Janitoo leaves the component out too", shown(s.name), shown(name))
			continue
		}
		if n, ok := im.component(s, part, k); ok {
			c.nodes = append(c.nodes, n)
		}
	}
	im.place(c)
	for name, why := range map[string]string{
		"uuid": "it never goes on the wire", "hourly_timer": "there are no timers of a bus", "hourly_timer_lastrun": "there are no timers of a bus",
		"daily_timer_lastrun": "there are no timers of a bus", "extensions": "there are none", "loop_sleep": "services are ready at once; nothing has to wait",
	} {
		if k := s.find(name); k != nil && !k.taken {
			s.refuse(k, "%s", why)
		}
	}
	s.rest("no agent has this value of the bus")
}

// sectionFold returns the section of that name in letters of any size, or nil: keys have lost theirs.
func (f *file) sectionFold(name string) *section {
	for _, s := range f.sections {
		if strings.EqualFold(s.name, name) {
			return s
		}
	}
	return nil
}

// node takes what every node has.
func (s *section) node(kind, key string) node {
	n := node{key: key, kind: kind, polls: map[string]reports.Duration{}, values: map[string]string{}}
	if k := s.take("hadd"); k != nil {
		if hadd, ok := normal(k.value); ok {
			n.hadd = hadd
		} else {
			s.refuse(k, "it is no address CCCC/NNNN")
		}
	}
	n.name, n.location = s.label("name"), s.label("location")
	n.heartbeat, n.timeout = s.delay("heartbeat"), s.delay("config_timeout")
	return n
}

// longestBeat is the longest heartbeat and config_timeout (JANITOO.md §3.4).
const longestBeat = 3000 * time.Second

// delay takes a number of seconds, 0 where there is none.
func (s *section) delay(name string) reports.Duration {
	k := s.take(name)
	if k == nil {
		return 0
	}
	d, ok := seconds(k.value)
	if !ok || d < time.Second || d > longestBeat {
		s.refuse(k, "it is no delay from 1 to 3000 seconds")
		return 0
	}
	return reports.Duration(d)
}

// normal returns an address with four digits in each part.
func normal(s string) (string, bool) {
	if !haddForm.MatchString(s) {
		return "", false
	}
	ctrl, node, _ := strings.Cut(s, "/")
	four := func(s string) string { return strings.Repeat("0", 4-len(s)) + s }
	return four(ctrl) + "/" + four(node), true
}

// label takes a text for people.
func (s *section) label(name string) string {
	k := s.take(name)
	if k == nil {
		return ""
	}
	text := strings.Join(strings.Fields(k.value), " ")
	if len(text) > 80 || !plain(text) {
		s.refuse(k, "it is too long, or has characters that can't be printed")
		return ""
	}
	return text
}

// plain reports whether a text can stand in a line of a document.
func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// validHost reports whether a text is the name or address of a host.
func validHost(s string) bool {
	return s != "" && len(s) <= 253 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:-_") == "" && s[0] != '-' && s[0] != '.' && s[0] != ':'
}

// truth returns a flag as Janitoo reads one.
func truth(s string) bool {
	return !slices.Contains([]string{"", "0", "false", "off", "no"}, strings.ToLower(strings.TrimSpace(s)))
}

// seconds reads a delay as Python does: a number of seconds, whole or not.
func seconds(s string) (time.Duration, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > mostDelay.Seconds() {
		return 0, false
	}
	return time.Duration(math.Round(f*1000)) * time.Millisecond, true
}

// whole reads a whole number, which Python may have written as 6.0.
func whole(s string) (int, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || f != math.Trunc(f) || f < 0 || f > 1e6 {
		return 0, false
	}
	return int(f), true
}
