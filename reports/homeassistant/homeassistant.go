// Package homeassistant is the face that Home Assistant sees: device-based discovery over MQTT, one device a host, one component
// a point. It is derived from the descriptions alone.
//
// Source of all keys and rules: https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload, the pages of the
// platforms beside it, and the lists of device classes of the developers' documentation (PEERS.md §5.1).
package homeassistant

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rollcall/reports"
)

// Face returns the face.
func Face() reports.Live {
	return reports.Live{
		Name:     "homeassistant",
		Doc:      "devices and entities of Home Assistant, by its MQTT discovery",
		Example:  "prefix: homeassistant\n",
		Defaults: func() any { return &Options{Prefix: "homeassistant"} },
		New: func(options any, h reports.Host) (reports.Bridge, error) {
			o, ok := options.(*Options)
			if !ok {
				return nil, fmt.Errorf("homeassistant: options are a %T", options)
			}
			return bridge{*o, h}, nil
		},
	}
}

// Options are those of the configuration.
type Options struct {
	Prefix string `yaml:"prefix" doc:"the discovery prefix that Home Assistant is set to"`
	Area   string `yaml:"area" doc:"the area that is suggested for the device"`
}

// Validate checks the options.
func (o *Options) Validate() error {
	if err := reports.ValidTopic(o.Prefix); err != nil || strings.HasSuffix(o.Prefix, "/") {
		return errors.Join(fmt.Errorf("prefix %q is no topic that others can stand below", o.Prefix), err)
	}
	return nil
}

type bridge struct {
	o    Options
	host reports.Host
}

// object is a JSON object.
type object = map[string]any

// Topic returns where the discovery of the host stands. It names the host by its id, so that a renamed host stays the same device.
func (b bridge) topic() string { return b.o.Prefix + "/device/" + b.id() + "/config" }

// id names the device: the host's id, which survives a renaming, or its name where it has none.
func (b bridge) id() string {
	if b.host.ID == "" {
		return "rollcall_" + b.host.Name
	}
	return "rollcall_" + escape(b.host.ID)
}

// Stands returns the discovery of the host. Components that stood there before and are gone now are removed as Home Assistant
// wants it: named with nothing but their platform first, and left out then.
func (b bridge) Stands(h reports.Host, before map[string]string) []reports.Group {
	components := object{}
	for _, s := range h.Services {
		for _, p := range s.Points {
			components[b.unique(s, p)] = b.component(s, p)
		}
	}
	topic := b.topic()
	if len(components) == 0 {
		return nil
	}
	var out []reports.Message
	if gone := removed(before[topic], components); len(gone) > 0 {
		all := object{}
		for id, c := range components {
			all[id] = c
		}
		for id, platform := range gone {
			all[id] = object{"p": platform}
		}
		out = append(out, b.config(topic, all))
	}
	return []reports.Group{{Before: append(out, b.config(topic, components))}}
}

// removed returns the platforms of the components that a discovery had and that are not in the new one, by their ids.
func removed(before string, now object) map[string]string {
	var was struct {
		Components map[string]struct {
			P string `json:"p"`
		} `json:"cmps"`
	}
	if json.Unmarshal([]byte(before), &was) != nil {
		return nil
	}
	out := map[string]string{}
	for id, c := range was.Components {
		if n, ok := now[id]; !ok || n.(object)["p"] != c.P { // one that is another kind of thing now is gone, too
			out[id] = c.P
		}
	}
	return out
}

func (b bridge) config(topic string, components object) reports.Message {
	payload, err := json.Marshal(object{"dev": b.device(), "o": object{"name": "rollcall", "sw": b.host.Version}, "qos": 1, "cmps": components})
	if err != nil {
		panic(err) // maps of strings, numbers and lists of them
	}
	return reports.Message{Topic: topic, Payload: string(payload), QoS: 1, Retained: true}
}

func (b bridge) device() object {
	d := object{"ids": []string{b.id()}, "name": b.host.Name}
	if b.host.MAC != "" {
		d["cns"] = [][]string{{"mac", b.host.MAC}}
	}
	for key, text := range map[string]string{"mdl": b.host.Model, "sw": b.host.Version, "hw": b.host.Arch, "sa": b.o.Area} {
		if text != "" {
			d[key] = text
		}
	}
	return d
}

// unique returns the id of a point's component, in the alphabet of Home Assistant's ids.
func (b bridge) unique(s reports.HostService, p reports.Point) string {
	return b.id() + "_" + escape(s.Name+"/"+p.Path)
}

// escape returns a path in a-z, 0-9, _ and -, so that no two become the same: / is --, and what else is not in there its code, as -2e-.
func escape(s string) string {
	var out strings.Builder
	for _, r := range []byte(s) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
			out.WriteByte(r)
		case r == '/':
			out.WriteString("--")
		default:
			fmt.Fprintf(&out, "-%02x-", r)
		}
	}
	return out.String()
}

// component returns the entity of a point.
func (b bridge) component(s reports.HostService, p reports.Point) object {
	t := b.host.Topics(s)
	c := object{
		"unique_id": b.unique(s, p),
		"name":      name(s, p),
		"availability": []object{
			{"topic": reports.HostStatus(b.host.Name)},
			{"topic": t.To("status")},
		},
		"availability_mode": "all",
	}
	get, set := p.Access.Has(reports.Get), p.Access.Has(reports.Set)
	if get || p.Access == reports.Event {
		c["state_topic"] = t.To(p.Path)
	}
	if set {
		c["command_topic"] = t.To("set/" + p.Path)
	}
	switch {
	case set:
		settable(c, p, get)
	case get:
		readable(c, p)
	default:
		event(c, p)
	}
	if category := category(p, set); category != "" {
		c["entity_category"] = category
	}
	return c
}

// name returns the entity's name. It does not repeat the device's, and says which service where the label alone does not.
func name(s reports.HostService, p reports.Point) string {
	label := reports.OneLine(p.Label)
	if label == "" {
		label = strings.ReplaceAll(p.Path, "/", " ")
	}
	return s.Name + " " + label
}

// category returns the entity_category: config is for what can be set, diagnostic for what can only be read.
func category(p reports.Point, set bool) string {
	switch p.Genre {
	case reports.Config, reports.System:
		if set {
			return "config"
		}
		return "diagnostic"
	}
	return ""
}

// none has Home Assistant show a value that is not there any more, an empty payload, as unknown.
const none = "{{ value if value != '' else 'None' }}"

// settable makes a component of a point that can be set. Where it can't be read, what was set is taken to hold.
func settable(c object, p reports.Point, get bool) {
	if get {
		c["value_template"] = none
	} else if p.Type != reports.String && p.Type != reports.JSON { // text has no such key
		c["optimistic"] = true
	}
	switch p.Type {
	case reports.Bool:
		c["p"], c["payload_on"], c["payload_off"] = "switch", "ON", "OFF"
		switch {
		case !get && p.Genre == reports.Control:
			without(c, "payload_on", "payload_off", "optimistic")
			c["p"], c["payload_press"] = "button", "ON"
		case p.Class == "light" && get:
			without(c, "value_template")
			c["p"], c["state_value_template"] = "light", none
		case slices.Contains(switchClasses, p.Class):
			c["device_class"] = p.Class
		}
	case reports.Int, reports.Float:
		c["p"], c["mode"] = "number", "auto"
		c["min"], c["max"] = bounds(p)
		c["step"] = step(p)
		quantity(c, p, numberClasses)
	case reports.Enum:
		c["p"], c["options"] = "select", p.Options
	default: // text is at most 255 characters there, as every state is
		c["p"], c["max"] = "text", 255
		if get {
			c["value_template"] = short
		}
	}
}

// short has of a long value the part that Home Assistant can hold.
const short = "{{ value[:255] }}"

// Bounds of a number that has none of its own: Home Assistant takes 1 to 100 where none is told.
const mostNumber = 1e9

func bounds(p reports.Point) (low, high float64) {
	low, high = -mostNumber, mostNumber
	if p.Min != nil {
		low = *p.Min
	}
	if p.Max != nil {
		high = *p.Max
	}
	return low, max(high, low)
}

// step returns what the number steps by: at least 0.001 there.
func step(p reports.Point) float64 {
	switch {
	case p.Step != nil:
		return max(*p.Step, 0.001)
	case p.Type == reports.Int:
		return 1
	}
	return 0.001
}

// readable makes a component of a point that can only be read.
func readable(c object, p reports.Point) {
	c["value_template"] = none
	if p.Heartbeat > 0 {
		c["expire_after"] = expiry(p)
	}
	switch p.Type {
	case reports.Bool:
		c["p"], c["payload_on"], c["payload_off"] = "binary_sensor", "ON", "OFF"
		if slices.Contains(binaryClasses, p.Class) {
			c["device_class"] = p.Class
		}
	case reports.Enum:
		c["p"], c["device_class"], c["options"] = "sensor", "enum", p.Options
	case reports.Int, reports.Float:
		c["p"], c["state_class"] = "sensor", "measurement"
		if p.StateClass != "" {
			c["state_class"] = p.StateClass
		}
		quantity(c, p, sensorClasses)
		if !slices.Contains(stateClasses(p.Class), c["state_class"].(string)) {
			without(c, "device_class")
		}
	case reports.String:
		c["p"] = "sensor"
		if p.Class == "timestamp" {
			c["device_class"] = p.Class
		} else {
			c["value_template"] = "{{ value[:255] if value != '' else 'None' }}"
		}
	default:
		c["p"], c["value_template"], c["enabled_by_default"] = "sensor", short, false
	}
}

// missed is how many heartbeats may be missed before a value counts as gone.
const missed = 3

// expiry returns after how many seconds without a message the value counts as gone.
func expiry(p reports.Point) int {
	const least = 10
	return max(least, int(missed*p.Heartbeat/1e9))
}

// quantity adds a number's unit, and its device class where that has the unit.
func quantity(c object, p reports.Point, classes map[string][]string) {
	if p.Unit != "" {
		c["unit_of_measurement"] = reports.OneLine(p.Unit)
	}
	if units, ok := classes[p.Class]; ok && slices.Contains(units, p.Unit) {
		c["device_class"] = p.Class
	}
}

// event makes a component of a point that tells when something happens. The payload is made what Home Assistant wants of an event.
func event(c object, p reports.Point) {
	c["p"] = "event"
	switch p.Type {
	case reports.Bool:
		c["event_types"] = []string{"ON", "OFF"}
		c["value_template"] = `{{ {'event_type': value} | tojson }}`
	case reports.Enum:
		c["event_types"] = p.Options
		c["value_template"] = `{{ {'event_type': value} | tojson }}`
	default:
		c["event_types"] = []string{"told"}
		c["value_template"] = `{{ {'event_type': 'told', 'value': value} | tojson }}`
	}
	if slices.Contains([]string{"button", "doorbell", "motion"}, p.Class) {
		c["device_class"] = p.Class
	}
}

func without(c object, keys ...string) {
	for _, k := range keys {
		delete(c, k)
	}
}

// Said says nothing: Home Assistant reads the points' own topics.
func (bridge) Said(reports.HostService, reports.Point, string) []reports.Message { return nil }

// Filters returns the topic of Home Assistant's birth and will.
func (b bridge) Filters() []string { return []string{b.o.Prefix + "/status"} }

// Heard has the discovery published again when Home Assistant has come back. The states are retained: it gets them as soon as it
// listens to them.
func (b bridge) Heard(_ reports.Host, m reports.Message) ([]reports.Message, bool) {
	return nil, m.Payload == "online" && !m.Retained
}

// Ends says nothing: availability is that of the host's and the services' own topics.
func (bridge) Ends() (lost, stops []reports.Message) { return nil, nil }
