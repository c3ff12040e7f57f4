package reports

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func TestPointValidate(t *testing.T) {
	t.Parallel()
	good := Point{Path: "input/door", Type: Float, Access: Get, Min: Ptr(0), Max: Ptr(0), Step: Ptr(0.5), Args: []string{"for"}}
	if err := good.Validate(); err != nil {
		t.Errorf("Validate = %v", err)
	}
	for name, test := range map[string]struct {
		change func(*Point)
		want   string
	}{
		"no path":             {func(p *Point) { p.Path = "" }, `path "": segments`},
		"reserved path":       {func(p *Point) { p.Path = "set/a" }, `"set" is a word of the interface`},
		"no type":             {func(p *Point) { p.Type = "" }, `unknown type ""`},
		"unknown type":        {func(p *Point) { p.Type = "date" }, `unknown type "date"`},
		"no access":           {func(p *Point) { p.Access = 0 }, "access 0 says nothing"},
		"unknown access":      {func(p *Point) { p.Access = 8 | Get }, "access 9"},
		"enum of nothing":     {func(p *Point) { p.Type = Enum }, "options and type enum go together"},
		"options of float":    {func(p *Point) { p.Options = []string{"a"} }, "options and type enum go together"},
		"option twice":        {func(p *Point) { p.Type, p.Options = Enum, []string{"a", "b", "a"} }, `option "a" stands twice`},
		"option not UTF-8":    {func(p *Point) { p.Type, p.Options = Enum, []string{"\xff"} }, "is not UTF-8"},
		"min NaN":             {func(p *Point) { p.Min = Ptr(math.NaN()) }, "a bound is not finite"},
		"max infinite":        {func(p *Point) { p.Max = Ptr(math.Inf(1)) }, "a bound is not finite"},
		"step infinite":       {func(p *Point) { p.Step = Ptr(math.Inf(1)) }, "a bound is not finite"},
		"min above max":       {func(p *Point) { p.Min = Ptr(1) }, "min 1 > max 0"},
		"step of nothing":     {func(p *Point) { p.Step = Ptr(0) }, "step 0 is not positive"},
		"step backwards":      {func(p *Point) { p.Step = Ptr(-1) }, "step -1 is not positive"},
		"negative poll":       {func(p *Point) { p.Poll = -1 }, "poll -1ns is negative"},
		"negative heartbeat":  {func(p *Point) { p.Heartbeat = -1 }, "heartbeat -1ns is negative"},
		"another's metric":    {func(p *Point) { p.Metric = "go_goroutines" }, `metric "go_goroutines"`},
		"metric with a quote": {func(p *Point) { p.Metric = `node_x{a="b"c"}` }, "metric"},
		"unknown state class": {func(p *Point) { p.StateClass = "sum" }, `state class "sum"`},
		"args of envelopes":   {func(p *Point) { p.Args = []string{"reply"} }, `argument "reply" is a word of the interface`},
	} {
		p := good
		test.change(&p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Validate = %v, want %s", name, err, test.want)
		}
	}
}

func TestServiceValidate(t *testing.T) {
	t.Parallel()
	point := func(path string) Point { return Point{Path: path, Type: Bool, Access: Get} }
	for name, test := range map[string]struct {
		s    Service
		want string
	}{
		"good":        {Service{Name: "gpio", Function: "gpio", Points: []Point{point("input/a"), point("input/ab"), point("input-a")}}, ""},
		"no points":   {Service{Name: "gpio", Function: "gpio"}, ""},
		"no name":     {Service{Function: "gpio"}, `name ""`},
		"no function": {Service{Name: "gpio"}, `name ""`},
		"bad point":   {Service{Name: "gpio", Function: "gpio", Points: []Point{point("a b")}}, `path "a b"`},
		"twice":       {Service{Name: "gpio", Function: "gpio", Points: []Point{point("a"), point("b"), point("a")}}, `point "a" stands twice`},
		"branch":      {Service{Name: "gpio", Function: "gpio", Points: []Point{point("a/b/c"), point("a")}}, `point "a/b/c" lies below point "a"`},
	} {
		err := test.s.Validate()
		if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: Validate = %v, want %q", name, err, test.want)
		}
	}
}

func TestServicePoints(t *testing.T) {
	t.Parallel()
	s := gpioService()
	if p, ok := s.Point("input/door"); !ok || p.Path != "input/door" {
		t.Errorf("Point = %+v, %v", p, ok)
	}
	for _, path := range []string{"input", "input/", "", "input/doo"} {
		if p, ok := s.Point(path); ok {
			t.Errorf("Point(%q) = %+v, want none", path, p)
		}
	}
	for path, want := range map[string][]string{
		"": {"output/pump", "input/door", "input/bell", "reset"}, "input": {"input/door", "input/bell"}, "input/door": {"input/door"}, "inp": nil, "input/": nil,
	} {
		var got []string
		for _, p := range s.Below(path) {
			got = append(got, p.Path)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("Below(%q) (-got +want):\n%s", path, diff)
		}
	}
	own := Service{Name: "gpio", Inputs: "/in", Outputs: "/out", Control: "/c"}
	if diff := cmp.Diff(own.On("h"), own); diff != "" {
		t.Errorf("On changed topics that were set (-got +want):\n%s", diff)
	}
	if got := (Service{Name: "gpio"}).On("h"); got.Inputs != "/h/gpio/set" || got.Outputs != "/h/gpio" || got.Control != "/h/gpio/control" {
		t.Errorf("On = %+v", got)
	}
}

func TestServiceJSON(t *testing.T) {
	t.Parallel()
	s := gpioService()
	s.Version = "1.0"
	s.Points = append(s.Points, Point{
		Path: "temp", Label: "Temperature", Help: "of the board", Type: Float, Access: Get | Set | Event, Unit: "°C", Min: Ptr(-40), Max: Ptr(85),
		Step: Ptr(0.5), Args: []string{"for"}, Genre: System, Class: "temperature", Poll: Duration(90 * time.Second),
	}, Point{Path: "mode", Type: Enum, Access: Set, Options: []string{"eco", "off"}, Genre: Config})
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var got Service
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, s); diff != "" {
		t.Errorf("Service reads back otherwise (-got +want):\n%s", diff)
	}
	sameJSON(t, s.Points[4], `{"path":"temp","label":"Temperature","help":"of the board","type":"float","access":["get","set","event"],"unit":"°C",
		"min":-40,"max":85,"step":0.5,"args":["for"],"genre":"system","class":"temperature","poll":"1m30s","schema":{"type":"number","minimum":-40,"maximum":85}}`)
}

func TestAccessJSON(t *testing.T) {
	t.Parallel()
	for a, want := range map[Access]string{0: `[]`, Get: `["get"]`, Get | Set: `["get","set"]`, Event: `["event"]`, Get | Set | Event: `["get","set","event"]`} {
		b, err := json.Marshal(a)
		if err != nil || string(b) != want {
			t.Errorf("Marshal(%d) = %s, %v, want %s", a, b, err, want)
		}
		var back Access
		if err := json.Unmarshal(b, &back); err != nil || back != a {
			t.Errorf("Unmarshal(%s) = %d, %v, want %d", b, back, err, a)
		}
	}
	for _, in := range []string{`["read"]`, `["GET"]`, `"get"`, `[1]`, `3`, `{}`} {
		if err := json.Unmarshal([]byte(in), new(Access)); err == nil {
			t.Errorf("Unmarshal(%s) = nil, want an error", in)
		}
	}
	if !(Get | Set).Has(Set) || Get.Has(Get|Set) || !Get.Has(0) {
		t.Error("Has is wrong")
	}
}

func TestDurationJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "10s": 10 * time.Second, "1h30m": 90 * time.Minute, "500ms": 500 * time.Millisecond, "1.5s": 1500 * time.Millisecond,
		"2562047h47m16.854775807s": math.MaxInt64,
	} {
		var d Duration
		if err := json.Unmarshal([]byte(quoted(in)), &d); err != nil || time.Duration(d) != want {
			t.Errorf("Unmarshal(%q) = %v, %v, want %v", in, d, err, want)
		}
		b, err := json.Marshal(d)
		var back Duration
		if err == nil {
			err = json.Unmarshal(b, &back)
		}
		if err != nil || back != d {
			t.Errorf("%v reads back from %s as %v, %v", d, b, back, err)
		}
	}
	for _, in := range []string{`""`, `"10"`, `"-1s"`, `"1d"`, `"forever"`, `10`, `"9999999h"`, `"1s "`, `"\n"`} {
		d := Duration(5)
		if err := json.Unmarshal([]byte(in), &d); err == nil || d != 5 {
			t.Errorf("Unmarshal(%s) = %v, %v, want an error and the value as it was", in, d, err)
		}
	}
}

// TestSchema holds that the schemas are legal in draft 2020-12 and take what ParseValue takes and refuse what it refuses.
func TestSchema(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		point     Point
		good, bad []any // values as they stand in JSON
	}{
		"bool":      {Point{Type: Bool}, []any{"ON", "OFF"}, []any{true, "on", 1.0, nil}},
		"int":       {Point{Type: Int}, []any{0.0, -5.0, 9e15}, []any{"1", 1.5, nil, true}},
		"int range": {Point{Type: Int, Min: Ptr(1), Max: Ptr(5)}, []any{1.0, 5.0}, []any{0.0, 6.0}},
		"float":     {Point{Type: Float, Min: Ptr(-0.5), Max: Ptr(0.5)}, []any{-0.5, 0.0, 0.5}, []any{0.6, -1.0, "0", nil}},
		"string":    {Point{Type: String, Min: Ptr(5)}, []any{"", "x"}, []any{1.0, nil, true}},
		"enum":      {Point{Type: Enum, Options: []string{"eco", ""}}, []any{"eco", ""}, []any{"Eco", nil, 1.0}},
		"json":      {Point{Type: JSON}, []any{nil, 1.0, "x", true, []any{}, map[string]any{"a": 1.0}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			schema := compileSchema(t, test.point)
			for _, v := range test.good {
				if err := schema.Validate(v); err != nil {
					t.Errorf("schema refuses %v: %v", v, err)
				}
			}
			for _, v := range test.bad {
				if err := schema.Validate(v); err == nil {
					t.Errorf("schema takes %v", v)
				}
			}
		})
	}
}

// compileSchema returns the schema of the point as it stands in a description, checked against the meta-schema.
func compileSchema(t *testing.T, p Point) *jsonschema.Schema {
	t.Helper()
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Schema map[string]any }
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	doc.Schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("mem:point.json", doc.Schema); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("mem:point.json")
	if err != nil {
		t.Fatalf("schema %s: %v", b, err)
	}
	return schema
}
