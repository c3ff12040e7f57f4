package reports

import (
	"strconv"
	"strings"
)

// SchemaDraft is the dialect of all JSON Schemas here.
const SchemaDraft = "https://json-schema.org/draft/2020-12/schema"

// Object is a JSON object that is being made.
type Object = map[string]any

// Media types of payloads.
const (
	MediaText = "text/plain"
	MediaJSON = "application/json"
)

// Media returns the media type of a point's payload, which says how it is read before it is held against a schema: plain text is
// a string as it is, all else is JSON. A state that is a number or a structure is JSON, all others are words.
func (t Type) Media() string {
	switch t {
	case Int, Float, JSON:
		return MediaJSON
	}
	return MediaText
}

// StateSchema returns the JSON Schema of the payload of the point's own topic. An empty payload, which says that there is no value
// any more, is not held against it.
func (p Point) StateSchema() Object {
	s := p.Schema()
	for key, text := range map[string]string{"title": p.Label, "description": p.Help} {
		if text = OneLine(text); text != "" {
			s[key] = text
		}
	}
	if p.Step != nil && (p.Type == Int || p.Type == Float) {
		s["x-step"] = *p.Step
	}
	if unit := OneLine(p.Unit); unit != "" {
		s["x-unit"] = unit
	}
	return s
}

// SetSchema returns the JSON Schema of the bare value that sets the point, read as Type.Media says.
func (p Point) SetSchema() Object {
	s := p.StateSchema()
	if p.Type == Bool {
		s["enum"] = []string{"ON", "OFF", "TOGGLE", "on", "off", "toggle", "1", "0", "true", "false"}
	}
	return s
}

// CommandSchema returns the JSON Schema of the object that sets the point: its value with an id, a topic for the result, and
// the further keys that the point takes.
func (p Point) CommandSchema() Object {
	value := p.Schema()
	if p.Type == Bool {
		value = Object{"enum": []any{"ON", "OFF", "TOGGLE", "on", "off", "toggle", "1", "0", true, false, 1, 0}}
	}
	fields := envelope()
	fields["value"] = value
	for _, a := range p.Args {
		fields[a] = Object{}
	}
	return Object{"type": "object", "required": []string{"value"}, "properties": fields, "additionalProperties": false}
}

// envelope are the fields that every command in JSON may have.
func envelope() Object {
	return Object{"id": idSchema(), "reply": Object{"type": "string", "minLength": 1, "maxLength": MaxTopic, "description": "a topic that the result goes to as well"}}
}

func idSchema() Object {
	return Object{"type": []string{"string", "number", "null"}, "description": "echoed in the result; of at most " + strconv.Itoa(MaxID) + " bytes"}
}

// GetSchema returns the JSON Schema of the object on a get topic; an empty payload will do as well.
func GetSchema() Object {
	return Object{"type": "object", "properties": envelope(), "additionalProperties": false}
}

// ResultSchema returns the JSON Schema of a Result.
func ResultSchema() Object {
	return Object{
		"type": "object", "required": []string{"id", "ok"},
		"properties": Object{
			"id": idSchema(), "ok": Object{"type": "boolean"},
			"data":  Object{"description": "what was read or set"},
			"error": Object{"type": "string", "description": "for people"},
			"code":  Object{"type": "string", "description": "for programs", "examples": []string{CodeOutOfRange, CodeUnknown}},
			"verb":  Object{"enum": Verbs}, "path": Object{"type": "string"},
		},
	}
}

// StatusSchema returns the JSON Schema of the payload of a status topic.
func StatusSchema() Object { return Object{"type": "string", "enum": []Status{Online, Offline}} }

// LogSchema returns the JSON Schema of a record on a log topic.
func LogSchema() Object {
	text := Object{"type": "string"}
	return Object{"type": "object", "required": []string{"level", "msg"}, "properties": Object{"time": text, "level": text, "msg": text}}
}

// DescriptionSchema returns the JSON Schema of a description: of what a program in any language publishes, retained, to be a
// service. What a schema can't say, Service.Validate does: no path twice, none below another, min ≤ max.
func DescriptionSchema() Object {
	name := Object{"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "maxLength": MaxName}
	topic := func(of string) Object { return Object{"type": "string", "maxLength": MaxTopic, "description": of} }
	return Object{
		"$schema": SchemaDraft, "title": "Description of a service",
		"description": "Published retained on /<host>/<service>/description. Keys that are not here are ignored.",
		"type":        "object", "required": []string{"name", "function", "points"},
		"properties": Object{
			"name": with(name, "the second segment of all its topics"), "function": with(name, "what it is: gpio, coffee, …"),
			"version": Object{"type": "string"}, "simulated": Object{"type": "boolean", "description": "there is no hardware behind it"},
			"inputs":  topic("/<host>/<service>/set, below which commands come"),
			"outputs": topic("/<host>/<service>, below which states stand"),
			"control": topic("/<host>/<service>/control"),
			"points":  Object{"type": []string{"array", "null"}, "items": pointSchema()},
		},
	}
}

// pointSchema is the schema of a Point in a description.
func pointSchema() Object {
	text, number := Object{"type": "string"}, Object{"type": "number"}
	duration := Object{"type": "string", "pattern": `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`}
	words := Object{"type": "array", "items": text, "uniqueItems": true}
	enum := Object{"properties": Object{"type": Object{"const": Enum}}}
	return Object{
		"type": "object", "required": []string{"path", "type", "access"},
		"properties": Object{
			"path": Object{"type": "string", "maxLength": MaxPath, "description": "the tail of all its topics",
				"pattern": `^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$`, "not": Object{"pattern": "^(" + strings.Join(Reserved, "|") + ")(/|$)"}},
			"label": with(text, "its name for people"), "help": with(text, "what else there is to know"),
			"type": Object{"enum": []Type{Bool, Int, Float, String, Enum, JSON}},
			"access": Object{"type": "array", "items": Object{"enum": accessNames}, "minItems": 1,
				"description": "get: its value is published, retained; set: it can be set; event: it is published when something happens, not retained"},
			"unit": with(text, `as "°C", "%", "V", "m"`), "class": with(text, "device class: temperature, humidity, distance, …"),
			"min": with(number, "least value of an int or float"), "max": with(number, "greatest value"),
			"step":    Object{"type": "number", "exclusiveMinimum": 0, "description": "what a slider should step by"},
			"options": with(words, "the values of an enum, and of no other type"),
			"args": Object{"type": "array", "items": Object{"type": "string", "not": Object{"enum": []string{"id", "reply", "value"}}},
				"description": "further keys that a set takes beside value"},
			"genre": Object{"enum": []Genre{"", Basic, User, Config, System, Control}, "description": "for whom it is"},
			"poll":  with(duration, "how often it is read, as 500ms, 10s, 1h30m; 0s: published on change only"), "heartbeat": with(duration, "how often it is published at least"),
			"state_class": Object{"enum": []string{"", Total, TotalIncreasing}, "description": "of a number that is counted; left out: it is measured"},
			"metric":      Object{"type": "string", "pattern": metric.String(), "description": "of a number: its name in node_exporter, as node_load1"},
			"janitoo":     Object{"type": "string", "pattern": alias.String(), "description": "what Janitoo calls the point, as hostsensor.load/load[0]=1 minutes"},
			"schema":      with(Object{}, "JSON Schema of the value; made from the other keys, and ignored when read"),
		},
		"if": enum, "then": Object{"required": []string{"options"}, "properties": Object{"options": Object{"minItems": 1}}},
		"else": Object{"properties": Object{"options": Object{"maxItems": 0}}},
	}
}

// with returns a copy of a schema with a description.
func with(schema Object, description string) Object {
	out := Object{"description": description}
	for k, v := range schema {
		out[k] = v
	}
	return out
}
