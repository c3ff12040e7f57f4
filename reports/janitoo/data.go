package janitoo

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"rollcall/reports"
	"rollcall/reports/janitoo/wire"
)

// find returns the value with the uuid, nil for none.
func (n *node) find(uuid string) *value {
	for _, v := range n.values {
		if v.UUID == uuid {
			return v
		}
	}
	return nil
}

// text returns a text that was set, that the configuration says, or the default.
func (b *bridge) text(n *node, uuid, conf, def string) string {
	if s, ok := b.recalled(n.key, uuid, conf); ok {
		if s, ok := s.(string); ok {
			return s
		}
	}
	return cmp.Or(conf, def)
}

// delay returns a number of seconds that was set, that the configuration says, or the default: whole only if nobody said another.
func (b *bridge) delay(n *node, uuid string, conf reports.Duration, def int) json.Number {
	if f, ok := b.recalled(n.key, uuid, conf.String()); ok {
		if f, ok := f.(float64); ok {
			return wire.Float(f)
		}
	}
	if conf > 0 {
		return wire.Float(time.Duration(conf).Seconds())
	}
	return wire.Int(int64(def))
}

// data returns the data of an instance of a value.
func (v *value) data(b *bridge, i int) any {
	n := v.node
	switch v.own {
	case ownHeartbeat:
		return b.delay(n, v.UUID, n.conf.Heartbeat, 30)
	case ownTimeout:
		return b.delay(n, v.UUID, n.conf.ConfigTimeout, 3)
	case ownHadd:
		return string(n.hadd)
	case ownName:
		return b.text(n, v.UUID, n.conf.Name, n.label)
	case ownLocation:
		return b.text(n, v.UUID, n.conf.Location, "Default location")
	case ownPoll:
		return b.pollDelay(v.of)
	case ownConfig:
		if c := v.of.instances[i].config; c != "" {
			return c
		}
		return nil
	}
	in := v.instances[i]
	switch v.spec.from {
	case fromConfig:
		return in.config
	case fromState:
		return n.state == wire.Online
	case fromMemory:
		data, _ := b.recalled(n.key, v.UUID, "")
		return data
	}
	if in.point.Path == "" {
		return in.fixed
	}
	return decode(v, in.point, in.payload)
}

// pollDelay returns how often a value is told, in seconds; 0 is never.
func (b *bridge) pollDelay(v *value) json.Number {
	conf, configured := v.node.conf.Polls[v.UUID]
	over := ""
	if configured {
		over = conf.String()
	}
	if f, ok := b.recalled(v.node.key, v.UUID+"_poll", over); ok {
		if f, ok := f.(float64); ok {
			return wire.Int(int64(f))
		}
	}
	if configured {
		return wire.Int(int64(time.Duration(conf).Seconds()))
	}
	return wire.Int(int64(v.def))
}

// at returns an instance of a value as it stands in discovery and polls.
func (v *value) at(b *bridge, i int) wire.Value {
	out := v.Value
	out.Index, out.Data = v.instances[i].index, v.data(b, i)
	if v.def > 0 {
		out.PollDelay = b.pollDelay(v)
		if v.own == ownNot {
			out.Polled = out.PollDelay != "0"
		}
	}
	return out
}

// labelled is at, with the label of the instance.
func (v *value) labelled(b *bridge, i int) wire.Value {
	out := v.at(b, i)
	if c := v.instances[i].config; c != "" && v.Label != nil {
		out.Label = wire.Ptr(*v.Label + " (" + c + ")")
	}
	return out
}

// whole returns the node as request_info_nodes has it.
func (n *node) whole(b *bridge) wire.Node {
	out := wire.Node{UUID: n.uuid, OID: n.oid, Hadd: n.hadd, ProductName: n.product[0], ProductType: n.product[1], ProductManufacturer: n.product[2],
		Capabilities: []int{}, State: n.state, CmdClasses: []int{}}
	if n.key == "" {
		out.Capabilities, out.CmdClasses = []int{wire.CapDynamic}, []int{wire.CmdController}
	}
	for _, v := range n.values {
		if !slices.Contains(out.CmdClasses, v.CmdClass) {
			out.CmdClasses = append(out.CmdClasses, v.CmdClass)
		}
		switch s := v.data(b, 0); v.own {
		case ownName:
			out.Name = wire.Ptr(wordOf(s))
		case ownLocation:
			out.Location = wire.Ptr(wordOf(s))
		case ownHeartbeat:
			out.Heartbeat = json.Number(wordOf(s))
		case ownTimeout:
			out.ConfigTimeout = json.Number(wordOf(s))
		}
	}
	return out
}

// wordOf returns a text or number as a text.
func wordOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case nil:
		return ""
	}
	return reports.FormatValue(v)
}
