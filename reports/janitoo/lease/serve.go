package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"rollcall/reports/janitoo/wire"
)

// lease gives a new address: of a controller where add_ctrl is -1, else of a node of that controller. A host that says the uuid of
// a lease of its kind has that one again.
func (s *Server) lease(now time.Time, r request) (map[string]any, error) {
	if !r.hasName || !r.hasPlace {
		return nil, errors.New("options lack name or location")
	}
	if r.ctrl == missing {
		return nil, errors.New("add_ctrl is missing: the controller, or -1 for a new one")
	}
	l := Lease{Name: r.name, Location: r.location, CmdClasses: r.classes, Params: r.params}
	if old, ok := s.same(r); ok {
		l.Ctrl, l.Node = old.Ctrl, old.Node
		return s.keep(now, l)
	}
	if len(s.leases) >= maxLeases {
		return nil, fmt.Errorf("there are %d leases, and no room for more", maxLeases)
	}
	var err error
	if l.Ctrl, l.Node, err = s.free(r.ctrl); err != nil {
		return nil, err
	}
	return s.keep(now, l)
}

// same returns the lease that the host has already, by the uuid among its options.
func (s *Server) same(r request) (Lease, bool) {
	uuid, ok := text(r.params["uuid"])
	if !ok || uuid == "" {
		return Lease{}, false
	}
	for _, l := range s.Leases() {
		old, _ := text(l.Params["uuid"])
		if old == uuid && (r.ctrl == anyNumber) == (l.Node == 0) && (r.ctrl == anyNumber || r.ctrl == l.Ctrl) {
			return l, true
		}
	}
	return Lease{}, false
}

// free returns an address that nobody has: for a new controller the one after the highest, from firstCtrl on, else a gap; for
// a node the first of its controller.
func (s *Server) free(ctrl int) (c, node int, err error) {
	if ctrl != anyNumber {
		for n := 1; n <= wire.MaxNumber; n++ {
			if !s.taken(wire.NewHadd(ctrl, n)) {
				return ctrl, n, nil
			}
		}
		return 0, 0, fmt.Errorf("controller %04d has no free address", ctrl)
	}
	ctrls := map[int]bool{}
	highest := firstCtrl - 1
	for hadd := range s.leases {
		ctrls[hadd.Ctrl()] = true
		highest = max(highest, hadd.Ctrl())
	}
	for hadd := range s.heard {
		ctrls[hadd.Ctrl()] = true
	}
	for n := highest + 1; n <= wire.MaxNumber; n++ {
		if !ctrls[n] {
			return n, 0, nil
		}
	}
	for n := firstCtrl; n <= highest; n++ {
		if !ctrls[n] {
			return n, 0, nil
		}
	}
	return 0, 0, errors.New("no controller's address is free")
}

func (s *Server) taken(h wire.Hadd) bool {
	_, leased := s.leases[h]
	return leased || s.heard[h]
}

// keep stores a lease that begins, and answers with it.
func (s *Server) keep(now time.Time, l Lease) (map[string]any, error) {
	l.State, l.LastSeen = wire.Boot, seconds(now)
	if err := s.put(l); err != nil {
		return nil, err
	}
	return body(l), nil
}

// put stores leases, all or none.
func (s *Server) put(all ...Lease) error {
	changes := map[string][]byte{}
	for _, l := range all {
		doc, err := json.Marshal(l)
		if err != nil {
			return err
		}
		changes[string(l.Hadd())] = doc
	}
	if err := s.store.Put(changes); err != nil {
		return fmt.Errorf("lease is not stored: %w", err)
	}
	for _, l := range all {
		s.leases[l.Hadd()] = l
		delete(s.heard, l.Hadd())
	}
	return nil
}

// repair stores a lease as its holder has it.
func (s *Server) repair(now time.Time, r request) (map[string]any, error) {
	if !r.hasName || !r.hasPlace {
		return nil, errors.New("options lack name or location")
	}
	if r.ctrl < 0 || r.node < 0 {
		return nil, errors.New("add_ctrl and add_node must be the address")
	}
	l := Lease{Ctrl: r.ctrl, Node: r.node, Name: r.name, Location: r.location, CmdClasses: r.classes, Params: r.params}
	if _, had := s.leases[l.Hadd()]; !had && len(s.leases) >= maxLeases {
		return nil, fmt.Errorf("there are %d leases, and no room for more", maxLeases)
	}
	return s.keep(now, l)
}

// find returns the lease that a request names.
func (s *Server) find(r request) (Lease, error) {
	if r.ctrl < 0 || r.node < 0 {
		return Lease{}, errors.New("add_ctrl and add_node must be the address")
	}
	l, ok := s.leases[wire.NewHadd(r.ctrl, r.node)]
	if !ok {
		return Lease{}, fmt.Errorf("nobody has %04d/%04d", r.ctrl, r.node)
	}
	return l, nil
}

// of returns the leases that a request is about: one, or with node -1 all of a controller.
func (s *Server) of(r request) ([]Lease, error) {
	if r.node != anyNumber || r.ctrl < 0 {
		l, err := s.find(r)
		return []Lease{l}, err
	}
	all := slices.DeleteFunc(s.Leases(), func(l Lease) bool { return l.Ctrl != r.ctrl })
	if len(all) == 0 {
		return nil, fmt.Errorf("nobody has an address of controller %04d", r.ctrl)
	}
	return all, nil
}

// set gives leases a state: lock begins them anew, release ends their use.
func (s *Server) set(now time.Time, r request, state wire.State) (map[string]any, error) {
	all, err := s.of(r)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].State, all[i].LastSeen = state, seconds(now)
	}
	if err := s.put(all...); err != nil {
		return nil, err
	}
	return answerAll(r, all), nil
}

// answerAll is the lease, or where all of a controller were meant, its own or the first, with that node.
func answerAll(r request, all []Lease) map[string]any {
	out := body(all[0])
	if r.node == anyNumber {
		out["add_node"] = anyNumber
	}
	return out
}

// remove deletes leases.
func (s *Server) remove(r request) (map[string]any, error) {
	all, err := s.of(r)
	if err != nil {
		return nil, err
	}
	changes := map[string][]byte{}
	for _, l := range all {
		changes[string(l.Hadd())] = nil
	}
	if err := s.store.Put(changes); err != nil {
		return nil, fmt.Errorf("lease is not removed: %w", err)
	}
	for _, l := range all {
		delete(s.leases, l.Hadd())
	}
	return answerAll(r, all), nil
}

// named returns the leases with a name: the first as a lease, and all in a list.
func (s *Server) named(r request) (map[string]any, error) {
	if !r.hasName {
		return nil, errors.New("name is missing")
	}
	found := slices.DeleteFunc(s.Leases(), func(l Lease) bool { return l.Name != r.name })
	if len(found) == 0 {
		return nil, fmt.Errorf("nobody is called %q", r.name)
	}
	out := body(found[0])
	out["leases"] = found[:min(len(found), maxFound)]
	return out, nil
}

// implementing returns who implements one of the command classes: the leases, and the nodes of the network, leased or not. Nobody
// is an answer too.
func (s *Server) implementing(r request) (map[string]any, error) {
	if len(r.classes) == 0 {
		return nil, errors.New("cmd_classes are missing: a number, or a list of them")
	}
	leases, nodes := []Lease{}, []wire.Node{}
	for _, l := range s.Leases() {
		if slices.ContainsFunc(r.classes, func(c int) bool { return slices.Contains(l.CmdClasses, c) }) && len(leases) < maxFound {
			leases = append(leases, l)
		}
	}
	seen := map[wire.Hadd]bool{}
	for _, c := range r.classes {
		if s.nodes == nil {
			break
		}
		for _, n := range s.nodes(c) {
			if !seen[n.Hadd] && len(nodes) < maxFound {
				seen[n.Hadd] = true
				nodes = append(nodes, n)
			}
		}
	}
	return map[string]any{"cmd_classes": r.classes, "leases": leases, "nodes": nodes}, nil
}
