package reports_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"rollcall/reports"
	"rollcall/reports/reportstest"
)

// compile makes a validator of a schema.
func compile(t *testing.T, schema reports.Object) *jsonschema.Schema {
	t.Helper()
	b, err := reports.MarshalDocument(schema)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("urn:test", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("urn:test")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// accepts reports whether a payload, read as its media type says, is what the schema wants.
func accepts(t *testing.T, s *jsonschema.Schema, media, payload string) bool {
	t.Helper()
	if media == reports.MediaText {
		return s.Validate(payload) == nil
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(payload))
	return err == nil && s.Validate(v) == nil
}

// What ParseValue takes, the schemas take, and the other way round.
func TestPointSchemas(t *testing.T) {
	t.Parallel()
	words := map[reports.Type][]string{
		reports.Bool:  {"ON", "OFF", "TOGGLE", "on", "1", "0", "true", "false", "2", "", "maybe"},
		reports.Int:   {"0", "12", "-1", "1.5", `"x"`, "true", "{}"},
		reports.Float: {"0", "35.5", "-41", "101", "1000", `"x"`, "null"},
		reports.Enum:  {"auto", "short", "off", "on", "", "12"},
	}
	for _, p := range reportstest.Points() {
		set, command := compile(t, p.SetSchema()), compile(t, p.CommandSchema())
		for _, w := range words[p.Type] {
			parsed, err := reports.ParseCommand("set", p.Path, []byte(w))
			if err == nil {
				_, err = p.ParseValue(parsed.Value)
			}
			if got, want := accepts(t, set, p.Type.Media(), w), err == nil; got != want {
				t.Errorf("%s: the schema takes %q: %v, want %v", p.Path, w, got, want)
			}
			if p.Type.Media() == reports.MediaJSON {
				if got, want := accepts(t, command, reports.MediaJSON, `{"id":1,"value":`+w+`}`), err == nil; got != want {
					t.Errorf("%s: the schema takes a command with %q: %v, want %v", p.Path, w, got, want)
				}
			}
		}
		for fields, want := range map[string]bool{`{"id":"a","reply":"/x"}`: false, `{"value":true,"unknown":1}`: false, `[]`: false} {
			if got := accepts(t, command, reports.MediaJSON, fields); got != want {
				t.Errorf("%s: the schema takes the command %s: %v", p.Path, fields, got)
			}
		}
		if v, ok := reportstest.Values()[p.Path]; ok && !accepts(t, compile(t, p.StateSchema()), p.Type.Media(), v) {
			t.Errorf("%s: the schema of its state refuses %q", p.Path, v)
		}
	}
	pump := reportstest.Points()[0]
	for _, command := range []string{`{"value":true}`, `{"value":"TOGGLE","id":1,"reply":"/x","for":"5s"}`, `{"value":1,"id":null}`} {
		if !accepts(t, compile(t, pump.CommandSchema()), reports.MediaJSON, command) {
			t.Errorf("the schema refuses the command %s", command)
		}
	}
}

// The schema of descriptions takes what Validate takes, and refuses what it refuses but for what a schema can't say.
func TestDescriptionSchema(t *testing.T) {
	t.Parallel()
	schema := compile(t, reports.DescriptionSchema())
	whole, err := json.Marshal(reportstest.Host(0, 1).Services[0].Service)
	if err != nil {
		t.Fatal(err)
	}
	const only = `{"name":"a","function":"b","points":[%]}`
	point := func(fields string) string { return strings.ReplaceAll(only, "%", "{"+fields+"}") }
	for _, doc := range []string{
		string(whole), strings.ReplaceAll(only, "%", ""), `{"name":"a","function":"b","points":null}`, `{"name":"a","function":"b","points":[],"unknown":1}`,
		`{"function":"b","points":[]}`, `{"name":"","function":"b","points":[]}`, `{"name":"a b","function":"b","points":[]}`, `{"name":"` + strings.Repeat("x", 65) + `","function":"b","points":[]}`,
		`{"name":"a","points":[]}`, `{"name":"a","function":"b","points":{}}`, `{"name":"a","function":"b","points":[1]}`, `[]`, `"x"`,
		point(`"path":"x","type":"int","access":["get"]`), point(`"path":"x/y.z","type":"bool","access":["get","set","event"]`),
		point(`"path":"x","type":"int","access":[]`), point(`"path":"x","type":"int","access":["fly"]`), point(`"path":"x","type":"int"`), point(`"path":"x","access":["get"]`),
		point(`"path":"x","type":"number","access":["get"]`), point(`"path":"","type":"int","access":["get"]`), point(`"path":"/x","type":"int","access":["get"]`), point(`"path":"a//b","type":"int","access":["get"]`),
		point(`"path":"get","type":"int","access":["get"]`), point(`"path":"status/x","type":"int","access":["get"]`), point(`"path":"getter","type":"int","access":["get"]`), point(`"path":"a+","type":"int","access":["get"]`),
		point(`"path":"x","type":"enum","access":["get"]`), point(`"path":"x","type":"enum","access":["get"],"options":[]`), point(`"path":"x","type":"enum","access":["get"],"options":["a"]`),
		point(`"path":"x","type":"enum","access":["get"],"options":["a","a"]`), point(`"path":"x","type":"int","access":["get"],"options":["a"]`),
		point(`"path":"x","type":"int","access":["get"],"step":0`), point(`"path":"x","type":"int","access":["get"],"step":0.5,"min":-1,"max":1e3`), point(`"path":"x","type":"int","access":["get"],"min":"1"`),
		point(`"path":"x","type":"int","access":["get"],"poll":"1m30s"`), point(`"path":"x","type":"int","access":["get"],"poll":"0s"`), point(`"path":"x","type":"int","access":["get"],"poll":"-1s"`),
		point(`"path":"x","type":"int","access":["get"],"poll":"soon"`), point(`"path":"x","type":"int","access":["get"],"poll":"1.5h"`), point(`"path":"x","type":"int","access":["get"],"poll":10`),
		point(`"path":"x","type":"int","access":["set"],"args":["for"]`), point(`"path":"x","type":"int","access":["set"],"args":["id"]`), point(`"path":"x","type":"int","access":["get"],"unit":5`),
	} {
		var s reports.Service
		err := json.Unmarshal([]byte(doc), &s)
		if err == nil {
			err = s.Validate()
		}
		if got, want := accepts(t, schema, reports.MediaJSON, doc), err == nil; got != want {
			t.Errorf("the schema takes %s: %v, want %v (%v)", doc, got, want, err)
		}
	}
}

// Every field of a description stands in its schema.
func TestDescriptionSchemaIsWhole(t *testing.T) {
	t.Parallel()
	service := reports.DescriptionSchema()["properties"].(reports.Object)
	point := service["points"].(reports.Object)["items"].(reports.Object)["properties"].(reports.Object)
	for typ, known := range map[reflect.Type]reports.Object{reflect.TypeFor[reports.Service](): service, reflect.TypeFor[reports.Point](): point} {
		for f := range typ.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); known[name] == nil {
				t.Errorf("%s.%s is not in the schema of descriptions", typ.Name(), f.Name)
			}
		}
	}
}

func TestCommonSchemas(t *testing.T) {
	t.Parallel()
	result, status, log, get := compile(t, reports.ResultSchema()), compile(t, reports.StatusSchema()), compile(t, reports.LogSchema()), compile(t, reports.GetSchema())
	c := reports.Command{ID: `"x"`, Verb: "set", Path: "a/b"}
	for _, r := range []reports.Result{reports.Done(c, reports.Reading{Path: "a", Value: true}), reports.Failed(c, reports.Errorf(reports.CodeOffline, "no")), reports.Done(reports.Command{Verb: "get"}, nil)} {
		b, err := json.Marshal(r)
		if err != nil || !accepts(t, result, reports.MediaJSON, string(b)) {
			t.Errorf("the schema refuses the result %s (%v)", b, err)
		}
	}
	if accepts(t, result, reports.MediaJSON, `{"id":1}`) || accepts(t, status, reports.MediaText, "away") || !accepts(t, status, reports.MediaText, "online") ||
		!accepts(t, log, reports.MediaJSON, `{"time":"t","level":"INFO","msg":"m","n":1}`) || accepts(t, get, reports.MediaJSON, `{"value":1}`) || !accepts(t, get, reports.MediaJSON, `{"id":1,"reply":"/a"}`) {
		t.Error("a schema is too wide or too narrow")
	}
}
