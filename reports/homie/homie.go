// Package homie is the face that controllers of Homie 5 see: the host is a root device, each service a child of it, each point a
// property. It is derived from the descriptions alone.
//
// Source of all topics, keys and rules: the Homie convention 5, https://github.com/homieiot/convention/blob/develop/convention.md
// (PEERS.md §5.2).
package homie

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rollcall/reports"
)

// Face returns the face.
func Face() reports.Live {
	return reports.Live{
		Name:     "homie",
		Doc:      "devices, nodes and properties of the Homie convention 5",
		Example:  "domain: homie\n",
		Defaults: func() any { return &Options{Domain: "homie"} },
		New: func(options any, h reports.Host) (reports.Bridge, error) {
			o, ok := options.(*Options)
			if !ok {
				return nil, fmt.Errorf("homie: options are a %T", options)
			}
			return New(*o, h, time.Now().Unix()), nil
		},
	}
}

// Options are those of the configuration.
type Options struct {
	Domain string `yaml:"domain" doc:"the first segment of all topics"`
}

// Validate checks the options.
func (o *Options) Validate() error {
	if err := reports.ValidTopic(o.Domain); err != nil || strings.Contains(o.Domain, "/") {
		return errors.Join(fmt.Errorf("domain %q is no single segment of a topic", o.Domain), err)
	}
	return nil
}

// The states of a device.
const (
	initial      = "init"
	ready        = "ready"
	disconnected = "disconnected"
	lost         = "lost"
)

type bridge struct {
	host  reports.Host
	base  string // homie/5
	root  string // the id of the host's device
	first int64  // the least version of a description

	services map[string]*child // of the last Stands, by name
}

// child is a service as a device.
type child struct {
	id         string
	properties map[string]string // node/property by the point's path
	points     map[string]reports.Point
}

// New returns the face of a host. Versions of descriptions begin at first, which must be more than any before; the time in seconds
// is.
func New(o Options, h reports.Host, first int64) reports.Bridge {
	b := &bridge{host: h, base: o.Domain + "/5", first: first, services: map[string]*child{}}
	if b.root = id(h.Name); b.root != h.Name && h.ID != "" {
		b.root += "-" + id(h.ID[:min(6, len(h.ID))]) // so that Pi_1 and pi-1 stay two
	}
	return b
}

// id returns a name in the alphabet of Homie's ids, a-z, 0-9 and -.
func id(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, s)
}

// A description, with the keys of the convention. None is ever null.
type (
	description struct {
		Homie    string          `json:"homie"`
		Version  int64           `json:"version"`
		Name     string          `json:"name"`
		Type     string          `json:"type,omitempty"`
		Root     string          `json:"root,omitempty"`
		Children []string        `json:"children,omitempty"`
		Nodes    map[string]node `json:"nodes,omitempty"`
	}
	node struct {
		Name       string              `json:"name"`
		Properties map[string]property `json:"properties"`
	}
	property struct {
		Name     string `json:"name"`
		Datatype string `json:"datatype"`
		Format   string `json:"format,omitempty"`
		Unit     string `json:"unit,omitempty"`
		Settable bool   `json:"settable,omitempty"`
		Retained *bool  `json:"retained,omitempty"`
	}
)

// Stands returns the root device, then each service's, then what is wrong with one.
func (b *bridge) Stands(h reports.Host, before map[string]string) []reports.Group {
	b.services = map[string]*child{}
	taken := map[string]bool{b.root: true}
	var children []string
	var groups, alerts []reports.Group
	for _, s := range h.Services {
		c := &child{id: reports.Unique(taken, b.root+"-"+id(s.Name)), properties: map[string]string{}, points: map[string]reports.Point{}}
		b.services[s.Name] = c
		children = append(children, c.id)
		d := description{Homie: "5.0", Name: s.Name, Type: s.Function, Root: b.root, Nodes: c.nodes(s)}
		groups = append(groups, b.device(c.id, d, s.Name, state(s), before))
		if text := reports.OneLine(s.Error); text != "" {
			alerts = append(alerts, reports.Group{Before: []reports.Message{b.keep(c.id, "$alert/error", text)}})
		}
	}
	root := b.device(b.root, description{Homie: "5.0", Name: b.host.Name, Type: "host", Children: children}, "", ready, before)
	return slices.Concat([]reports.Group{root}, groups, alerts)
}

// state returns the state of a service's device. One that went with an error on its lips is lost.
func state(s reports.HostService) string {
	switch {
	case s.Status != reports.Offline:
		return ready
	case s.Error != "":
		return lost
	}
	return disconnected
}

// device returns what stands for a device: it is in the state init while its description and values come.
func (b *bridge) device(id string, d description, service, state string, before map[string]string) reports.Group {
	var was description
	if json.Unmarshal([]byte(before[b.base+"/"+id+"/$description"]), &was) == nil && was.Version > 0 {
		d.Version = was.Version
		if text(d) != text(was) {
			d.Version = max(was.Version+1, b.first)
		}
	} else {
		d.Version = b.first
	}
	return reports.Group{
		Before:  []reports.Message{b.keep(id, "$state", initial), b.keep(id, "$description", text(d))},
		Service: service,
		After:   []reports.Message{b.keep(id, "$state", state)},
	}
}

func text(d description) string {
	out, err := json.Marshal(d)
	if err != nil {
		panic(err) // strings, numbers and maps of them
	}
	return string(out)
}

func (b *bridge) keep(device, tail, payload string) reports.Message {
	return reports.Message{Topic: b.base + "/" + device + "/" + tail, Payload: payload, QoS: 1, Retained: true}
}

// single is the node of the points that stand alone.
const single = "points"

// nodes returns the points of a service by node and property, and remembers which is which.
func (c *child) nodes(s reports.HostService) map[string]node {
	nodes, taken := map[string]node{}, map[string]bool{}
	names := map[string]string{}         // of nodes, by the first segment
	keys := map[string]map[string]bool{} // of properties that are taken, by node
	for _, p := range s.Points {
		first, rest, below := strings.Cut(p.Path, "/")
		name, word := first, id(first)
		if !below {
			first, rest, name, word = "", p.Path, s.Name, single
		}
		n, ok := names[first]
		if !ok {
			n = reports.Unique(taken, word)
			names[first], keys[n] = n, map[string]bool{}
			nodes[n] = node{Name: name, Properties: map[string]property{}}
		}
		key := reports.Unique(keys[n], id(rest))
		nodes[n].Properties[key] = describe(p)
		c.properties[p.Path], c.points[n+"/"+key] = n+"/"+key, p
	}
	return nodes
}

// timestamp is the class of texts that are times of ISO 8601.
const timestamp = "timestamp"

// describe returns a point as a property.
func describe(p reports.Point) property {
	out := property{Name: reports.OneLine(p.Label), Unit: reports.OneLine(p.Unit), Settable: p.Access.Has(reports.Set)}
	if out.Name == "" {
		out.Name = p.Path
	}
	if !p.Access.Has(reports.Get) {
		out.Retained = new(bool)
	}
	switch p.Type {
	case reports.Bool:
		out.Datatype, out.Format = "boolean", "off,on"
	case reports.Int:
		out.Datatype, out.Format = "integer", span(p)
	case reports.Float:
		out.Datatype, out.Format = "float", span(p)
	case reports.Enum:
		out.Datatype, out.Format = "enum", strings.Join(p.Options, ",")
		if slices.ContainsFunc(p.Options, func(o string) bool { return o == "" || strings.Contains(o, ",") }) {
			out.Datatype, out.Format = "string", "" // its format has no way to say that
		}
	case reports.JSON:
		out.Datatype = "json"
	default:
		out.Datatype = "string"
		if p.Class == timestamp {
			out.Datatype = "datetime"
		}
	}
	return out
}

// span returns the format of a number: [min]:[max][:step].
func span(p reports.Point) string {
	if p.Min == nil && p.Max == nil && p.Step == nil {
		return ""
	}
	number := func(v *float64) string {
		if v == nil {
			return ""
		}
		return reports.FormatValue(*v)
	}
	out := number(p.Min) + ":" + number(p.Max)
	if p.Step != nil {
		out += ":" + number(p.Step)
	}
	return out
}

// value returns a payload of a point's topic as the convention has it; "" is none.
func value(p reports.Point, payload string) string {
	if p.Type == reports.String && p.Class == timestamp {
		if _, err := time.Parse(time.RFC3339, payload); err != nil {
			return ""
		}
	}
	if p.Type != reports.Bool {
		return payload
	}
	switch payload {
	case "ON":
		return "true"
	case "OFF":
		return "false"
	}
	return ""
}

// Said returns the property's value, and for one that can be set that this is what it is meant to be.
func (b *bridge) Said(s reports.HostService, p reports.Point, payload string) []reports.Message {
	c := b.services[s.Name]
	if c == nil || c.properties[p.Path] == "" {
		return nil
	}
	m := b.keep(c.id, c.properties[p.Path], value(p, payload))
	if m.Retained = p.Access.Has(reports.Get); !m.Retained {
		m.QoS = 0
	} else if p.Access.Has(reports.Set) {
		target := m
		target.Topic += "/$target"
		return []reports.Message{target, m}
	}
	return []reports.Message{m}
}

// broadcast is where programs of the host hear Homie's broadcasts, below the host's topic.
const broadcast = "broadcast"

// result is where the answers to what was set through Homie go: not below the host's own topics, which no answer may go to.
func (b *bridge) result() string { return "rollcall/" + b.host.Name + "/homie" }

// Filters returns the topics of the properties' set, of the broadcasts, of the results, and of the services' logs.
func (b *bridge) Filters() []string {
	return []string{b.base + "/+/+/+/set", b.base + "/$broadcast/#", b.result(), "/" + b.host.Name + "/+/log"}
}

// Heard makes a command of a property's set, tells of one that was refused, and hands broadcasts and logs on.
func (b *bridge) Heard(h reports.Host, m reports.Message) ([]reports.Message, bool) {
	rest, homie := strings.CutPrefix(m.Topic, b.base+"/")
	sub, cast := strings.CutPrefix(rest, "$broadcast/")
	switch {
	case m.Retained: // a ghost of an earlier command must not switch anything
		return nil, false
	case homie && cast:
		return []reports.Message{{Topic: "/" + h.Name + "/" + broadcast + "/" + sub, Payload: m.Payload, QoS: 1}}, false
	case homie:
		return b.set(rest, m.Payload), false
	case m.Topic == b.result():
		return b.refused(h, m.Payload), false
	}
	return b.log(m), false
}

// set returns the command of device/node/property/set.
func (b *bridge) set(rest, payload string) []reports.Message {
	segs := strings.Split(rest, "/")
	for name, c := range b.services {
		if c.id != segs[0] || len(segs) != 4 {
			continue
		}
		p, ok := c.points[segs[1]+"/"+segs[2]]
		if !ok || !p.Access.Has(reports.Set) {
			return []reports.Message{b.say(c.id, "warn", fmt.Sprintf("%s/%s can't be set", segs[1], segs[2]))}
		}
		command, err := json.Marshal(map[string]any{"value": setValue(p, payload), "id": name + "/" + p.Path, "reply": b.result()})
		if err != nil {
			return nil // strings only, and JSON that has been parsed
		}
		out := []reports.Message{{Topic: reports.Topics{Host: b.host.Name, Service: name}.To("set/" + p.Path), Payload: string(command), QoS: 1}}
		if p.Access.Has(reports.Get) {
			out = append([]reports.Message{b.keep(c.id, segs[1]+"/"+segs[2]+"/$target", payload)}, out...)
		}
		return out
	}
	return nil
}

// setValue returns what a set of the point is to name. What is no JSON where JSON is wanted goes as it is: the service refuses it.
func setValue(p reports.Point, payload string) any {
	switch {
	case p.Type == reports.JSON && json.Valid([]byte(payload)):
		return json.RawMessage(payload)
	case p.Type == reports.Bool && payload != "true" && payload != "false":
		return "neither true nor false: " + payload // the convention knows no ON and no 1
	}
	return payload
}

// refused tells of a set that failed: what the property is meant to be is what it is.
func (b *bridge) refused(h reports.Host, payload string) []reports.Message {
	var r struct {
		ID    string `json:"id"`
		OK    bool   `json:"ok"`
		Error string `json:"error"`
	}
	if json.Unmarshal([]byte(payload), &r) != nil || r.OK {
		return nil
	}
	name, path, _ := strings.Cut(r.ID, "/")
	c := b.services[name]
	if c == nil || c.properties[path] == "" {
		return nil
	}
	out := []reports.Message{b.say(c.id, "error", "set "+path+": "+reports.OneLine(r.Error))}
	for _, s := range h.Services {
		if p, ok := s.Point(path); s.Name == name && ok && p.Access.Has(reports.Get) {
			out = append(out, b.keep(c.id, c.properties[path]+"/$target", value(p, s.Values[path])))
		}
	}
	return out
}

// log hands a line of a service's log on.
func (b *bridge) log(m reports.Message) []reports.Message {
	segs := strings.Split(strings.TrimPrefix(m.Topic, "/"), "/")
	var line struct {
		Level string `json:"level"`
		Msg   string `json:"msg"`
	}
	if len(segs) != 3 || b.services[segs[1]] == nil || json.Unmarshal([]byte(m.Payload), &line) != nil {
		return nil
	}
	level := strings.ToLower(line.Level)
	if !slices.Contains([]string{"debug", "info", "warn", "error", "fatal"}, level) {
		level = "info"
	}
	return []reports.Message{b.say(b.services[segs[1]].id, level, line.Msg)}
}

func (b *bridge) say(device, level, text string) reports.Message {
	return reports.Message{Topic: b.base + "/" + device + "/$log/" + level, Payload: reports.OneLine(text)}
}

// Ends has the root device lost where the host is, and disconnected where it stops: that holds for its children, too.
func (b *bridge) Ends() (gone, stops []reports.Message) {
	return []reports.Message{b.keep(b.root, "$state", lost)}, []reports.Message{b.keep(b.root, "$state", disconnected)}
}
