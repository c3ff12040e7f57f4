package wire

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Node is a node as a discovery reply has it.
type Node struct {
	UUID                string      `json:"uuid"`
	OID                 string      `json:"oid"`
	Hadd                Hadd        `json:"hadd"`
	Name                *string     `json:"name"` // nil: null
	Location            *string     `json:"location"`
	ProductName         string      `json:"product_name"`
	ProductType         string      `json:"product_type"`
	ProductManufacturer string      `json:"product_manufacturer"`
	Capabilities        []int       `json:"capabilities"`
	CmdClasses          []int       `json:"cmd_classes"`
	Heartbeat           json.Number `json:"heartbeat"` // seconds
	ConfigTimeout       json.Number `json:"config_timeout"`
	State               State       `json:"state"`
}

// parseNode reads a node. Keys that it lacks are empty.
func parseNode(fields map[string]json.RawMessage) (Node, error) {
	s := func(k string) string { return Text(text(fields[k])) }
	n := Node{UUID: s("uuid"), OID: s("oid"), Hadd: Hadd(s("hadd")), Name: text(fields["name"]), Location: text(fields["location"]), ProductName: s("product_name"),
		ProductType: s("product_type"), ProductManufacturer: s("product_manufacturer"), Capabilities: integers(fields["capabilities"]),
		CmdClasses: integers(fields["cmd_classes"]), Heartbeat: number(fields["heartbeat"]), ConfigTimeout: number(fields["config_timeout"]), State: State(s("state"))}
	if !n.Hadd.Valid() {
		return Node{}, malformed("hadd %.40q of node %.40q", n.Hadd, n.UUID)
	}
	return n, nil
}

// integers reads a list of whole numbers and leaves all else out; it is never nil.
func integers(raw json.RawMessage) []int {
	out := []int{}
	var all []json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		return out
	}
	for _, one := range all {
		if n, ok := integer(one); ok {
			out = append(out, n)
		}
	}
	return out
}

// Reply is the answer to a discovery request.
type Reply struct {
	Request
	Nodes  []Node  // of InfoNodes, by address
	Values []Value // of all others, by address, uuid and index
}

// ParseReply reads a discovery reply, with or without the level of indexes, and with nodes by uuid or one alone. Entries that can't be
// read are left out: others are not to be lost with them.
func ParseReply(b []byte) (Reply, error) {
	fields, err := object(b, MaxReply)
	if err != nil {
		return Reply{}, err
	}
	data, err := object(fields["data"], MaxReply)
	if err != nil {
		return Reply{}, malformed("data of a reply: %v", err)
	}
	head := maps.Clone(fields)
	delete(head, "data")
	r, err := ParseRequest(Marshal(head))
	if err != nil {
		return Reply{}, err
	}
	if _, ok := InfoGenre(r.UUID); !ok {
		return Reply{}, malformed("uuid %.40q of a discovery reply", r.UUID)
	}
	out := Reply{Request: r}
	if r.UUID == InfoNodes {
		out.Nodes = parseNodes(data)
		return out, nil
	}
	out.Values = parseAll(data)
	return out, nil
}

func parseNodes(data map[string]json.RawMessage) (out []Node) {
	if text(data["hadd"]) != nil {
		n, err := parseNode(data)
		if err != nil {
			return nil
		}
		return []Node{n}
	}
	for _, k := range slices.Sorted(maps.Keys(data)) {
		fields, err := object(data[k], MaxRequest)
		if err != nil {
			continue
		}
		if n, err := parseNode(fields); err == nil {
			out = append(out, n)
		}
	}
	slices.SortStableFunc(out, func(a, b Node) int { return strings.Compare(string(a.Hadd), string(b.Hadd)) })
	return out
}

func parseAll(data map[string]json.RawMessage) (out []Value) {
	for _, hadd := range slices.Sorted(maps.Keys(data)) {
		values, err := object(data[hadd], MaxReply)
		if err != nil {
			continue
		}
		for _, uuid := range slices.Sorted(maps.Keys(values)) {
			fields, err := object(values[uuid], MaxRequest)
			if err != nil {
				continue
			}
			if all, err := instances(fields); err == nil {
				out = append(out, all...)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Value) int {
		return cmp.Or(strings.Compare(string(a.Hadd), string(b.Hadd)), strings.Compare(a.UUID, b.UUID), a.Index-b.Index)
	})
	return out
}

// MarshalReply writes the reply to a discovery request, with all keys of the request: nodes for InfoNodes, values for the others, below
// their index unless they are system's or command's (JANITOO.md §1.4).
func MarshalReply(r Request, nodes []Node, values []Value) []byte {
	out := r.echo()
	genre, _ := InfoGenre(r.UUID)
	switch {
	case r.UUID == InfoNodes:
		data := map[string]Node{}
		for _, n := range nodes {
			data[n.UUID] = n
		}
		out["data"] = Marshal(data)
	case genre == System || genre == Command:
		data := map[Hadd]map[string]Value{}
		for _, v := range values {
			if data[v.Hadd] == nil {
				data[v.Hadd] = map[string]Value{}
			}
			if _, first := data[v.Hadd][v.UUID]; !first {
				data[v.Hadd][v.UUID] = v
			}
		}
		out["data"] = Marshal(data)
	default:
		data := map[Hadd]map[string]map[string]Value{}
		for _, v := range values {
			if data[v.Hadd] == nil {
				data[v.Hadd] = map[string]map[string]Value{}
			}
			if data[v.Hadd][v.UUID] == nil {
				data[v.Hadd][v.UUID] = map[string]Value{}
			}
			data[v.Hadd][v.UUID][strconv.Itoa(v.Index)] = v
		}
		out["data"] = Marshal(data)
	}
	return Marshal(out)
}
