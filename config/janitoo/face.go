package janitoo

import (
	"bytes"
	"slices"
	"strings"

	"rollcall/reports"
)

// place puts a controller into the network, with addresses that fit each other: those of nodes are the controller's, and none is there
// twice.
func (im *importer) place(c *controller) {
	s := c.section
	ctrl, node, _ := strings.Cut(c.hadd, "/")
	switch {
	case c.hadd == "":
		s.file.note(s.line, "[%s]: it has no hadd, without which Janitoo does not start it; its services are no nodes", shown(s.name))
		return
	case node != "0000":
		s.refuse(s.find("hadd"), "it is no address of a controller, CCCC/0000")
		return
	case slices.ContainsFunc(im.controllers, func(o *controller) bool { return o.hadd == c.hadd }):
		s.refuse(s.find("hadd"), "another bus has it as well; its services are no nodes of this one")
		return
	case len(c.nodes) == 0:
		s.file.note(s.line, "[%s]: it has no component that was carried over, so that it is no controller", shown(s.name))
		return
	}
	taken, keys := map[string]bool{c.hadd: true}, map[string]bool{}
	for i := range c.nodes {
		n := &c.nodes[i]
		n.key = unique(n.key, has(keys))
		keys[n.key] = true
		if n.hadd != "" && (taken[n.hadd] || !strings.HasPrefix(n.hadd, ctrl+"/")) {
			s.file.note(s.line, "[%s]: %s of %s is not its controller's, or another node has it; it is numbered by itself", shown(s.name), n.hadd, shown(n.key))
			n.hadd = ""
		}
		taken[n.hadd] = true
	}
	im.controllers = append(im.controllers, c)
}

// writeFaces writes the entries of "faces", and who keeps the map of the network.
func (im *importer) writeFaces(b *bytes.Buffer) error {
	if im.primary {
		keeper := map[string]string{"network": "primary"}
		if im.home != "" {
			keeper["home_id"] = im.home
		}
		if err := block(b, "", "janitoo", keeper); err != nil {
			return err
		}
	}
	if len(im.controllers) == 0 {
		return nil
	}
	first := im.controllers[0].options(len(im.controllers) > 1)
	more := map[string]any{}
	for _, c := range im.controllers[1:] {
		more[unique(c.key, has(more))] = c.options(true)
	}
	if len(more) > 0 {
		first["controllers"] = more
	}
	return block(b, "", "faces", map[string]any{"janitoo": first})
}

// options returns what the face is told of a controller. Where there are several, each is told which services are its: one that is not
// has all that nobody else names.
func (c *controller) options(own bool) map[string]any {
	out := c.node.options()
	out["hadd"], out["bus"] = c.hadd[:4], c.key
	nodes := map[string]any{}
	var services []string
	for _, n := range c.nodes {
		o := n.options()
		o["of"], o["oid"] = n.of, n.kind
		nodes[n.key] = o
		if n.service != "" && !slices.Contains(services, n.service) {
			services = append(services, n.service)
		}
	}
	if out["nodes"] = nodes; own && len(services) > 0 {
		out["services"] = services
	}
	return out
}

// options returns what all nodes have.
func (n node) options() map[string]any {
	out := map[string]any{}
	for key, text := range map[string]string{"hadd": n.hadd, "name": n.name, "location": n.location} {
		if text != "" {
			out[key] = text
		}
	}
	for key, d := range map[string]reports.Duration{"heartbeat": n.heartbeat, "config_timeout": n.timeout} {
		if d != 0 {
			out[key] = d
		}
	}
	if len(n.polls) > 0 {
		out["polls"] = n.polls
	}
	if len(n.values) > 0 {
		out["values"] = n.values
	}
	return out
}
