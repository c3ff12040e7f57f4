package schema_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"rollcall/reports"
	"rollcall/reports/reportstest"
	"rollcall/reports/schema"
)

// The document compiles as JSON Schema 2020-12, takes what stands on the topics of a cluster, and refuses what does not.
func TestSchema(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]reports.Cluster{"usual": reportstest.Cluster(2, 2), "hostile": reportstest.Hostile(), "empty": {}} {
		b, err := schema.Face().Write(c)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		compiler := jsonschema.NewCompiler()
		if err := compiler.AddResource("urn:cluster", doc); err != nil {
			t.Fatal(err)
		}
		s, err := compiler.Compile("urn:cluster")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s.DraftVersion != 2020 {
			t.Errorf("draft %d", s.DraftVersion)
		}
		if name != "usual" {
			continue
		}
		for payload, want := range map[string]bool{`{"/pi000/service0/temperature":21.5}`: true, `{"/pi000/service0/temperature":-41}`: false, `{"/pi000/service0/output/pump":"ON"}`: true,
			`{"/pi000/service0/output/pump":"TOGGLE"}`: false, `{"/pi000/service0/set/output/pump":"TOGGLE"}`: true, `{"/pi000/service0/set/output/pump":{"value":"ON","for":"5s"}}`: true,
			`{"/pi000/service0/set/input/door":"ON"}`: true, `{"/pi000/status":"online"}`: true, `{"/pi001/service1/status":"gone"}`: false, `{"/pi000/service0/result":{"id":1,"ok":true}}`: true,
			`{"/pi000/service0/description":{"name":"x"}}`: false, `{"/pi000/service0/get/temperature":{"id":1}}`: true} {
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(payload))
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Validate(v) == nil; got != want {
				t.Errorf("the schema takes %s: %v, want %v", payload, got, want)
			}
		}
		if bytes.Contains(b, []byte("set/input/door")) {
			t.Error("a point that can't be set has a topic for that")
		}
	}
}
