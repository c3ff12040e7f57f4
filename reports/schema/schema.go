// Package schema is the face that is JSON Schema (draft 2020-12): what may stand on each topic of a cluster.
package schema

import (
	"rollcall/reports"
)

// Face returns this face.
func Face() reports.Face {
	return reports.Face{Name: "json-schema", Doc: "JSON Schema (2020-12) of what stands on each topic", File: "schema.json", Write: write}
}

// write returns the schema of an object that has, for each topic, what stands on it: a text, or JSON where the type of the point
// says so (reports.Type.Media, here x-media). A single payload is held against #/properties/<topic>.
func write(c reports.Cluster) ([]byte, error) {
	topics := reports.Object{}
	for _, h := range c.Hosts {
		if h.ID != "" {
			topics[reports.HostStatus(h.Name)] = ref("status", reports.MediaText)
		}
		for _, s := range h.Services {
			service(topics, h.Topics(s), s)
		}
	}
	return reports.MarshalDocument(reports.Object{
		"$schema": reports.SchemaDraft, "title": "Topics of the cluster", "type": "object", "properties": topics,
		"$defs": reports.Object{
			"description": reports.DescriptionSchema(), "result": reports.ResultSchema(), "status": reports.StatusSchema(),
			"health": reports.HealthSchema(), "log": reports.LogSchema(), "text": reports.Object{"type": "string"}, "get": reports.GetSchema(),
		},
	})
}

// service adds the topics of a service.
func service(topics reports.Object, t reports.Topics, s reports.HostService) {
	topics[t.To("description")] = ref("description", reports.MediaJSON)
	topics[t.To("result")] = ref("result", reports.MediaJSON)
	topics[t.To("log")] = ref("log", reports.MediaJSON)
	topics[t.To("status")] = ref("status", reports.MediaText)
	topics[t.To(reports.HealthTail)] = ref("health", reports.MediaJSON)
	topics[t.To("error")] = ref("text", reports.MediaText)
	for _, p := range s.Points {
		if p.Access&(reports.Get|reports.Event) != 0 {
			topics[t.To(p.Path)] = media(p.StateSchema(), p.Type.Media())
		}
		if p.Access.Has(reports.Set) {
			topics[t.To("set/"+p.Path)] = reports.Object{"anyOf": []any{
				media(p.SetSchema(), p.Type.Media()), media(p.CommandSchema(), reports.MediaJSON)}}
		}
		if p.Access.Has(reports.Get) {
			topics[t.To("get/"+p.Path)] = ref("get", reports.MediaJSON)
		}
	}
}

func ref(name, mediaType string) reports.Object {
	return media(reports.Object{"$ref": "#/$defs/" + name}, mediaType)
}

func media(schema reports.Object, mediaType string) reports.Object {
	schema["x-media"] = mediaType
	return schema
}
