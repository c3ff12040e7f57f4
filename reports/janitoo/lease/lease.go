// Package lease gives Janitoo's hosts and nodes their addresses: the table of leases that janitoo_dhcp began (JANITOO.md §1.9), and
// what it did not finish: an address that somebody has by hand is never given away, a request that comes twice gets one lease, and
// leases are found by name and by command class. It does no I/O but through Store; every answer is sent after the store has it.
package lease

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rollcall/reports/janitoo/wire"
)

// Bounds.
const (
	maxLeases   = 8192
	maxText     = 256     // bytes of a name or location
	maxParams   = 4 << 10 // bytes of the parameters of a lease
	maxClasses  = 64
	maxHeard    = 32_768 // addresses that are in use by hand
	maxFound    = 256    // leases and nodes in one answer
	maxAnswered = 256    // requests that are remembered
	firstCtrl   = 10     // where leases of controllers begin
	repeat      = time.Minute
)

// Lease is an address and who has it.
type Lease struct {
	Ctrl       int                        `json:"add_ctrl"`
	Node       int                        `json:"add_node"`
	Name       string                     `json:"name"`
	Location   string                     `json:"location"`
	CmdClasses []int                      `json:"cmd_classes"`
	State      wire.State                 `json:"state"`
	LastSeen   float64                    `json:"last_seen"` // seconds since 1970; kept at what changes the lease, not at each heartbeat
	Params     map[string]json.RawMessage `json:"params"`
}

// Hadd returns the address.
func (l Lease) Hadd() wire.Hadd { return wire.NewHadd(l.Ctrl, l.Node) }

// Store keeps leases by their address. Put writes all or nothing, and what it has written survives everything; nil removes.
type Store interface {
	Put(changes map[string][]byte) error
}

// Check returns what is wrong with a stored lease.
func Check(key string, value []byte) error {
	_, err := parse(key, value)
	return err
}

func parse(key string, value []byte) (Lease, error) {
	var l Lease
	if err := json.Unmarshal(value, &l); err != nil {
		return Lease{}, err
	}
	if !wire.Hadd(key).Valid() || l.Ctrl < 0 || l.Node < 0 || string(l.Hadd()) != key {
		return Lease{}, fmt.Errorf("lease of %04d/%04d under %.20q", l.Ctrl, l.Node, key)
	}
	return l, nil
}

// Message is what is to be published: QoS 0, not retained.
type Message struct {
	Topic   string
	Payload []byte
}

// Server answers requests about leases. It is not safe for concurrent use.
type Server struct {
	store    Store
	nodes    func(class int) []wire.Node
	leases   map[wire.Hadd]Lease
	heard    map[wire.Hadd]bool // in use, though nobody leased them
	answered map[string]answer  // by topic and rep_uuid, so that what comes twice is done once
}

// answer is what was said, and until when it is said again.
type answer struct {
	request string
	reply   Message
	until   time.Time
}

// New returns a server with the leases that were stored, which Check has seen. Nodes returns the nodes of the network that implement
// a command class, leased or not; nil: leases alone are searched.
func New(store Store, stored map[string][]byte, nodes func(class int) []wire.Node) (*Server, error) {
	s := &Server{store: store, nodes: nodes, leases: map[wire.Hadd]Lease{}, heard: map[wire.Hadd]bool{}, answered: map[string]answer{}}
	for key, value := range stored {
		l, err := parse(key, value)
		if err != nil {
			return nil, fmt.Errorf("stored lease: %w", err)
		}
		s.leases[l.Hadd()] = l
	}
	return s, nil
}

// Filters returns the topics that the server listens to.
func (s *Server) Filters() []string {
	return []string{wire.LeaseRoot + "+", wire.ResolvHadd, wire.ResolvName, wire.ResolvCmdClasses, wire.HeartbeatFilter}
}

// Leases returns all leases by address.
func (s *Server) Leases() []Lease {
	out := make([]Lease, 0, len(s.leases))
	for _, hadd := range slices.Sorted(maps.Keys(s.leases)) {
		out = append(out, s.leases[hadd])
	}
	return out
}

// Count returns how many leases there are.
func (s *Server) Count() int { return len(s.leases) }

// Heard takes a message on one of Filters and returns the answer, if there is one. What says no place for an answer has none.
func (s *Server) Heard(now time.Time, topic string, payload []byte) []Message {
	if strings.HasPrefix(topic, wire.HeartbeatAll) {
		s.beat(now, topic, payload)
		return nil
	}
	r, err := parseRequest(payload)
	if r.rep == "" {
		return nil
	}
	key := topic + " " + r.rep
	if a, ok := s.answered[key]; ok && a.request == string(payload) && now.Before(a.until) {
		return []Message{a.reply}
	}
	var body map[string]any
	if err == nil {
		body, err = s.do(now, topic, r)
	}
	if err != nil {
		body = map[string]any{"msg_status": 400, "msg_error": err.Error()}
	} else {
		body["msg_status"] = 200
	}
	body["rep_uuid"] = r.rep
	reply := Message{wire.LeaseReplyRoot + r.rep, wire.Marshal(body)}
	if err == nil {
		s.remember(key, answer{string(payload), reply, now.Add(repeat)}, now)
	}
	return []Message{reply}
}

// remember keeps an answer for a request that comes once more, since nothing on the wire is acknowledged.
func (s *Server) remember(key string, a answer, now time.Time) {
	if len(s.answered) >= maxAnswered {
		maps.DeleteFunc(s.answered, func(_ string, old answer) bool { return !now.Before(old.until) })
	}
	if len(s.answered) < maxAnswered {
		s.answered[key] = a
	}
}

// do works a request off.
func (s *Server) do(now time.Time, topic string, r request) (map[string]any, error) {
	switch topic {
	case wire.LeaseRoot + "new":
		return s.lease(now, r)
	case wire.LeaseRoot + "repair":
		return s.repair(now, r)
	case wire.LeaseRoot + "lock":
		return s.set(now, r, wire.Boot)
	case wire.LeaseRoot + "release":
		return s.set(now, r, wire.Offline)
	case wire.LeaseRoot + "remove":
		return s.remove(r)
	case wire.ResolvHadd:
		l, err := s.find(r)
		return body(l), err
	case wire.ResolvName:
		return s.named(r)
	case wire.ResolvCmdClasses:
		return s.implementing(r)
	}
	return nil, fmt.Errorf("%q is no request about leases", topic)
}

// body is a lease as an answer has it.
func body(l Lease) map[string]any {
	return map[string]any{"add_ctrl": l.Ctrl, "add_node": l.Node, "name": l.Name, "location": l.Location, "cmd_classes": l.CmdClasses, "state": l.State,
		"last_seen": l.LastSeen, "params": l.Params}
}

// beat notes that an address is in use, and in which state.
func (s *Server) beat(now time.Time, topic string, payload []byte) {
	h, err := wire.ParseHeartbeat(topic, payload)
	hadd := h.Hadd()
	if err != nil || hadd == "" {
		return
	}
	l, leased := s.leases[hadd]
	switch {
	case !leased && topic != wire.HeartbeatAll && len(s.heard) < maxHeard:
		s.heard[hadd] = true
	case leased && h.State.Rank() >= 0:
		l.State = h.State
		if topic != wire.HeartbeatAll { // which is said of it, not by it
			l.LastSeen = seconds(now)
		}
		s.leases[hadd] = l
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
