package janitoo

import (
	"regexp"
	"strings"
	"time"

	"rollcall/reports"
)

// part is a component while it is carried over.
type part struct {
	*importer
	*section
	bus  *section
	name string // of a service or a point, made of the component's key
	node *node  // what the component is in Janitoo's network
}

// kind is what becomes of a type of component.
type kind struct {
	// make returns the entry that the component is in, and has put its options there; nil where it had to be left out.
	make func(p part) *agent
	// polls are the points that a value of the component became, as a pattern of paths; "" is told at every change instead.
	polls map[string]string
	least time.Duration // between two reads
}

// tutorial matches the components of the tutorials' machines, which are others' components on a bus of their own.
var tutorial = regexp.MustCompile(`^tutorial[0-9]*\.(ambiance|temperature|cpu|led)$`)

// kinds are the types of components that have an agent.
func kinds() map[string]kind {
	host := func(of string, polls map[string]string, fill func(part, *agent)) kind {
		return kind{polls: polls, least: time.Second, make: func(p part) *agent {
			a := p.add("hostsensor", "hostsensor", p.bus, p.section)
			if a == nil {
				return nil
			}
			if p.node.of = a.name + "/" + of; of == "" {
				p.node.of = a.name
			}
			if fill != nil {
				fill(p, a)
			}
			return a
		}}
	}
	const change = ""
	return map[string]kind{
		"hostsensor.load":   host("load", map[string]string{"load": "load/*"}, nil),
		"hostsensor.uptime": host("uptime", map[string]string{"uptime": "uptime"}, nil),
		"hostsensor.disks": host("disks", map[string]string{"total": "disk/*/total", "free": "disk/*/free", "percent_use": "disk/*/used_percent"},
			part.mounts),
		"hostsensor.processes": host("", map[string]string{"memory_rss": "processes/*/memory", "cpu_percent": "processes/*/cpu_percent",
			"num_threads": "processes/*/threads", "num_fds": "processes/*/fds"}, part.processes),
		"hostsensor.lmsensor": host("lmsensor", map[string]string{"temperature": "temperature/*"}, part.sensors),
		"hostsensor.picpu": {make: part.cpu, least: time.Second,
			polls: map[string]string{"temperature": "temperature", "voltage": "voltage", "frequency": "frequency/*", "cpu_governor": "governor/*"}},
		"rpibasic.dht":     {make: part.dht, least: 2 * time.Second, polls: map[string]string{"temperature": "temperature", "humidity": "humidity"}},
		"rpi1wire.ds18b20": {make: part.ds18b20, least: time.Second, polls: map[string]string{"temperature": "temperature/*"}},
		"rpigpio.led":      {make: part.led, polls: map[string]string{"switch": change, "blink": change}},
		"rpigpio.output":   {make: part.output, polls: map[string]string{"switch": change, "state": change}},
		"rpigpio.input":    {make: part.input, polls: map[string]string{}},
		"rpigpio.pir":      {make: part.pir, polls: map[string]string{}},
		"rpigpio.pwm":      {make: part.pwm, polls: map[string]string{"level": change, "switch": change}},
		"rpigpio.servo":    {make: part.servo, polls: map[string]string{"angle": change, "pulse": change}},
		"rpigpio.rgb":      {make: part.rgb, polls: map[string]string{"color": change, "switch": change}},
		"rpigpio.sonic":    {make: part.sonar, least: time.Second, polls: map[string]string{"state": "distance"}},
		"nut.ups": {make: part.nut, least: time.Second, polls: map[string]string{"status": "ups/status", "battery_charge": "battery/charge",
			"battery_voltage": "battery/voltage", "battery_runtime": "battery/runtime", "battery_chemistry": "battery/chemistry"}},
	}
}

// canonical returns the type that a component of a tutorial stands for.
func canonical(oid string) string {
	m := tutorial.FindStringSubmatch(oid)
	if m == nil {
		return oid
	}
	return map[string]string{"ambiance": "rpibasic.dht", "temperature": "rpi1wire.ds18b20", "cpu": "hostsensor.picpu", "led": "rpigpio.led"}[m[1]]
}

// fake is Janitoo's component for tests, which a node of the face is that has no service.
const fake = "fake.component"

// component carries a component over and returns its node, and whether there is one.
func (im *importer) component(bus, s *section, k *key) (node, bool) {
	oid := strings.TrimSpace(k.value)
	_, end, _ := strings.Cut(s.name, "__")
	n := s.node(oid, word(end))
	if oid == fake {
		n.of = fake
		s.rest("no node has this value")
		return n, true
	}
	what, ok := kinds()[canonical(oid)]
	if !ok {
		bus.refuse(k, "no agent of Rollcall is what this component is")
		s.rest("its component has no agent")
		s.lost()
		return n, false
	}
	p := part{importer: im, section: s, bus: bus, name: word(strings.TrimPrefix(k.name, componentPrefix)), node: &n}
	a := what.make(p)
	if a == nil {
		s.rest("its component was left out")
		s.lost()
		return n, false
	}
	if n.service = a.name; n.of == "" {
		n.of = a.name
	}
	p.polls(a, what)
	s.rest("no agent has this value")
	return n, n.of != nowhere
}

// nowhere is the place of a component that became several nodes, or none.
const nowhere = "-"

// lost says of what every node has that it was not carried over.
func (s *section) lost() {
	for _, name := range []string{"hadd", "name", "location", "heartbeat", "config_timeout"} {
		if k := s.find(name); k != nil {
			s.refuse(k, "there is no such node")
		}
	}
}

// polls carries the delays of polls over.
func (p part) polls(a *agent, what kind) {
	for _, k := range p.keys {
		value, ok := strings.CutSuffix(k.name, "_poll_0")
		if !ok || k.taken {
			continue
		}
		pattern, known := what.polls[value]
		d, valid := seconds(k.value)
		switch {
		case !known:
			p.refuse(k, "no point of the agent is this value")
		case pattern == "":
			p.refuse(k, "it is told of at every change, and needs no poll")
		case !valid, d > 0 && d < what.least:
			p.refuse(k, "it is no delay in seconds, or shorter than %s", what.least)
		default:
			k.taken = true
			a.polls[pattern], p.node.polls[value] = reports.Duration(d), reports.Duration(d)
		}
	}
}

// word returns a name as a service or a point may have it.
func word(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
			return r
		}
		return '_'
	}, s)
	if len(s) > 40 {
		s = s[:40]
	}
	s = strings.Trim(s, "_-")
	if s == "" || reports.ValidName(s) != nil || reserved(s) {
		s = strings.TrimSuffix("node_"+s, "_")
	}
	return s
}
