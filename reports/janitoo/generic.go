package janitoo

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/reports"
	"rollcall/reports/janitoo/wire"
)

// addOwn adds the values that every node has (JANITOO.md §3.4).
func (b *bridge) addOwn(n *node) {
	add := func(o own, uuid, help string, genre wire.Genre, kind wire.Type, units *string, most any) {
		val := &value{node: n, own: o, instances: []instance{{}}, Value: wire.Value{UUID: uuid, NodeUUID: n.uuid, Hadd: n.hadd, Label: wire.Ptr(uuid), Help: wire.Ptr(help),
			Genre: genre, Type: kind, CmdClass: wire.CmdConfiguration, Units: units, PollDelay: "0"}}
		if most != nil {
			val.Min, val.Max = json.Number("0"), most
		}
		n.values = append(n.values, val)
	}
	s := wire.Ptr("seconds")
	add(ownHeartbeat, "heartbeat", "The heartbeat delay in seconds", wire.System, wire.TypeInt, s, wire.Int(maxDelay))
	add(ownTimeout, "config_timeout", "The config timeout before applying configuration and rebooting", wire.System, wire.TypeInt, s, wire.Int(maxDelay))
	add(ownHadd, "hadd", "The Janitoo Home address", wire.System, wire.TypeHadd, wire.Ptr(""), nil)
	add(ownName, "name", "The name of the node", wire.Config, wire.TypeString, nil, nil)
	add(ownLocation, "location", "The location of the node", wire.Config, wire.TypeString, nil, nil)
}

// addComponent adds the values of one of Janitoo's components, with the points that are some of them.
func (n *node) addComponent(b *bridge, c component, points []aliased, payloads map[string]string) {
	constants := map[string]string{}
	for _, p := range points {
		for k, text := range p.Settings {
			constants[k] = text
		}
		if i := slices.Index([]string{"product_name", "product_type", "product_manufacturer"}, p.Value); i >= 0 && payloads[p.Path] != "" {
			n.product[i] = reports.OneLine(payloads[p.Path])
		}
	}
	for k, text := range n.conf.Values {
		constants[k] = text
	}
	for _, s := range c.values {
		n.add(b, s, instancesOf(s, c, points, payloads, constants))
	}
}

// instancesOf returns the instances of a value of a component: one for each point that is one of it, or one without.
func instancesOf(s spec, c component, points []aliased, payloads, constants map[string]string) (all []instance) {
	uuid := s.uuid
	if s.from == fromConfig { // as many as the value that tells of the same
		uuid = c.values[1].uuid
	}
	for _, p := range points {
		if p.Value == uuid {
			all = append(all, instance{index: p.Index, config: p.Config, point: p.Point, payload: payloads[p.Path]})
		}
	}
	if len(all) == 0 {
		in := instance{config: constants[s.uuid+"_config"], fixed: s.def}
		if s.from != fromPoint || !strings.HasPrefix(s.entry, "config_") {
			in.fixed = nil
		}
		if text, ok := constants[s.uuid]; ok {
			in.fixed = text
			if e, known := entryOf(s.entry); known {
				if data, err := e.kind.Convert(text); err == nil && e.kind != wire.TypeArray {
					in.fixed = data
				}
			}
		}
		all = []instance{in}
	}
	slices.SortStableFunc(all, func(a, b instance) int { return a.index - b.index })
	for i := range all {
		if all[i].config == "" {
			all[i].config = constants[s.uuid+"_config"+suffix(i)]
		}
	}
	return all
}

func suffix(i int) string {
	if i == 0 {
		return ""
	}
	return "_" + strconv.Itoa(i)
}

// nullable returns nil for "".
func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// add adds a value, and what stands beside it.
func (n *node) add(b *bridge, s spec, all []instance) {
	e, _ := entryOf(s.entry)
	val := &value{node: n, spec: s, instances: all, told: s.config != nil}
	if e.poll > 0 {
		val.def = e.poll
		if s.poll > 0 {
			val.def = s.poll
		}
	}
	or := func(a, b string) *string {
		if a == "" {
			a = b
		}
		return nullable(a)
	}
	val.Value = wire.Value{UUID: s.uuid, NodeUUID: n.uuid, Hadd: n.hadd, Label: or(s.label, e.label), Help: or(s.help, e.help), Units: or(s.units, e.units), Type: e.kind,
		Genre: e.genre, CmdClass: e.class, Default: s.def, ListItems: s.items, ReadOnly: !e.set, PollDelay: "0", EntryName: s.entry, Extra: s.extra}
	if s.items == nil {
		val.ListItems = e.items
	}
	if s.def == nil {
		val.Default = e.def
	}
	if s.genre != 0 {
		val.Genre = s.genre
	}
	if s.class >= 0 {
		val.CmdClass = s.class
	}
	if p := all[0].point; p.Path != "" && !p.Access.Has(reports.Set) {
		val.ReadOnly = true
	}
	if s.from == fromMemory { // as Janitoo's test component says it: both
		val.ReadOnly, val.WriteOnly, val.EntryName = true, true, ""
	}
	n.insert(b, val)
}

// insert adds a value with its <uuid>_config and <uuid>_poll. One whose uuid is taken gets another.
func (n *node) insert(b *bridge, val *value) {
	taken := map[string]bool{}
	for _, other := range n.values {
		taken[other.UUID] = true
	}
	val.UUID = reports.Unique(taken, val.UUID)
	n.values = append(n.values, val)
	beside := func(o own, uuid, label, help string, kind wire.Type, units *string) *value {
		return &value{node: n, own: o, of: val, instances: []instance{{}}, Value: wire.Value{UUID: val.UUID + uuid, NodeUUID: n.uuid, Hadd: n.hadd, Label: wire.Ptr(label),
			Help: wire.Ptr(help), Genre: wire.Config, Type: kind, CmdClass: wire.CmdConfiguration, Units: units, PollDelay: "0"}}
	}
	if c := val.spec.config; c != nil {
		config := beside(ownConfig, "_config", c.label, c.help, c.kind, nil)
		config.instances = nil
		for _, in := range val.instances {
			config.instances = append(config.instances, instance{index: in.index})
		}
		n.values = append(n.values, config)
	}
	if val.def > 0 && !val.WriteOnly {
		poll := beside(ownPoll, "_poll", "poll_delay", "The poll delay of the value", wire.TypeInt, wire.Ptr("seconds"))
		poll.PollDelay = wire.Int(int64(val.def))
		n.values = append(n.values, poll)
	}
}

// onChange is the poll delay of points that are told of whenever they change, in seconds.
const onChange = 300

// addGeneric adds the points that Janitoo has no name for, as what they are.
func (n *node) addGeneric(b *bridge, points []reports.Point, payloads map[string]string) {
	for _, p := range points {
		s := spec{uuid: strings.ReplaceAll(p.Path, "/", "_"), class: -1}
		val := &value{node: n, spec: s, instances: []instance{{point: p, payload: payloads[p.Path]}}, def: onChange}
		if p.Poll > 0 {
			val.def = max(defaultPoll, int(math.Ceil(time.Duration(p.Poll).Seconds())))
		}
		genre, kind, class, name := like(p)
		val.Value = wire.Value{UUID: s.uuid, NodeUUID: n.uuid, Hadd: n.hadd, Label: nullable(reports.OneLine(p.Label)), Help: nullable(reports.OneLine(p.Help)), Units: nullable(p.Unit),
			Genre: genre, Type: kind, CmdClass: class, EntryName: name, PollDelay: "0", ReadOnly: !p.Access.Has(reports.Set),
			WriteOnly: p.Access.Has(reports.Set) && !p.Access.Has(reports.Get), Min: bound(p, p.Min), Max: bound(p, p.Max)}
		if val.Help == nil {
			val.Help = wire.Ptr(wire.Text(val.Label))
		}
		switch {
		case kind == wire.TypeList && p.Type == reports.Bool:
			val.ListItems = []string{"on", "off"}
		case kind == wire.TypeList:
			val.ListItems = p.Options
		}
		if !p.Access.Has(reports.Get) {
			val.def = 0
		}
		n.insert(b, val)
	}
}

// bound returns a bound of a number.
func bound(p reports.Point, f *float64) any {
	switch {
	case f == nil:
		return nil
	case p.Type == reports.Int:
		return wire.Int(int64(*f))
	}
	return wire.Float(*f)
}

// like returns what a point is in Janitoo's words: genre, type, command class and the entry of its value factory that it is most like.
func like(p reports.Point) (genre wire.Genre, kind wire.Type, class int, name string) {
	genre = wire.User
	if g, ok := wire.ParseGenre(string(p.Genre)); ok {
		genre = g
	}
	name = sensorName(p)
	settable := p.Access.Has(reports.Set)
	if settable {
		name = actionName(p)
	}
	e, _ := entryOf(name)
	kind, class = e.kind, e.class
	switch {
	case genre == wire.Config || genre == wire.System:
		class = wire.CmdConfiguration
	case kind == wire.TypeByte && p.Type == reports.Float:
		kind = wire.TypeDecimal
	}
	switch {
	case p.Type == reports.JSON:
		kind = wire.TypeJSON
	case settable && p.Type == reports.Float:
		kind = wire.TypeDecimal
	}
	return genre, kind, class, name
}

// sensorName returns the entry of a point that is read.
func sensorName(p reports.Point) string {
	byClass := map[string]string{"temperature": "sensor_temperature", "humidity": "sensor_humidity", "voltage": "sensor_voltage", "current": "sensor_current",
		"power": "sensor_power", "pressure": "sensor_pressure", "atmospheric_pressure": "sensor_pressure", "distance": "sensor_distance", "frequency": "sensor_frequency"}
	switch {
	case p.Type == reports.Bool && slices.Contains([]string{"presence", "connectivity", "occupancy", "motion"}, p.Class):
		return "sensor_presence"
	case p.Type == reports.Bool:
		return "sensor_boolean"
	case p.Type == reports.Enum:
		return "sensor_list"
	case p.Type == reports.String, p.Type == reports.JSON:
		return "sensor_string"
	case p.Type == reports.Int && p.Class == "data_size":
		return "sensor_memory"
	case p.Type == reports.Int:
		return "sensor_integer"
	case byClass[p.Class] != "":
		return byClass[p.Class]
	case p.Unit == "%":
		return "sensor_percent"
	}
	return "sensor_float"
}

// actionName returns the entry of a point that can be set.
func actionName(p reports.Point) string {
	switch {
	case p.Type == reports.Bool:
		return "action_switch_binary"
	case p.Type == reports.Enum:
		return "action_list"
	case p.Type == reports.String, p.Type == reports.JSON:
		return "action_string"
	case p.Unit == "%" && p.Min != nil && p.Max != nil && *p.Min == 0 && *p.Max == 100:
		return "action_switch_multilevel"
	case p.Type == reports.Int:
		return "action_integer"
	}
	return "action_byte"
}

// decode returns the payload of a point's topic as data of the value; nil for none.
func decode(v *value, p reports.Point, payload string) any {
	if payload == "" {
		return nil
	}
	if v.spec.asText {
		return payload
	}
	parsed, err := p.ParseValue(payload)
	if err != nil {
		return nil // it is not what the description says
	}
	switch x := parsed.(type) {
	case bool:
		switch {
		case v.Type == wire.TypeList && x:
			return "on"
		case v.Type == wire.TypeList:
			return "off"
		case v.Type != wire.TypeBool && x:
			return json.Number("1")
		case v.Type != wire.TypeBool:
			return json.Number("0")
		}
		return x
	case int64:
		return numeric(v, float64(x))
	case float64:
		return numeric(v, x)
	case string:
		return x
	}
	return payload // JSON, as its text
}

// numeric returns a number as data of the value's type.
func numeric(v *value, f float64) any {
	if v.spec.factor != 0 {
		f = math.Round(f*v.spec.factor*1e9) / 1e9
	}
	whole := f == math.Trunc(f) && math.Abs(f) < 1<<53
	switch v.Type {
	case wire.TypeDecimal:
		if v.spec.whole && whole {
			return wire.Int(int64(f))
		}
		return wire.Float(f)
	case wire.TypeInt, wire.TypeByte, wire.TypeShort:
		if whole {
			return wire.Int(int64(f))
		}
		return wire.Int(int64(math.Round(f)))
	}
	return wire.Float(f)
}
