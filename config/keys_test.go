package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/reports"

	"github.com/google/go-cmp/cmp"
)

// reference is what docs/configuration.md has of this package.
func reference() []Key {
	return append(Keys("", Default()), Keys("agents.NAME.points.PATH", Filter{})...)
}

// TestReference holds the whole reference, and that every key has a doc.
func TestReference(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	for _, k := range reference() {
		if k.Doc == "" || k.Type == "" {
			t.Errorf("key %s has type %q and doc %q", k.Path, k.Type, k.Doc)
		}
		fmt.Fprintf(&got, "%s | %s | %s | %s\n", k.Path, k.Type, k.Default, k.Doc)
	}
	golden(t, "testdata/reference.golden", got.String())
}

// TestReferenceIsKnown holds that the file knows each key of the reference, by what it says about a list in its place.
func TestReferenceIsKnown(t *testing.T) {
	t.Parallel()
	for _, k := range reference() {
		var v any = []any{[]any{}} // neither a list of texts nor anything else
		for _, seg := range slices.Backward(strings.Split(k.Path, ".")) {
			v = map[string]any{seg: v}
		}
		doc, err := Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parse("f.yaml", doc, testHostname)
		if err == nil || !strings.Contains(err.Error(), "a list stands where") || strings.Contains(err.Error(), "unknown") {
			t.Errorf("%s: parse = %v, want that a list is refused", doc, err)
		}
	}
}

type keyed struct {
	Chip    string            `yaml:"chip" doc:"the chip"`
	Outputs map[string]output `yaml:"outputs" doc:"by name"`
	Stages  []output          `yaml:"stages"`
	Ptr     *output           `yaml:"ptr"`
	Limits  []float64         `yaml:"limits" doc:"numbers"`
	Levels  map[string]level  `yaml:"levels"`
	Wait    time.Duration     `yaml:"wait"`
	Any     any               `yaml:"any"`
	Rest    Node              `yaml:"rest"`
	Ratio   *float64          `yaml:"ratio"`
	Level   level             `yaml:"level"`
	Hidden  int               `yaml:"-"`
}

type output struct {
	Pin   int              `yaml:"pin" doc:"the line"`
	Pulse reports.Duration `yaml:"pulse"`
}

func TestKeys(t *testing.T) {
	t.Parallel()
	got := Keys("agents.NAME", &keyed{Chip: "sim", Limits: []float64{1, 2.5}, Wait: 90 * time.Second, Ratio: ptr(0.5), Level: "low", Outputs: map[string]output{}})
	want := []Key{
		{"agents.NAME.chip", "text", "sim", "the chip"},
		{"agents.NAME.outputs", "map of map", "", "by name"},
		{"agents.NAME.outputs.NAME.pin", "whole number", "0", "the line"},
		{"agents.NAME.outputs.NAME.pulse", "duration", "0s", ""},
		{"agents.NAME.stages", "list of map", "", ""},
		{"agents.NAME.stages[].pin", "whole number", "0", "the line"},
		{"agents.NAME.stages[].pulse", "duration", "0s", ""},
		{"agents.NAME.ptr.pin", "whole number", "0", "the line"},
		{"agents.NAME.ptr.pulse", "duration", "0s", ""},
		{"agents.NAME.limits", "list of number", "[1, 2.5]", "numbers"},
		{"agents.NAME.levels", "map of text", "", ""},
		{"agents.NAME.wait", "duration", "1m30s", ""},
		{"agents.NAME.any", "any", "", ""},
		{"agents.NAME.rest", "any", "", ""},
		{"agents.NAME.ratio", "number", "0.5", ""},
		{"agents.NAME.level", "text", "low", ""},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("Keys (-got +want):\n%s", diff)
	}
}

func TestShortDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", time.Minute: "1m", time.Hour: "1h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m", 10 * time.Second: "10s",
		time.Hour + time.Second: "1h0m1s", 20 * time.Hour: "20h", 1500 * time.Millisecond: "1.5s",
	} {
		got := shortDuration(reports.Duration(d))
		if got != want {
			t.Errorf("shortDuration(%v) = %s, want %s", d, got, want)
		}
		var back reports.Duration
		if err := back.UnmarshalText([]byte(got)); err != nil || time.Duration(back) != d {
			t.Errorf("%s reads back as %v, %v", got, back, err)
		}
	}
}

// TestDocs holds that every key that a file may have is described.
func TestDocs(t *testing.T) {
	t.Parallel()
	for _, v := range []any{Discovery{}, ExtAddr{}, Broker{}, Filter{}} {
		for _, f := range fieldsOf(reflect.TypeOf(v)) {
			if f.doc == "" && deref(f.typ).Kind() != reflect.Struct {
				t.Errorf("%T: %s has no doc", v, f.name)
			}
		}
	}
}
