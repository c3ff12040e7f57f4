// Package prometheus is the face that Prometheus scrapes: the points of hosts as metrics in the text exposition format 0.0.4. It is
// derived from the descriptions alone.
//
// Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and https://prometheus.io/docs/practices/naming/ (base
// units, ratios instead of percents, _total for counters).
package prometheus

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"rollcall/reports"
)

// ContentType is that of what Write makes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Types of metrics.
const (
	Gauge   = "gauge"
	Counter = "counter"
)

// Label is a name and what it is.
type Label struct{ Name, Value string }

// Sample is one value of a metric.
type Sample struct {
	Labels []Label
	Value  float64
}

// Metric is a metric with all its samples.
type Metric struct {
	Name, Help, Type string
	Samples          []Sample
}

// Write writes metrics by name, those of one name together: of two with different types, or of two samples with the same labels,
// the first holds.
func Write(all []Metric) []byte {
	slices.SortStableFunc(all, func(a, b Metric) int { return strings.Compare(a.Name, b.Name) })
	var out bytes.Buffer
	for first := 0; first < len(all); {
		m, last := all[first], first+1
		for last < len(all) && all[last].Name == m.Name {
			last++
		}
		out.WriteString("# HELP " + m.Name + " " + helpText.Replace(m.Help) + "\n# TYPE " + m.Name + " " + m.Type + "\n")
		seen := map[string]bool{}
		for _, same := range all[first:last] {
			for _, s := range same.Samples {
				line := labels(s.Labels)
				if same.Type == m.Type && !seen[line] {
					seen[line] = true
					out.WriteString(m.Name + line + " " + number(s.Value) + "\n")
				}
			}
		}
		first = last
	}
	return out.Bytes()
}

var (
	helpText  = strings.NewReplacer("\\", `\\`, "\n", `\n`)
	labelText = strings.NewReplacer("\\", `\\`, "\n", `\n`, `"`, `\"`)
)

func labels(all []Label) string {
	if len(all) == 0 {
		return ""
	}
	var parts []string
	for _, l := range all {
		parts = append(parts, l.Name+`="`+labelText.Replace(strings.ToValidUTF8(l.Value, "\ufffd"))+`"`)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 0):
		return map[bool]string{true: "+Inf", false: "-Inf"}[v > 0]
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// Points returns the points of all hosts that have a value, whether their services are up, and what the hosts are.
func Points(c reports.Cluster) []Metric {
	b := builder{}
	for _, h := range c.Hosts {
		host := Label{"host", h.Key}
		info := []Label{host}
		for _, l := range []Label{{"id", h.ID}, {"model", h.Model}, {"os", h.OS}, {"arch", h.Arch}, {"version", h.Version}} {
			if l.Value != "" {
				info = append(info, l)
			}
		}
		b.add("rollcall_host_info", Gauge, "A host and what it is: the value is always 1.", 1, info...)
		if h.Status != reports.Unknown {
			b.add("rollcall_host_up", Gauge, "Whether the host says that it is online.", Truth(h.Status == reports.Online), host)
		}
		for _, s := range h.Services {
			service := []Label{host, {"service", s.Name}}
			if s.Status != reports.Unknown {
				b.add("rollcall_service_up", Gauge, "Whether the service says that it is online.", Truth(s.Status == reports.Online), append(service, Label{"function", s.Function})...)
			}
			b.add("rollcall_service_error", Gauge, "Whether the service says that something is wrong.", Truth(s.Error != ""), service...)
			if s.Health != nil && s.Status != reports.Offline {
				b.health(service, *s.Health)
			}
			for _, p := range s.Points {
				if v, ok := s.Values[p.Path]; ok && p.Access.Has(reports.Get) && s.Status != reports.Offline {
					b.point(service, p, v)
				}
			}
		}
	}
	return b.metrics()
}

type builder struct {
	order []string
	all   map[string]*Metric
}

func (b *builder) add(name, kind, help string, v float64, l ...Label) {
	m := b.all[name]
	if m == nil {
		if b.all == nil {
			b.all = map[string]*Metric{}
		}
		m = &Metric{Name: name, Help: help, Type: kind}
		b.all[name] = m
		b.order = append(b.order, name)
	}
	m.Samples = append(m.Samples, Sample{slices.Clone(l), v})
}

func (b *builder) metrics() (out []Metric) {
	for _, name := range b.order {
		out = append(out, *b.all[name])
	}
	return out
}

// One returns a metric of one sample without labels.
func One(name, kind, help string, v float64) Metric {
	return Metric{Name: name, Type: kind, Help: help, Samples: []Sample{{Value: v}}}
}

// Truth returns 1 for true and 0 for false.
func Truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// health adds what a service has done.
func (b *builder) health(service []Label, h reports.Health) {
	for _, c := range h.Counters() {
		b.add("rollcall_service_"+c.Name+"_total", Counter, c.Help, float64(c.Value), service...)
	}
	if !h.Since.IsZero() {
		b.add("rollcall_service_start_time_seconds", Gauge, "When the service was started, in seconds of Unix time.", float64(h.Since.Unix()), service...)
	}
}

// point adds a point's value. Text has no number, and is left out.
func (b *builder) point(service []Label, p reports.Point, payload string) {
	at := append(slices.Clone(service), Label{"point", p.Path})
	switch p.Type {
	case reports.Bool:
		if payload == "ON" || payload == "OFF" {
			b.add("rollcall_state", Gauge, "A point that is on (1) or off (0).", Truth(payload == "ON"), append(at, Label{"class", p.Class})...)
		}
	case reports.Enum:
		for _, o := range p.Options {
			b.add("rollcall_option", Gauge, "An option of a point that has several: 1 is the one that holds.", Truth(o == payload), append(at, Label{"option", o})...)
		}
	case reports.Int, reports.Float:
		v, err := strconv.ParseFloat(payload, 64)
		if err != nil {
			return
		}
		name, extra, ok := Standard(p)
		if ok {
			kind := Gauge
			if strings.HasSuffix(name, "_total") {
				kind = Counter
			}
			b.add(name, kind, "As node_exporter has it.", v, append(slices.Clone(service[:1]), extra...)...)
			return
		}
		u := units[p.Unit]
		name = "rollcall_" + cmp.Or(word(p.Class), "value")
		help := "Points of the class " + cmp.Or(word(p.Class), "value") + "."
		if u.name != "" && word(p.Class) != u.name {
			name += "_" + u.name
		}
		kind := Gauge
		if p.StateClass == reports.TotalIncreasing {
			name, kind = name+"_total", Counter
		}
		if _, known := units[p.Unit]; !known {
			at = append(at, Label{"unit", p.Unit})
			u.factor = 1
		}
		b.add(name, kind, help, scale(v, u.factor), at...)
	}
}

// scale multiplies without the noise that a factor such as 0.01 makes of the last digits.
func scale(v, factor float64) float64 {
	if factor != 0 && factor < 1 {
		return v / math.Round(1/factor)
	}
	return v * factor
}

// word returns a class as a part of a metric's name.
func word(class string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '_'
	}, class), "_")
}

// units are the base units that Prometheus wants of those that points have. A unit that is not there is told as a label.
var units = map[string]struct {
	name   string
	factor float64
}{
	"": {"", 1}, "%": {"ratio", 0.01}, "ppm": {"ratio", 1e-6},
	"°C": {"celsius", 1}, "K": {"kelvin", 1}, "°": {"degrees", 1},
	"V": {"volts", 1}, "mV": {"volts", 1e-3}, "kV": {"volts", 1e3},
	"A": {"amperes", 1}, "mA": {"amperes", 1e-3},
	"W": {"watts", 1}, "mW": {"watts", 1e-3}, "kW": {"watts", 1e3}, "VA": {"voltamperes", 1},
	"J": {"joules", 1}, "Wh": {"joules", 3600}, "kWh": {"joules", 3.6e6}, "Ah": {"coulombs", 3600}, "mAh": {"coulombs", 3.6},
	"Hz": {"hertz", 1}, "kHz": {"hertz", 1e3}, "MHz": {"hertz", 1e6}, "GHz": {"hertz", 1e9}, "rpm": {"revolutions_per_minute", 1},
	"s": {"seconds", 1}, "ms": {"seconds", 1e-3}, "µs": {"seconds", 1e-6}, "min": {"seconds", 60}, "h": {"seconds", 3600}, "d": {"seconds", 86400},
	"m": {"meters", 1}, "cm": {"meters", 1e-2}, "mm": {"meters", 1e-3}, "km": {"meters", 1e3},
	"g": {"grams", 1}, "kg": {"grams", 1e3},
	"Pa": {"pascals", 1}, "hPa": {"pascals", 100}, "kPa": {"pascals", 1e3}, "mbar": {"pascals", 100}, "bar": {"pascals", 1e5},
	"B": {"bytes", 1}, "kB": {"bytes", 1e3}, "MB": {"bytes", 1e6}, "GB": {"bytes", 1e9}, "KiB": {"bytes", 1 << 10}, "MiB": {"bytes", 1 << 20}, "GiB": {"bytes", 1 << 30},
	"B/s": {"bytes_per_second", 1}, "kB/s": {"bytes_per_second", 1e3}, "MB/s": {"bytes_per_second", 1e6},
	"lx": {"lux", 1}, "L": {"liters", 1}, "m³": {"cubic_meters", 1}, "dBm": {"dbm", 1}, "dB": {"decibels", 1},
}

// Standard returns the name that the field has for the point, with its labels, where its description names one (reports.Point.Metric).
func Standard(p reports.Point) (name string, l []Label, ok bool) {
	name, rest, _ := strings.Cut(p.Metric, "{")
	if !strings.HasPrefix(name, reports.MetricPrefix) {
		return "", nil, false
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(rest, "}"), ",") {
		if k, v, found := strings.Cut(part, `="`); found {
			l = append(l, Label{k, strings.TrimSuffix(v, `"`)})
		}
	}
	return name, l, true
}
