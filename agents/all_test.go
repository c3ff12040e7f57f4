package agents

import (
	"slices"
	"strings"
	"testing"

	"rollcall/config"
)

func TestFactories(t *testing.T) {
	t.Parallel()
	var names []string
	for _, f := range All() {
		names = append(names, f.Name)
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			if f.Doc == "" || strings.Contains(f.Doc, "\n") || !strings.HasSuffix(f.Doc, ".") {
				t.Errorf("doc %q is not one sentence", f.Doc)
			}
			if f.Wiring == "" || f.Example == "" {
				t.Error("how it is connected, or an example, is missing")
			}
			if f.Defaults() == f.Defaults() {
				t.Error("Defaults gives the same options twice")
			}
			for _, doc := range []string{f.Example} {
				o := f.Defaults()
				node, err := config.ParseNode("example", []byte(doc))
				if err == nil {
					err = node.Decode(o)
				}
				if err != nil {
					t.Fatal(err)
				}
				a, err := f.New(o, Deps{Service: f.Name, StateDir: t.TempDir()})
				if err != nil {
					t.Fatal(err)
				}
				service := a.Describe()
				service.Name = f.Name
				if err := service.Validate(); err != nil || service.Function != f.Name || len(service.Points) == 0 {
					t.Errorf("service %+v: %v", service, err)
				}
				// Nothing is made up unless its options ask for it in words, and what is says so, in a state too.
				asked := strings.Contains(doc, "sim: true") || strings.Contains(doc, "chip: sim")
				if _, state := service.Point(simulatedPath); service.Simulated != asked || state != asked {
					t.Errorf("simulated: %v, in a state: %v, want %v", service.Simulated, state, asked)
				}
				if err := a.Close(); err != nil {
					t.Error(err)
				}
			}
			for _, key := range config.Keys("", f.Defaults()) {
				if key.Doc == "" {
					t.Errorf("%s has no doc", key.Path)
				}
			}
		})
	}
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("names %v are not sorted or not unique", names)
	}
}
