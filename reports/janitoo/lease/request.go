package lease

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"rollcall/reports"
	"rollcall/reports/janitoo/wire"
)

// anyNumber is what add_ctrl or add_node is where the server is to choose, or all are meant.
const anyNumber = -1

// missing is a number that a request lacks.
const missing = -2

// request is a request about leases.
type request struct {
	rep        string // where the answer goes: "" nowhere
	ctrl, node int    // anyNumber, or missing
	name       string
	location   string
	hasName    bool
	hasPlace   bool
	classes    []int
	params     map[string]json.RawMessage // all other options
}

// parseRequest reads a request. One that it can't read still has where the answer goes, if it says that.
func parseRequest(b []byte) (request, error) {
	r := request{ctrl: missing, node: missing, params: map[string]json.RawMessage{}}
	if len(b) > wire.MaxRequest || reports.Depth(b) > reports.MaxDepth {
		return r, fmt.Errorf("request of %d bytes is too long or too deep", len(b))
	}
	var fields, options map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return r, fmt.Errorf("request is no JSON object")
	}
	r.rep, _ = text(fields["rep_uuid"])
	if strings.Contains(r.rep, "/") || len(r.rep) > wire.MaxUUID || reports.ValidTopic(r.rep) != nil {
		r.rep = ""
	}
	if raw, ok := fields["options"]; ok && json.Unmarshal(raw, &options) != nil {
		return r, fmt.Errorf("options are no JSON object")
	}
	for key, to := range map[string]*int{"add_ctrl": &r.ctrl, "add_node": &r.node} {
		if err := address(fields, key, to); err != nil {
			return r, err
		}
	}
	all := maps.Clone(fields) // of a resolv request the words stand at the top
	maps.Copy(all, options)
	return r, r.take(all, options)
}

// take reads the options.
func (r *request) take(all, options map[string]json.RawMessage) (err error) {
	r.name, r.hasName = text(all["name"])
	r.location, r.hasPlace = text(all["location"])
	if len(r.name) > maxText || len(r.location) > maxText {
		return fmt.Errorf("name or location has more than %d bytes", maxText)
	}
	if r.classes, err = classes(all["cmd_classes"]); err != nil {
		return err
	}
	size := 0
	for k, raw := range options {
		switch k {
		case "name", "location", "cmd_classes":
		default:
			size += len(k) + len(raw)
			r.params[k] = raw
		}
	}
	if size > maxParams {
		return fmt.Errorf("options have %d bytes, at most %d are kept", size, maxParams)
	}
	return nil
}

func text(raw json.RawMessage) (string, bool) {
	var s *string
	if len(raw) == 0 || json.Unmarshal(raw, &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

// address reads add_ctrl or add_node: a number, or its digits.
func address(fields map[string]json.RawMessage, key string, to *int) error {
	raw, has := fields[key]
	if !has || string(raw) == "null" {
		return nil
	}
	var n int
	if s, isText := text(raw); isText {
		raw = json.RawMessage(s)
	}
	n, err := strconv.Atoi(string(raw))
	if err != nil || n < anyNumber || n > wire.MaxNumber {
		return fmt.Errorf("%s %.20q is no number from 0 to %d, or -1", key, raw, wire.MaxNumber)
	}
	*to = n
	return nil
}

// classes reads command classes: a list of numbers, or one.
func classes(raw json.RawMessage) ([]int, error) {
	out := []int{}
	if len(raw) == 0 || string(raw) == "null" {
		return out, nil
	}
	if json.Unmarshal(raw, &out) == nil {
		if len(out) > maxClasses {
			return nil, fmt.Errorf("%d cmd_classes, at most %d are kept", len(out), maxClasses)
		}
		return out, nil
	}
	s, isText := text(raw)
	if !isText {
		s = string(raw)
	}
	n, err := strconv.ParseInt(s, 0, 32)
	if err != nil {
		return nil, fmt.Errorf("cmd_classes %.40q are no list of numbers", raw)
	}
	return []int{int(n)}, nil
}
