package network

import (
	"bytes"
	"encoding/json"
	"strconv"

	"rollcall/reports"
	"rollcall/reports/janitoo/wire"
)

// reply is what the map needs of a discovery reply.
type reply struct {
	info          string
	asked         wire.Hadd // of a request to one controller; "" of others
	chunk, chunks int       // -1: it does not say
	partial       bool      // the primary says that it does not know all yet
	nodes         []wire.Node
	values        []stored
}

// stored is a value as the store has it.
type stored struct {
	hadd wire.Hadd
	key  valueKey
	raw  json.RawMessage
}

// parseReply reads a discovery reply as wire.ParseReply does. Values it does not take apart but for what tells them from others: there
// are thousands, and a map hands them on as they came.
func parseReply(b []byte) (reply, bool) {
	var head struct {
		UUID   string                     `json:"uuid"`
		Hadd   wire.Hadd                  `json:"hadd"`
		Chunk  json.RawMessage            `json:"chunk"`
		Chunks json.RawMessage            `json:"chunks"`
		Whole  json.RawMessage            `json:"complete"`
		Data   map[string]json.RawMessage `json:"data"`
	}
	if len(b) > wire.MaxReply || reports.Depth(b) > reports.MaxDepth || json.Unmarshal(b, &head) != nil || head.Data == nil {
		return reply{}, false
	}
	genre, ok := wire.InfoGenre(head.UUID)
	if !ok {
		return reply{}, false
	}
	r := reply{info: head.UUID, chunk: number(head.Chunk), chunks: number(head.Chunks), partial: string(head.Whole) == "false"}
	if head.Hadd.Valid() {
		r.asked = head.Hadd
	}
	if genre == 0 {
		whole, err := wire.ParseReply(b)
		r.nodes = whole.Nodes
		return r, err == nil
	}
	for _, ofNode := range head.Data {
		var values map[string]json.RawMessage
		if json.Unmarshal(ofNode, &values) != nil {
			continue
		}
		for _, raw := range values {
			r.values = append(r.values, instances(raw, genre)...)
		}
	}
	return r, true
}

// instances reads a value, or several below their indexes. One that can't be read is left out.
func instances(raw json.RawMessage, genre wire.Genre) (out []stored) {
	if v, ok := instance(raw, "0", genre); ok {
		return []stored{v}
	}
	var below map[string]json.RawMessage
	if json.Unmarshal(raw, &below) != nil {
		return nil
	}
	for index, one := range below {
		if v, ok := instance(one, index, genre); ok {
			out = append(out, v)
		}
	}
	return out
}

// instance reads one value; index is where it stands, and holds where it does not say itself.
func instance(raw json.RawMessage, index string, genre wire.Genre) (stored, bool) {
	var v struct {
		UUID  json.RawMessage `json:"uuid"`
		Hadd  json.RawMessage `json:"hadd"`
		Index json.RawMessage `json:"index"`
	}
	if len(raw) > wire.MaxRequest || json.Unmarshal(raw, &v) != nil {
		return stored{}, false
	}
	uuid, _ := text(v.UUID)
	hadd, _ := text(v.Hadd)
	if s, isText := text(v.Index); isText {
		v.Index = json.RawMessage(s)
	}
	if len(v.Index) == 0 {
		v.Index = json.RawMessage(index)
	}
	i, err := strconv.Atoi(string(v.Index))
	if err != nil || uuid == "" || len(uuid) > wire.MaxUUID || !wire.Hadd(hadd).Valid() {
		return stored{}, false
	}
	var short bytes.Buffer
	if json.Compact(&short, raw) != nil {
		return stored{}, false // it was parsed
	}
	return stored{wire.Hadd(hadd), valueKey{genre, uuid, i}, short.Bytes()}, true
}

// text returns a JSON string.
func text(raw json.RawMessage) (string, bool) {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// number returns a whole number of JSON, -1 for none.
func number(raw json.RawMessage) int {
	var i int
	if len(raw) == 0 || json.Unmarshal(raw, &i) != nil {
		return -1
	}
	return i
}
