package janitoo

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"rollcall/reports"
	"rollcall/reports/janitoo/wire"
)

// node is a node of the controller, or the controller itself, as it is at a moment.
type node struct {
	key     string // ends its uuid; "" for the controller
	uuid    string
	oid     string
	hadd    wire.Hadd
	product [3]string
	service string // whose points it has; "" for none
	state   wire.State
	conf    Node // what the configuration says
	label   string
	values  []*value
}

// value is a value of a node, with all its instances.
type value struct {
	wire.Value // the first instance, without data
	node       *node
	instances  []instance
	told       bool // each instance has a text that tells it apart
	spec       spec
	own        own
	of         *value // of <uuid>_poll and <uuid>_config: the value that it is beside
	def        int    // default of the poll delay, in seconds
}

// instance is one of the instances of a value.
type instance struct {
	index   int
	config  string        // what tells it apart; "" for nothing
	point   reports.Point // Path "": it has none
	payload string        // what stands on the point's topic
	fixed   any           // data where there is no point
}

// own says which of the protocol's own values one is.
type own int

const (
	ownNot own = iota
	ownHeartbeat
	ownTimeout
	ownHadd
	ownName
	ownLocation
	ownPoll   // <uuid>_poll
	ownConfig // <uuid>_config
)

// part is what makes a node: points of a service that belong together.
type part struct {
	key       string   // the node's name, if nobody says another
	of        string   // SERVICE[/COMPONENT[@INSTANCE]], as the configuration says it
	names     []string // other words for of: with the component's last word, or its instance alone
	only      bool     // the service has no other part
	service   reports.HostService
	component string // of Janitoo's; "" for none
	aliased   []aliased
	rest      []reports.Point // that Janitoo has no name for
}

// aliased is a point with what Janitoo calls it.
type aliased struct {
	reports.Point
	reports.Alias
	service string // whose it is
}

// parts returns what a service makes: a node for each of Janitoo's components that it is, and one for the rest. Where it is one component
// only, that node has the rest, too.
func parts(s reports.HostService) (all []part, bus []aliased) {
	byComponent := map[string]int{}
	var rest []reports.Point
	for _, p := range s.Points {
		a, err := reports.ParseAlias(p.Janitoo)
		_, known := componentOf(a.Component)
		switch {
		case p.Janitoo == "" || err != nil || !known:
			rest = append(rest, p)
			continue
		case !strings.Contains(a.Component, "."):
			bus = append(bus, aliased{p, a, s.Name})
			continue
		}
		id := a.Component
		if a.Instance != "" {
			id += "@" + a.Instance
		}
		i, has := byComponent[id]
		if !has {
			i = len(all)
			byComponent[id] = i
			kind := a.Component[strings.IndexByte(a.Component, '.')+1:]
			all = append(all, part{key: safe(cmp.Or(a.Instance, kind)), of: s.Name + "/" + id, names: []string{s.Name + "/" + id[strings.IndexByte(id, '.')+1:]}, service: s,
				component: a.Component})
			if a.Instance != "" {
				all[i].names = append(all[i].names, s.Name+"/"+a.Instance)
			}
		}
		all[i].aliased = append(all[i].aliased, aliased{p, a, s.Name})
	}
	switch {
	case len(all) == 1:
		all[0].rest = rest
		if !strings.Contains(all[0].of, "@") {
			all[0].key = s.Name
		}
	case len(rest) > 0 || len(all) == 0 && len(bus) == 0:
		all = append(all, part{key: s.Name, of: s.Name, service: s, rest: rest})
	}
	for i := range all {
		all[i].only = len(all) == 1
	}
	return all, bus
}

// safe returns a text as a part of an uuid.
func safe(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, s)
}

// build makes the nodes of the host as it is.
func (b *bridge) build(h reports.Host) {
	var all []part
	var bus []aliased
	values := map[string]map[string]string{}
	for _, s := range h.Services {
		if !b.mine(s.Name) {
			continue
		}
		s.Values = b.current(s)
		values[s.Name] = s.Values
		p, onBus := parts(s)
		all, bus = append(all, p...), append(bus, onBus...)
	}
	b.name(all)
	ctrl := b.controller(h, bus, values)
	nodes := []*node{ctrl}
	for _, p := range all {
		nodes = append(nodes, b.node(p, values[p.service.Name]))
	}
	for key, conf := range b.o.Nodes {
		if c, ok := componentOf(conf.Of); ok && !slices.ContainsFunc(nodes, func(n *node) bool { return n.key == key }) {
			nodes = append(nodes, b.memoryNode(key, c))
		}
	}
	slices.SortFunc(nodes[1:], func(x, y *node) int { return strings.Compare(string(x.hadd), string(y.hadd)) })
	b.nodes = nodes
	b.reschedule()
}

// current returns the values of a service's points, with what it has answered to sets and not published yet.
func (b *bridge) current(s reports.HostService) map[string]string {
	values, copied := s.Values, false
	for at, a := range b.ahead {
		switch {
		case at.service != s.Name:
		case s.Values[at.path] != a.was || !b.now().Before(a.until):
			delete(b.ahead, at)
		case !copied:
			values, copied = maps.Clone(values), true
			fallthrough
		default:
			values[at.path] = a.is
		}
	}
	return values
}

// mine reports whether a service is one of the controller's.
func (b *bridge) mine(service string) bool {
	if b.o.Services != nil {
		return slices.Contains(b.o.Services, service)
	}
	return !b.others[service]
}

// name gives parts the names that the configuration has for them, and others where two would have the same.
func (b *bridge) name(all []part) {
	taken := map[string]bool{}
	given := map[string]string{}
	for key, conf := range b.o.Nodes {
		taken[key] = true
		given[cmp.Or(conf.Of, key)] = key
	}
	for i, p := range all {
		names := append([]string{p.of}, p.names...)
		if p.only {
			names = append(names, p.service.Name)
		}
		key, has := "", false
		for _, name := range append(names, p.key) {
			if k, ok := given[name]; ok && !has {
				key, has = k, true
				delete(given, name)
			}
		}
		if !has {
			if key = p.key; taken[key] {
				key = safe(p.of)
			}
			key = reports.Unique(taken, key)
		}
		taken[key] = true
		all[i].key = key
	}
}

// number returns the node's number in the controller: the one that the configuration says, the one that it had, or the next free one.
func (b *bridge) number(key string) int {
	conf := b.o.Nodes[key]
	if n, err := conf.number(b.configured); err == nil && n > 0 {
		return n
	}
	taken := map[int]bool{}
	for _, other := range b.o.Nodes {
		if n, err := other.number(b.configured); err == nil {
			taken[n] = true
		}
	}
	for other, h := range b.moved {
		taken[h.Node()] = taken[h.Node()] || other != key && h.Ctrl() == b.ctrl
	}
	if n := b.mem.Numbers[key]; n > 0 && !taken[n] {
		return n
	}
	for other, n := range b.mem.Numbers {
		taken[n] = taken[n] || other != key
	}
	for n := 1; n <= wire.MaxNumber; n++ {
		if !taken[n] {
			b.mem.Numbers[key] = n
			return n
		}
	}
	return wire.MaxNumber
}

// address returns the address of a node. One that was set holds from the next start on.
func (b *bridge) address(key string) wire.Hadd {
	if key == "" {
		return wire.NewHadd(b.ctrl, 0)
	}
	if h, ok := b.moved[key]; ok && h.Ctrl() == b.ctrl {
		return h
	}
	return wire.NewHadd(b.ctrl, b.number(key))
}

// controller makes the controller's own node.
func (b *bridge) controller(h reports.Host, bus []aliased, values map[string]map[string]string) *node {
	product, known := busProduct(b.bus)
	n := &node{uuid: b.bus, oid: b.bus, hadd: b.address(""), state: wire.Online, label: "Default bus name controller",
		product: [3]string{cmp.Or(b.o.Product, product), "Default product type", "Default product manufacturer"},
		conf:    Node{Name: b.o.Name, Location: b.o.Location, Heartbeat: b.o.Heartbeat, ConfigTimeout: b.o.ConfigTimeout, Values: b.o.Values}}
	if !known && b.o.Product == "" {
		n.product = [3]string{cmp.Or(reports.OneLine(h.Model), "Rollcall host"), cmp.Or(reports.OneLine(h.OS), "Default product type"), "Rollcall"}
	}
	b.addOwn(n)
	if len(bus) > 0 {
		c, _ := componentOf(bus[0].Component)
		n.service = bus[0].service
		if !known && b.o.Product == "" {
			n.product[0] = c.product[0]
		}
		n.addComponent(b, c, bus, values[n.service])
	}
	return n
}

// conf returns what the configuration says of a node; what it leaves out is as the controller has it.
func (b *bridge) conf(key string) Node {
	conf := b.o.Nodes[key]
	conf.Location = cmp.Or(conf.Location, b.o.Location)
	conf.Heartbeat = cmp.Or(conf.Heartbeat, b.o.Heartbeat)
	return conf
}

// node makes the node of a part.
func (b *bridge) node(p part, values map[string]string) *node {
	conf := b.conf(p.key)
	kind := p.service.Function
	if p.component != "" {
		kind = p.component[strings.IndexByte(p.component, '.')+1:]
	}
	n := &node{key: p.key, uuid: b.bus + "__" + p.key, oid: cmp.Or(conf.OID, b.bus+"."+kind), hadd: b.address(p.key), service: p.service.Name, state: stateOf(p.service),
		conf: conf, label: p.key, product: [3]string{reports.OneLine(p.service.Function), "Software component", "Rollcall"}}
	b.addOwn(n)
	if p.component != "" {
		c, _ := componentOf(p.component)
		n.product = c.product
		n.addComponent(b, c, p.aliased, values)
	}
	n.addGeneric(b, p.rest, values)
	n.product = given(n.product, conf.Product)
	return n
}

// given returns products with those that the configuration says.
func given(products [3]string, said []string) [3]string {
	for i, s := range said {
		if i < len(products) && s != "" {
			products[i] = s
		}
	}
	return products
}

// memoryNode makes the node of a component that needs no service.
func (b *bridge) memoryNode(key string, c component) *node {
	conf := b.conf(key)
	n := &node{key: key, uuid: b.bus + "__" + key, oid: cmp.Or(conf.OID, conf.Of), hadd: b.address(key), state: wire.Online, conf: conf, label: key, product: given(c.product, conf.Product)}
	b.addOwn(n)
	n.addComponent(b, c, nil, nil)
	return n
}

// stateOf returns the state of a service's node.
func stateOf(s reports.HostService) wire.State {
	if s.Status == reports.Offline || s.Error != "" {
		return wire.Offline
	}
	return wire.Online
}

// sortedKeys returns the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
