package network

import (
	"cmp"
	"slices"
	"strings"

	"rollcall/reports/janitoo/wire"
)

// Info is what the network says of itself to a user interface (JANITOO.md §5.1), and what ours adds.
type Info struct {
	State       State  `json:"state"`
	StateStr    string `json:"state_str"`
	NodesCount  int    `json:"nodes_count"`
	HomeID      string `json:"home_id"`
	IsFailed    bool   `json:"is_failed"` // a secondary that stands in for its primary
	IsSecondary bool   `json:"is_secondary"`
	IsPrimary   bool   `json:"is_primary"`

	Complete    bool      `json:"complete"` // every controller has answered all six requests
	Primary     wire.Hadd `json:"primary"`  // who is it now; "" where that is not known
	ValuesCount int       `json:"values_count"`
	Refused     int       `json:"refused"` // nodes and values that there was no room for
}

// Info returns how the network is.
func (n *Network) Info() Info {
	i := Info{State: n.state, StateStr: n.state.Text(), NodesCount: len(n.store.nodes), HomeID: n.cfg.HomeID, IsFailed: n.failed,
		IsSecondary: n.cfg.Role == Secondary, IsPrimary: n.cfg.Role == Primary, Complete: n.state == Started && n.ask.complete(),
		Primary: n.primary.hadd, ValuesCount: n.store.values, Refused: n.store.refused}
	if i.Primary == unnamed {
		i.Primary = ""
	}
	if n.acting() && n.state != Stopped {
		i.Primary = n.cfg.Own
	}
	return i
}

// Nodes returns all nodes by address.
func (n *Network) Nodes() []wire.Node {
	return n.nodes(func(wire.Node) bool { return true })
}

func (n *Network) nodes(want func(wire.Node) bool) (out []wire.Node) {
	for _, hadd := range n.store.sorted() {
		if w := n.store.nodes[hadd].Node; want(w) {
			out = append(out, w)
		}
	}
	return out
}

// Values returns the values that answer to a discovery request, by address, uuid and index.
func (n *Network) Values(info string) (out []wire.Value) {
	genre, _ := wire.InfoGenre(info)
	for _, hadd := range n.store.sorted() {
		e := n.store.nodes[hadd]
		var keys []valueKey
		for k := range e.values {
			if k.genre == genre {
				keys = append(keys, k)
			}
		}
		slices.SortFunc(keys, func(a, b valueKey) int {
			return cmp.Or(strings.Compare(a.uuid, b.uuid), a.index-b.index)
		})
		for _, k := range keys {
			if v, ok := read(e.values[k]); ok {
				out = append(out, v)
			}
		}
	}
	return out
}

// WithClass returns the nodes that implement a command class: web controllers (4144), switches (37), network controllers (4177), ….
func (n *Network) WithClass(class int) []wire.Node {
	return n.nodes(func(w wire.Node) bool { return slices.Contains(w.CmdClasses, class) })
}

// Count returns how many nodes have values that answer to a request, and how many values and instances they are.
func (n *Network) Count(info string) (nodes, values, instances int) {
	genre, _ := wire.InfoGenre(info)
	for _, e := range n.store.nodes {
		uuids := map[string]bool{}
		for k := range e.values {
			if k.genre == genre {
				uuids[k.uuid] = true
				instances++
			}
		}
		if len(uuids) > 0 {
			nodes++
		}
		values += len(uuids)
	}
	return nodes, values, instances
}
