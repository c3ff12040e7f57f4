package wire

import (
	"encoding/json"
	"maps"
	"strconv"
	"unicode/utf8"
)

// Request is a request to one node or to all: for discovery, if its command class is CmdDiscovery, or for a value.
type Request struct {
	UUID      string // one of Infos, or the value's
	Genre     Genre
	CmdClass  *int   // nil: null, as jnt_query sends without --cmdclass
	Hadd      Hadd   // of a request for a value
	ReplyHadd string // where to answer; "" none
	Data      any    // what is to be set, as decoded, numbers as json.Number
	WriteOnly bool   // it is a set
	ReadOnly  bool   // it is a get, unless it is a set
	Index     *int   // the instance that is meant; nil: the first

	// Fields are all keys of a request that was parsed; the answer repeats them.
	Fields map[string]json.RawMessage
}

// Discovery returns the request for what uuid, one of Infos, names. The answers go to reply.
func Discovery(uuid string, reply Hadd) Request {
	class := CmdDiscovery
	return Request{UUID: uuid, Genre: System, CmdClass: &class, ReplyHadd: string(reply)}
}

// IsDiscovery reports whether it is a request for discovery.
func (r Request) IsDiscovery() bool { return r.CmdClass != nil && *r.CmdClass == CmdDiscovery }

// ParseRequest reads a request. It is an error if it is no JSON object, has no usable uuid, or names a place for answers that can be
// none. Genre is 0 where it has no number.
func ParseRequest(b []byte) (Request, error) {
	fields, err := object(b, MaxRequest)
	if err != nil {
		return Request{}, err
	}
	r := Request{UUID: Text(text(fields["uuid"])), Hadd: Hadd(Text(text(fields["hadd"]))), ReplyHadd: Text(text(fields["reply_hadd"])),
		Data: decode(fields["data"]), WriteOnly: truth(fields["is_writeonly"]), ReadOnly: truth(fields["is_readonly"]), Fields: fields}
	if r.UUID == "" || len(r.UUID) > MaxUUID || !utf8.ValidString(r.UUID) {
		return Request{}, malformed("uuid %.40q of a request", r.UUID)
	}
	if r.ReplyHadd != "" && !validReply(r.ReplyHadd) {
		return Request{}, malformed("%.40q can't be answered to", r.ReplyHadd)
	}
	if g, ok := integer(fields["genre"]); ok {
		r.Genre = Genre(g)
	}
	if c, ok := integer(fields["cmd_class"]); ok {
		r.CmdClass = &c
	}
	if i, ok := index(fields["index"]); ok {
		r.Index = &i
	}
	return r, nil
}

// index reads the number of an instance, as a number or a text.
func index(raw json.RawMessage) (int, bool) {
	if s := text(raw); s != nil {
		i, err := strconv.Atoi(*s)
		return i, err == nil
	}
	return integer(raw)
}

// Marshal writes the request as jnt_query does: four keys for discovery, eight for a value, and the index where one is named.
func (r Request) Marshal() []byte {
	out := map[string]any{"uuid": r.UUID, "genre": r.Genre, "cmd_class": r.CmdClass, "reply_hadd": r.ReplyHadd}
	if !r.IsDiscovery() {
		maps.Copy(out, map[string]any{"hadd": r.Hadd, "data": r.Data, "is_writeonly": r.WriteOnly, "is_readonly": r.ReadOnly})
	}
	if r.Index != nil {
		out["index"] = *r.Index
	}
	return Marshal(out)
}

// echo returns the keys that an answer repeats.
func (r Request) echo() map[string]json.RawMessage {
	if r.Fields != nil {
		return maps.Clone(r.Fields)
	}
	out := map[string]json.RawMessage{}
	if json.Unmarshal(r.Marshal(), &out) != nil {
		return map[string]json.RawMessage{} // it was marshalled
	}
	return out
}

// MarshalAnswer writes the answer to a request for a value. With whole it is the value, overlaid by the request's keys, as Janitoo
// answers for basic, user and command; else it is the request's keys with label and help, as for config and system. The data is v's.
func MarshalAnswer(r Request, v Value, whole bool) []byte {
	out := map[string]json.RawMessage{}
	if whole {
		v.EachField(func(k string, raw json.RawMessage) { out[k] = raw })
	}
	maps.Copy(out, r.echo())
	out["is_writeonly"], out["is_readonly"] = json.RawMessage("false"), json.RawMessage("true")
	out["data"], out["label"], out["help"] = Marshal(v.Data), Marshal(v.Label), Marshal(v.Help)
	if r.Index != nil {
		out["index"] = Marshal(v.Index)
	}
	for k, raw := range v.Extra {
		if _, has := out[k]; !has {
			out[k] = raw
		}
	}
	return Marshal(out)
}
