package reports

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Type is the type of a point's value.
type Type string

// The types of values, with the Go type that a checked value of each has.
const (
	Bool   Type = "bool"   // bool; on the wire ON or OFF
	Int    Type = "int"    // int64
	Float  Type = "float"  // float64, finite
	String Type = "string" // string, valid UTF-8
	Enum   Type = "enum"   // string, one of Point.Options
	JSON   Type = "json"   // what encoding/json makes of any value
)

// Access says what can be done with a point; the bits combine.
type Access uint8

// What can be done with a point.
const (
	Get   Access = 1 << iota // its value can be asked for and is published as retained state
	Set                      // it can be set
	Event                    // it is published when something happens, and not retained
)

var accessNames = []string{"get", "set", "event"}

// Has reports whether all of b is in a.
func (a Access) Has(b Access) bool { return a&b == b }

// MarshalJSON writes the access as a list of words: ["get","set"].
func (a Access) MarshalJSON() ([]byte, error) {
	words := []string{}
	for i, w := range accessNames {
		if a&(1<<i) != 0 {
			words = append(words, w)
		}
	}
	return json.Marshal(words)
}

// UnmarshalJSON reads the list that MarshalJSON writes and refuses words that it does not know.
func (a *Access) UnmarshalJSON(b []byte) error {
	var words []string
	if err := json.Unmarshal(b, &words); err != nil {
		return err
	}
	*a = 0
	for _, w := range words {
		i := slices.Index(accessNames, w)
		if i < 0 {
			return fmt.Errorf("unknown access %q", w)
		}
		*a |= 1 << i
	}
	return nil
}

// Genre says for whom a point is: what a person uses day to day, or what the machinery has.
type Genre string

// The genres, in the words of Janitoo (JANITOO.md §1.4).
const (
	Basic   Genre = "basic"
	User    Genre = "user"
	Config  Genre = "config"
	System  Genre = "system"
	Control Genre = "command"
)

// Duration is a time.Duration that is written as Go writes one ("1m30s") in JSON and YAML.
type Duration time.Duration

// String returns the duration as time.Duration writes it.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the duration as time.Duration writes it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads; a negative duration is refused.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration like 500ms, 10s or 1h30m", b)
	}
	if v < 0 {
		return fmt.Errorf("duration %q is negative", b)
	}
	*d = Duration(v)
	return nil
}

// Point is one thing of a service that can be read, set or listened to. It is described once, by the agent; every topic,
// document and protocol is derived from it.
type Point struct {
	Path    string   `json:"path"` // the tail of every topic of this point, such as "input/door"
	Label   string   `json:"label,omitempty"`
	Help    string   `json:"help,omitempty"`
	Type    Type     `json:"type"`
	Access  Access   `json:"access"`
	Unit    string   `json:"unit,omitempty"` // "°C", "%", "V", "m", "B/s": as Home Assistant and Homie both spell it
	Min     *float64 `json:"min,omitempty"`  // least value of an int or float, inclusive
	Max     *float64 `json:"max,omitempty"`  // greatest value of an int or float, inclusive
	Step    *float64 `json:"step,omitempty"` // what a slider should step by; not enforced
	Options []string `json:"options,omitempty"`
	Args    []string `json:"args,omitempty"` // further keys that a set of this point takes beside value, such as "for"
	Genre   Genre    `json:"genre,omitempty"`
	Class   string   `json:"class,omitempty"` // device class: temperature, humidity, distance, voltage, …
	Poll    Duration `json:"poll,omitempty"`  // how often it is read; 0: published on change only

	Heartbeat  Duration `json:"heartbeat,omitempty"`   // how often it is published at least; 0: only when there is something new
	Metric     string   `json:"metric,omitempty"`      // of a number: its name in node_exporter, as node_filesystem_size_bytes{mountpoint="/"}
	StateClass string   `json:"state_class,omitempty"` // of a number that is counted: Total or TotalIncreasing; "": it is measured
	Janitoo    string   `json:"janitoo,omitempty"`     // what Janitoo calls it, as hostsensor.load/load[0]=1 minutes; "": it has no name for it (ParseAlias)
}

// MetricPrefix begins every Point.Metric: the names of node_exporter (PEERS.md §4.5). All others are derived.
const MetricPrefix = "node_"

var metric = regexp.MustCompile(`^node_[a-zA-Z0-9_]+(\{[a-z_]+="[^"\\\n,]*"(,[a-z_]+="[^"\\\n,]*")*\})?$`)

// Words of Point.StateClass, which are Home Assistant's: a count that only grows, but for beginning anew at 0, and one that may be
// set to any value.
const (
	TotalIncreasing = "total_increasing"
	Total           = "total"
)

// Ptr returns a pointer to v, for Min, Max and Step.
func Ptr(v float64) *float64 { return &v }

// MarshalJSON writes the point with its JSON Schema under "schema"; decoding ignores that key.
func (p Point) MarshalJSON() ([]byte, error) {
	type plain Point
	return json.Marshal(struct {
		plain
		Schema map[string]any `json:"schema"`
	}{plain(p), p.Schema()})
}

// Schema returns the JSON Schema (draft 2020-12) of the point's value as it stands in JSON. A bool is ON or OFF, as on the
// wire.
func (p Point) Schema() map[string]any {
	s := map[string]any{}
	switch p.Type {
	case Bool:
		s["type"], s["enum"] = "string", []string{"ON", "OFF"}
	case Int:
		s["type"] = "integer"
	case Float:
		s["type"] = "number"
	case String:
		s["type"] = "string"
	case Enum:
		s["type"], s["enum"] = "string", p.Options
	}
	if p.Type == Int || p.Type == Float {
		if p.Min != nil {
			s["minimum"] = *p.Min
		}
		if p.Max != nil {
			s["maximum"] = *p.Max
		}
	}
	return s
}

// Validate returns an error that names what is wrong with the description of the point, or nil.
func (p Point) Validate() error {
	if err := ValidPath(p.Path); err != nil {
		return err
	}
	switch {
	case !slices.Contains([]Type{Bool, Int, Float, String, Enum, JSON}, p.Type):
		return Errorf(CodeWrongType, "point %q: unknown type %q", p.Path, p.Type)
	case p.Access == 0 || p.Access > Get|Set|Event:
		return Errorf(CodeWrongType, "point %q: access %d says nothing", p.Path, p.Access)
	case p.Poll < 0:
		return Errorf(CodeOutOfRange, "point %q: poll %v is negative", p.Path, p.Poll)
	case p.Heartbeat < 0:
		return Errorf(CodeOutOfRange, "point %q: heartbeat %v is negative", p.Path, p.Heartbeat)
	case p.Metric != "" && (!metric.MatchString(p.Metric) || p.Type != Int && p.Type != Float):
		return Errorf(CodeWrongType, "point %q: metric %.64q of a point of type %s", p.Path, p.Metric, p.Type)
	case !slices.Contains([]string{"", Total, TotalIncreasing}, p.StateClass), p.StateClass != "" && p.Type != Int && p.Type != Float:
		return Errorf(CodeWrongType, "point %q: state class %q of a point of type %s", p.Path, p.StateClass, p.Type)
	}
	if p.Janitoo != "" {
		if _, err := ParseAlias(p.Janitoo); err != nil {
			return Errorf(CodeBadPayload, "point %q: %w", p.Path, err)
		}
	}
	for _, a := range p.Args {
		if a == "id" || a == "reply" || a == "value" {
			return Errorf(CodeBadPayload, "point %q: argument %q is a word of the interface", p.Path, a)
		}
	}
	if err := p.validOptions(); err != nil {
		return err
	}
	return p.validBounds()
}

func (p Point) validOptions() error {
	if (p.Type == Enum) != (len(p.Options) > 0) {
		return Errorf(CodeWrongType, "point %q: options and type enum go together", p.Path)
	}
	for i, o := range p.Options {
		switch {
		case !utf8.ValidString(o):
			return Errorf(CodeWrongType, "point %q: option %q is not UTF-8", p.Path, o)
		case slices.Contains(p.Options[:i], o):
			return Errorf(CodeWrongType, "point %q: option %q stands twice", p.Path, o)
		}
	}
	return nil
}

func (p Point) validBounds() error {
	for _, v := range []*float64{p.Min, p.Max, p.Step} {
		if v != nil && (math.IsNaN(*v) || math.IsInf(*v, 0)) {
			return Errorf(CodeOutOfRange, "point %q: a bound is not finite", p.Path)
		}
	}
	switch {
	case p.Min != nil && p.Max != nil && *p.Min > *p.Max:
		return Errorf(CodeOutOfRange, "point %q: min %v > max %v", p.Path, *p.Min, *p.Max)
	case p.Step != nil && *p.Step <= 0:
		return Errorf(CodeOutOfRange, "point %q: step %v is not positive", p.Path, *p.Step)
	}
	return nil
}

// Service is what a service says of itself: the one description that every interface is derived from.
type Service struct {
	Name     string  `json:"name"`     // its segment in every topic
	Function string  `json:"function"` // what it is: gpio, ain, hostsensor, …
	Version  string  `json:"version,omitempty"`
	Inputs   string  `json:"inputs"`  // topic that commands go below: /pizero2/gpio/set
	Outputs  string  `json:"outputs"` // topic that states stand below: /pizero2/gpio
	Control  string  `json:"control"` // topic for control blocks: /pizero2/gpio/control
	Points   []Point `json:"points"`

	Simulated bool `json:"simulated,omitempty"` // its hardware is made up, as somebody has asked for in words
}

// On returns the service with its interface topics on host filled in; those that are set already stay.
func (s Service) On(host string) Service {
	t := Topics{Host: host, Service: s.Name}
	if s.Inputs == "" {
		s.Inputs = t.To("set")
	}
	if s.Outputs == "" {
		s.Outputs = t.Base()
	}
	if s.Control == "" {
		s.Control = t.To("control")
	}
	return s
}

// Point returns the point with the path, and whether there is one.
func (s Service) Point(path string) (Point, bool) {
	i := slices.IndexFunc(s.Points, func(p Point) bool { return p.Path == path })
	if i < 0 {
		return Point{}, false
	}
	return s.Points[i], true
}

// Below returns the points at or below path, in the service's order; "" names all.
func (s Service) Below(path string) []Point {
	var out []Point
	for _, p := range s.Points {
		if path == "" || p.Path == path || strings.HasPrefix(p.Path, path+"/") {
			out = append(out, p)
		}
	}
	return out
}

// ParseService reads a description that the service with the name has published: nested no deeper than MaxDepth, and valid.
func ParseService(payload []byte, name string) (Service, error) {
	if Depth(payload) > MaxDepth {
		return Service{}, fmt.Errorf("description is nested deeper than %d", MaxDepth)
	}
	var s Service
	if err := json.Unmarshal(payload, &s); err != nil {
		return Service{}, fmt.Errorf("description: %w", err)
	}
	if s.Name != name {
		return Service{}, fmt.Errorf("description is that of %q", s.Name)
	}
	return s, s.Validate()
}

// Validate returns the first thing wrong with the description: a bad name, a bad point, a path that stands twice or that is
// a branch of another.
func (s Service) Validate() error {
	if err := ValidName(s.Name); err != nil {
		return err
	}
	if err := ValidName(s.Function); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, p := range s.Points {
		if err := p.Validate(); err != nil {
			return err
		}
		if seen[p.Path] {
			return Errorf(CodeBadTopic, "point %q stands twice", p.Path)
		}
		seen[p.Path] = true
	}
	for _, p := range s.Points {
		for i := range p.Path {
			if p.Path[i] == '/' && seen[p.Path[:i]] {
				return Errorf(CodeBadTopic, "point %q lies below point %q", p.Path, p.Path[:i])
			}
		}
	}
	return nil
}

// String returns the words of the access with commas between them.
func (a Access) String() string {
	var words []string
	for i, w := range accessNames {
		if a&(1<<i) != 0 {
			words = append(words, w)
		}
	}
	return strings.Join(words, ", ")
}
