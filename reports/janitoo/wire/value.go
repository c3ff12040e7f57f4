package wire

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// Value is a value of a node, or one instance of it, as §1.5 of JANITOO.md has it.
type Value struct {
	UUID      string
	NodeUUID  string // "" where a message does not say
	Hadd      Hadd
	Index     int
	Label     *string // nil: null
	Help      *string
	Data      any // as decoded, numbers as json.Number
	Units     *string
	Type      Type
	Genre     Genre
	CmdClass  int
	Default   any
	Min, Max  any
	ListItems []string // nil: null
	ReadOnly  bool     // in discovery its nature, in answers true
	WriteOnly bool     // in discovery its nature, in answers false
	Polled    bool
	PollDelay json.Number // seconds
	VoiceUUID *string
	ReplyHadd *string // nil but in answers
	EntryName string  // "" for those that no factory of Janitoo made

	// Brief says that a message had no type: it is the answer to a get or set of a config or system value.
	Brief bool
	// Extra are further keys, such as delays.
	Extra map[string]json.RawMessage
}

// valueKeys are the keys of a value that have a field.
var valueKeys = []string{"uuid", "node_uuid", "hadd", "index", "label", "help", "data", "units", "type", "genre", "cmd_class", "default", "min", "max", "list_items",
	"is_readonly", "is_writeonly", "is_polled", "poll_delay", "voice_uuid", "reply_hadd", "entry_name"}

// parseValue reads a value. Keys that it lacks are null, 0 or false.
func parseValue(fields map[string]json.RawMessage) (Value, error) {
	v := Value{UUID: Text(text(fields["uuid"])), NodeUUID: Text(text(fields["node_uuid"])), Hadd: Hadd(Text(text(fields["hadd"]))), Label: text(fields["label"]),
		Help: text(fields["help"]), Data: decode(fields["data"]), Units: text(fields["units"]), Default: decode(fields["default"]), Min: decode(fields["min"]),
		Max: decode(fields["max"]), ReadOnly: truth(fields["is_readonly"]), WriteOnly: truth(fields["is_writeonly"]), Polled: truth(fields["is_polled"]),
		PollDelay: number(fields["poll_delay"]), VoiceUUID: text(fields["voice_uuid"]), ReplyHadd: text(fields["reply_hadd"]), EntryName: Text(text(fields["entry_name"]))}
	if v.UUID == "" || len(v.UUID) > MaxUUID {
		return Value{}, malformed("uuid %.40q of a value", v.UUID)
	}
	if !v.Hadd.Valid() {
		return Value{}, malformed("hadd %.40q of value %q", v.Hadd, v.UUID)
	}
	if json.Unmarshal(fields["list_items"], &v.ListItems) != nil {
		v.ListItems = nil // sensor_list has a number there
	}
	v.Index, _ = index(fields["index"])
	t, typed := integer(fields["type"])
	g, _ := integer(fields["genre"])
	class, ok := integer(fields["cmd_class"])
	if !ok {
		class, _ = integer(fields["cmd_classes"]) // the old spelling
	}
	v.Type, v.Brief, v.Genre, v.CmdClass = Type(t), !typed, Genre(g), class
	for k, raw := range fields {
		if !slices.Contains(valueKeys, k) {
			if v.Extra == nil {
				v.Extra = map[string]json.RawMessage{}
			}
			v.Extra[k] = raw
		}
	}
	return v, nil
}

// EachField calls f with each key of the value and its JSON. A brief value has no keys of the whole.
func (v Value) EachField(f func(key string, raw json.RawMessage)) {
	for k, x := range map[string]any{"uuid": v.UUID, "hadd": v.Hadd, "label": v.Label, "help": v.Help, "data": v.Data, "genre": v.Genre, "cmd_class": v.CmdClass,
		"is_readonly": v.ReadOnly, "is_writeonly": v.WriteOnly, "reply_hadd": v.ReplyHadd} {
		f(k, Marshal(x))
	}
	for k, raw := range v.Extra {
		f(k, raw)
	}
	if v.Brief {
		return
	}
	if v.PollDelay == "" {
		v.PollDelay = "0"
	}
	for k, x := range map[string]any{"index": v.Index, "units": v.Units, "type": v.Type, "default": v.Default, "min": v.Min, "max": v.Max, "list_items": v.ListItems,
		"is_polled": v.Polled, "poll_delay": v.PollDelay, "voice_uuid": v.VoiceUUID, "node_uuid": v.NodeUUID} {
		f(k, Marshal(x))
	}
	if v.EntryName != "" {
		f("entry_name", Marshal(v.EntryName))
	}
}

// MarshalJSON writes the value with all its keys.
func (v Value) MarshalJSON() ([]byte, error) {
	out := map[string]json.RawMessage{}
	v.EachField(func(k string, raw json.RawMessage) { out[k] = raw })
	return Marshal(out), nil
}

// ParseValues reads the message of a value's topic: one value, or instances by their index, which come back in order.
func ParseValues(b []byte) ([]Value, error) {
	fields, err := object(b, MaxRequest)
	if err != nil {
		return nil, err
	}
	return instances(fields)
}

// instances reads a value, or several by their index.
func instances(fields map[string]json.RawMessage) ([]Value, error) {
	if flat(fields) {
		v, err := parseValue(fields)
		return []Value{v}, err
	}
	var out []Value
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		below, err := object(fields[k], MaxRequest)
		if err != nil {
			return nil, err
		}
		v, err := parseValue(below)
		if err != nil {
			return nil, err
		}
		if _, has := below["index"]; !has {
			if v.Index, err = strconv.Atoi(k); err != nil {
				return nil, malformed("index %.40q of value %q", k, v.UUID)
			}
		}
		out = append(out, v)
	}
	slices.SortStableFunc(out, func(a, b Value) int { return a.Index - b.Index })
	return out, nil
}

// flat reports whether an object is a value itself: its uuid is a text, and not the value of that name.
func flat(fields map[string]json.RawMessage) bool { return text(fields["uuid"]) != nil }

// MarshalValues writes the message of a polled value: with byIndex the instances by their index, else the first alone.
func MarshalValues(all []Value, byIndex bool) []byte {
	if !byIndex && len(all) > 0 {
		return Marshal(all[0])
	}
	out := map[string]Value{}
	for _, v := range all {
		out[strconv.Itoa(v.Index)] = v
	}
	return Marshal(out)
}
