package network

import (
	"time"

	"rollcall/reports/janitoo/wire"
)

// broadcastState returns the state in which all are asked for what info names.
func broadcastState(info string) State {
	switch info {
	case wire.InfoSystems:
		return BroadcastSystems
	case wire.InfoCommands:
		return BroadcastCommands
	case wire.InfoConfigs:
		return BroadcastConfigs
	case wire.InfoBasics:
		return BroadcastBasics
	case wire.InfoUsers:
		return BroadcastUsers
	}
	return BroadcastNodes
}

// broadcast asks all for what info names, and waits for the answers.
func (n *Network) broadcast(info string) {
	n.step = step{info: info, until: n.now.Add(quietValues)}
	if info == wire.InfoNodes {
		n.ask.anew() // whoever does not answer now is asked again
		n.step.until = n.now.Add(quietNodes)
	}
	n.enter(broadcastState(info))
	n.request(wire.BroadcastRequest, info)
	n.answered()
}

// answered ends a step in which every known controller has answered. The nodes' has no such end: who is there is not known.
func (n *Network) answered() {
	if n.broadcasting() && n.step.info != wire.InfoNodes && n.ask.allHave(n.step.info) {
		n.stepEnds()
	}
}

// broadcasting reports whether all are being asked.
func (n *Network) broadcasting() bool { return n.step.info != "" && n.state != Resolv }

// stepEnds goes on to the next step.
func (n *Network) stepEnds() {
	if n.state == Resolv {
		n.resolvEnds()
		return
	}
	all := wire.Infos()
	for i, info := range all[:len(all)-1] {
		if info == n.step.info {
			n.broadcast(all[i+1])
			return
		}
	}
	n.step = step{}
	n.enter(HeartbeatDiscover)
	if n.acting() {
		n.enter(Dispatch)
		n.beat()
	}
	n.started()
}

// started is that the map is as complete as it gets at once. Who has not answered is asked again.
func (n *Network) started() {
	n.ask.resume(n.now)
	n.enter(Started)
}

// resolve asks the primary for all it has, and waits this long for a sign of it.
func (n *Network) resolve(wait time.Duration) {
	n.ask.anew()
	n.step = step{until: n.now.Add(wait)}
	n.enter(Resolv)
	for _, info := range wire.Infos() {
		n.request(wire.ResolvRequest, info)
	}
}

// resolvEnds is that the primary has said all it says, or nothing.
func (n *Network) resolvEnds() {
	if n.primary.hadd == "" {
		n.fail()
		return
	}
	n.step = step{}
	for _, info := range wire.Infos() {
		if !n.ask.resolved(info) { // the original's primary answers two of six
			n.request(wire.BroadcastRequest, info)
		}
	}
	n.enter(Heartbeat)
	n.started()
}

// fail is that there is no primary: a secondary asks for itself, and stands in.
func (n *Network) fail() {
	if n.cfg.Role == Primary {
		return
	}
	n.failed, n.primary = true, peer{}
	n.say()
	n.broadcast(wire.InfoNodes)
}

// recover is that the primary is back.
func (n *Network) recover() {
	n.failed, n.duties.beat, n.duties.answers, n.duties.pace = false, time.Time{}, nil, time.Time{}
	n.say()
	n.resolve(quietValues)
}

// acting reports whether this is the network's primary, by its role or because there is no other.
func (n *Network) acting() bool { return n.cfg.Role == Primary || n.failed }

// heardReply takes a discovery reply, of a controller or by the primary.
func (n *Network) heardReply(payload []byte, resolv bool) {
	r, ok := parseReply(payload)
	if !ok {
		return
	}
	for _, node := range r.nodes {
		n.found(node)
	}
	for _, v := range r.values {
		if n.store.nodes[v.hadd] == nil {
			n.ask.wants(v.hadd.Ctrl(), n.now)
			continue
		}
		n.store.keep(v)
	}
	if resolv {
		n.heardChunk(r)
		return
	}
	n.credit(r)
	if n.broadcasting() && n.step.info == r.info {
		n.step.until = n.now.Add(quietValues)
	}
	n.answered()
}

// credit notes which controllers have answered. A reply without data does not say whose it is.
func (n *Network) credit(r reply) {
	had, lacks := map[int]bool{}, map[int]bool{} // controllers; lacks: of which a node is not known, whose values are lost
	for _, node := range r.nodes {
		had[node.Hadd.Ctrl()] = true
	}
	for _, v := range r.values {
		had[v.hadd.Ctrl()] = true
		if n.store.nodes[v.hadd] == nil {
			lacks[v.hadd.Ctrl()] = true
		}
	}
	if r.asked != "" {
		had[r.asked.Ctrl()] = true // it was asked at its own address
	}
	for ctrl := range had {
		if !lacks[ctrl] {
			n.ask.has(ctrl, r.info)
		}
	}
	if len(had) == 0 && r.info != wire.InfoNodes {
		n.ask.empties[r.info]++
		n.ask.allHave(r.info)
	}
}

// found takes a node that a discovery reply has.
func (n *Network) found(w wire.Node) {
	old, known := n.store.nodes[w.Hadd]
	if !known {
		if !n.store.add(w, n.now) {
			return
		}
		n.ask.known(w.Hadd.Ctrl(), n.now)
		n.note(Change{Hadd: w.Hadd, Node: wire.Pending})
		old = n.store.nodes[w.Hadd]
	} else if !n.store.replace(old, w) {
		return
	}
	old.seen = n.now
	old.count = 0
	if w.State.Rank() >= 0 { // what it says of itself, or the primary of it
		n.put(old, w.State)
	}
}

// put sets the state of a node.
func (n *Network) put(e *entry, s wire.State) {
	if e.State != s {
		e.State = s
		n.note(Change{Hadd: e.Hadd, Node: s})
	}
}

// heardValue takes a poll, or the answer to somebody's get or set.
func (n *Network) heardValue(topic string, payload []byte) {
	_, hadd, _, ok := wire.ParseValueTopic(topic)
	if !ok {
		return
	}
	e, known := n.store.nodes[hadd]
	if !known {
		return
	}
	all, err := wire.ParseValues(payload)
	if err != nil {
		return
	}
	for _, v := range all {
		if v.Hadd != hadd || v.Genre < wire.Basic || v.Genre > wire.Command {
			continue
		}
		n.update(e, v)
	}
}

// update takes a value of a node that is known: whole from a poll, its data alone from an answer.
func (n *Network) update(e *entry, v wire.Value) {
	if v.ReplyHadd != nil || v.Brief {
		old, ok := n.store.value(v)
		if !ok {
			return
		}
		old.Data = v.Data
		v = old
	}
	n.store.keep(stored{v.Hadd, keyOf(v), wire.Marshal(v)})
	n.follow(e, v)
}

// follow changes a node as a value of its own says.
func (n *Network) follow(e *entry, v wire.Value) {
	w := e.Node
	switch s, isText := v.Data.(string); {
	case v.Genre == wire.Config && v.UUID == "name" && isText:
		w.Name = &s
	case v.Genre == wire.Config && v.UUID == "location" && isText:
		w.Location = &s
	case v.Genre == wire.System && v.UUID == "heartbeat":
		if beat, ok := seconds(v.Data); ok {
			w.Heartbeat = beat
			e.seen, e.count = n.now, 0 // what is set begins anew at that moment
		}
	default:
		return
	}
	n.store.replace(e, w)
}
