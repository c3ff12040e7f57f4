package wire

import (
	"encoding/json"
	"strings"
)

// State is the state of a node, as heartbeats and nodes have it.
type State string

// The states of nodes (JANITOO.md §4).
const (
	Online  State = "ONLINE"
	Boot    State = "BOOT"
	Configs State = "CONFIG"
	Pending State = "PENDING" // overdue
	Failed  State = "FAILED"  // overdue for long
	Dead    State = "DEAD"    // failed and unseen for days
	Offline State = "OFFLINE" // it said so itself
	Unknown State = "UNKNOWN"
)

// Rank returns the state's number in Janitoo's tables: 5 for Online down to 0 for Offline, -1 for Unknown and all others.
func (s State) Rank() int {
	switch s {
	case Online:
		return 5
	case Boot, Configs:
		return 4
	case Pending:
		return 3
	case Failed:
		return 2
	case Dead:
		return 1
	case Offline:
		return 0
	}
	return -1
}

// AllNodes is the number that means all nodes of a controller.
const AllNodes = -1

// Heartbeat says that a node is in a state.
type Heartbeat struct {
	Ctrl  int
	Node  int // AllNodes: all of the controller
	State State
}

// Hadd returns the address, "" where all nodes are meant.
func (h Heartbeat) Hadd() Hadd {
	if h.Node < 0 {
		return ""
	}
	return NewHadd(h.Ctrl, h.Node)
}

// maxState is how long a state's word may be.
const maxState = 32

// ParseHeartbeat reads a heartbeat: JSON with add_ctrl and add_node as a primary sends it, or a bare word on the node's own topic.
func ParseHeartbeat(topic string, b []byte) (Heartbeat, error) {
	rest, ok := strings.CutPrefix(topic, HeartbeatAll)
	if !ok && topic != ResolvHeartbeat {
		return Heartbeat{}, malformed("topic %.60q is not of heartbeats", topic)
	}
	if len(b) > MaxRequest {
		return Heartbeat{}, malformed("%d bytes, at most %d are read", len(b), MaxRequest)
	}
	if json.Valid(b) {
		return parseDispatch(b)
	}
	h := Hadd(rest)
	if !h.Valid() || !word(string(b)) {
		return Heartbeat{}, malformed("%.40q on %.60q is no heartbeat", b, topic)
	}
	return Heartbeat{Ctrl: h.Ctrl(), Node: h.Node(), State: State(b)}, nil
}

// parseDispatch reads the JSON form.
func parseDispatch(b []byte) (Heartbeat, error) {
	fields, err := object(b, MaxRequest)
	if err != nil {
		return Heartbeat{}, err
	}
	ctrl, hasCtrl := index(fields["add_ctrl"])
	node, hasNode := index(fields["add_node"])
	h := Heartbeat{Ctrl: ctrl, Node: node, State: Online}
	if s := text(fields["state"]); s != nil {
		h.State = State(*s)
	}
	if !hasCtrl || !hasNode || ctrl < 0 || ctrl > MaxNumber || node < AllNodes || node > MaxNumber || !word(string(h.State)) {
		return Heartbeat{}, malformed("%.80q is no heartbeat", b)
	}
	return h, nil
}

// word reports whether a text can be a state: upper-case letters, and _ between them.
func word(s string) bool {
	return s != "" && len(s) <= maxState && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
}

// Dispatch returns what a primary sends of another's state: JSON with numbers on HeartbeatAll.
func (h Heartbeat) Dispatch() (topic string, payload []byte) {
	return HeartbeatAll, Marshal(map[string]any{"add_ctrl": h.Ctrl, "add_node": h.Node, "state": h.State})
}
