package asyncapi

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"rollcall/reports"
)

// service adds the channels of a service.
func (d *document) service(h reports.Host, s reports.HostService, servers []object) {
	key, t := h.Key+"."+s.Name, h.Topics(s)
	if !s.Described {
		d.original(key, s, servers)
		return
	}
	say := func(tail, address, message string, binding int, more ...string) string {
		return d.channel(key+"."+tail, object{"address": t.To(address), "servers": servers, "messages": messages(append(more, message)...)}, "send", binding)
	}
	result := say("result", "result", "result", live)
	say("description", "description", "description", retained, "emptied")
	say("status", "status", "status", retained)
	say("status.health", reports.HealthTail, "health", retained, "emptied")
	say("error", "error", "error", retained, "emptied")
	say("log", "log", "log", fast)
	hear := func(tail string, channel object) {
		channel["servers"] = servers
		at := d.channel(key+"."+tail, channel, "receive", live)
		d.Operations[at].(object)["reply"] = object{"channel": ref("channels", result)}
	}
	hear("control", object{"address": t.To("control"), "messages": messages("control")})
	hear("setup", object{"address": t.To("setup"), "messages": messages("setup"), "description": "Of a service that can be set up at run time."})
	var readable []string
	for _, p := range s.Points {
		tail := strings.ReplaceAll(p.Path, "/", ".")
		if p.Access&(reports.Get|reports.Event) != 0 {
			binding := retained
			if !p.Access.Has(reports.Get) {
				binding = fast
			}
			d.channel(key+"."+tail, describe(p, object{"address": t.To(p.Path), "servers": servers, "messages": d.stateMessages(s.Function, p, s.Values[p.Path])}), "send", binding)
		}
		if p.Access.Has(reports.Set) {
			hear("set."+tail, describe(p, object{"address": t.To("set/" + p.Path), "messages": d.setMessages(s.Function, p)}))
		}
		if p.Access.Has(reports.Get) {
			readable = append(readable, p.Path)
		}
	}
	if len(readable) > 0 {
		hear("get", object{"address": t.To("get/{path}"), "messages": messages("get", "ask"),
			"parameters": object{"path": object{"description": "The point that is read.", "enum": readable}}})
	}
}

// describe adds a point's words to its channel.
func describe(p reports.Point, channel object) object {
	if t := reports.OneLine(p.Label); t != "" {
		channel["title"] = t
	}
	if t := reports.OneLine(p.Help); t != "" {
		channel["summary"] = t
	}
	return channel
}

// Tails of the names of what sets a point.
const (
	value   = "..value"
	command = "..command"
)

// shared is a point whose messages stand in the components.
type shared struct {
	point reports.Point
	key   string
}

// key returns the name of a point's schemas and messages among the components, and puts them there unless an equal point of the same
// kind of service has: a hundred hosts have the same agents.
func (d *document) key(function string, p reports.Point) string {
	name := function + "." + strings.ReplaceAll(p.Path, "/", ".")
	for _, s := range d.known[name] {
		if reflect.DeepEqual(s.point, p) {
			return s.key
		}
	}
	key := name
	schemas, messages := d.Components["schemas"].(object), d.Components["messages"].(object)
	for n := 2; schemas[key] != nil || schemas[key+value] != nil || schemas[key+command] != nil; n++ {
		key = name + "-" + strconv.Itoa(n)
	}
	d.known[name] = append(d.known[name], shared{p, key})
	of := func(tail, media string, schema object) {
		schema["$schema"] = reports.SchemaDraft
		schemas[key+tail] = schema
		messages[key+tail] = object{"contentType": media, "payload": ref("components/schemas", key+tail)}
	}
	of("", p.Type.Media(), p.StateSchema())
	if p.Access.Has(reports.Set) {
		of(value, p.Type.Media(), p.SetSchema())
		of(command, reports.MediaJSON, p.CommandSchema())
	}
	return key
}

// stateMessages are what stands on a point's own topic.
func (d *document) stateMessages(function string, p reports.Point, last string) object {
	key := d.key(function, p)
	out := messages("emptied")
	out["state"] = ref("components/messages", key)
	if payload, ok := example(p, last); ok {
		out["state"] = object{"contentType": p.Type.Media(), "payload": ref("components/schemas", key), "examples": []object{{"name": "last", "payload": payload}}}
	}
	return out
}

// example returns a payload as a schema sees it; one that is none of the point's values is no example.
func example(p reports.Point, last string) (any, bool) {
	if v, err := p.ParseValue(last); last == "" || err != nil || v == reports.Toggle {
		return nil, false
	}
	if p.Type.Media() == reports.MediaJSON {
		raw := json.RawMessage(last)
		return raw, json.Valid(raw)
	}
	return last, true
}

// setMessages are what sets a point: the bare value, or an object that has it.
func (d *document) setMessages(function string, p reports.Point) object {
	key := d.key(function, p)
	return object{"value": ref("components/messages", key+value), "command": ref("components/messages", key+command)}
}

// original adds what is known of a program that has no description: the topics that it names.
func (d *document) original(key string, s reports.HostService, servers []object) {
	for _, in := range []struct{ tail, topic, action string }{{"outputs", s.Outputs, "send"}, {"inputs", s.Inputs, "receive"}, {"control", s.Control, "receive"}} {
		if reports.ValidTopic(in.topic) != nil || strings.ContainsAny(in.topic, "{}") {
			continue
		}
		d.channel(key+"."+in.tail, object{"address": in.topic, "servers": servers, "messages": messages("text"),
			"description": "The program has no description: nothing more is known."}, in.action, live)
	}
}

// components are what all services have in common.
func components() object {
	texts := object{"type": "string"}
	schemas := object{"description": reports.DescriptionSchema(), "result": reports.ResultSchema(), "status": reports.StatusSchema(),
		"health": reports.HealthSchema(), "log": reports.LogSchema(), "get": reports.GetSchema(), "text": texts, "empty": object{"type": "string", "maxLength": 0}}
	of := func(name, schema, media, summary string) object {
		return object{"name": name, "contentType": media, "summary": summary, "payload": ref("components/schemas", schema)}
	}
	return object{
		"schemas": schemas,
		"messages": object{
			"description": of("description", "description", reports.MediaJSON, "What the service is, and its points."),
			"result":      of("result", "result", reports.MediaJSON, "The one answer to a command."),
			"status":      of("status", "status", reports.MediaText, "Whether it is there; offline is also its last will."),
			"health":      of("health", "health", reports.MediaJSON, "What the service has done since it was started."),
			"error":       of("error", "text", reports.MediaText, "The last error of the service."),
			"log":         of("log", "log", reports.MediaJSON, "A record of the service's log, where that is switched on."),
			"get":         of("get", "get", reports.MediaJSON, "Asks for a value, with an id."),
			"ask":         of("ask", "empty", reports.MediaText, "Asks for a value."),
			"emptied":     of("emptied", "empty", reports.MediaText, "There is no value any more."),
			"setup":       of("setup", "text", reports.MediaText, "The whole set-up, as YAML or JSON."),
			"control":     of("control", "text", reports.MediaText, `A block as JSON, YAML or text, as {"verb":"refresh"}.`),
			"text":        of("text", "text", reports.MediaText, "Any text."),
		},
		"securitySchemes": object{
			"operator": object{"type": "X509", "description": "TLS 1.3. The client's certificate is made of the operator's key, the server's is checked against known_hosts: `udpsrv enroll`, docs/trust.md."},
		},
	}
}
