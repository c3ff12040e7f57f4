package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rollcall/reports"

	"github.com/google/go-cmp/cmp"
)

// level is a text type with rules of its own.
type level string

func (l *level) UnmarshalText(b []byte) error {
	if string(b) != "low" && string(b) != "high" {
		return fmt.Errorf("%q is neither low nor high", b)
	}
	*l = level(b)
	return nil
}

type inner struct {
	Pin int
	On  bool
}

type shared struct{ Label string }

type everything struct {
	Shared   shared `yaml:",inline"`
	Text     string
	Bool     bool
	Int      int
	Int8     int8
	Uint16   uint16
	Float    float64
	Wait     reports.Duration
	Plain    time.Duration `yaml:"plain_wait"`
	Ptr      *inner
	Struct   inner
	List     []string
	Lists    [][]string
	Pins     map[string]inner
	Addrs    map[netip.Addr]int
	Level    level
	Levels   []level
	Any      any
	Node     Node
	Skipped  string `yaml:"-"`
	Numbered map[int]string
	Channel  chan int
}

func mustNode(t *testing.T, doc string) Node {
	t.Helper()
	n, err := ParseNode("f.yaml", []byte(doc))
	if err != nil {
		t.Fatalf("ParseNode(%q): %v", doc, err)
	}
	return n
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		doc  string
		want everything
	}{
		{"", everything{}},
		{"text: 25", everything{Text: "25"}},
		{"text: off", everything{Text: "off"}},
		{`text: "off"`, everything{Text: "off"}},
		{"text: 2001-01-01", everything{Text: "2001-01-01"}},
		{"text: |\n  a\n  b\n", everything{Text: "a\nb\n"}},
		{"text: >-\n  a\n  b\n", everything{Text: "a b"}},
		{`{"text":"\ud83d\ude00\t\/"}`, everything{Text: "😀\t/"}},
		{"{\n\t\"text\":\t\"tabs\"\n}", everything{Text: "tabs"}},
		{"bool: on", everything{Bool: true}},
		{"bool: Yes", everything{Bool: true}},
		{`{"bool": true}`, everything{Bool: true}},
		{"int: -7\nint8: 127\nuint16: 0x48", everything{Int: -7, Int8: 127, Uint16: 0x48}},
		{"float: 1e3", everything{Float: 1000}},
		{"float: -2", everything{Float: -2}},
		{"wait: 1m30s\nplain_wait: 5ms", everything{Wait: reports.Duration(90 * time.Second), Plain: 5 * time.Millisecond}},
		{"ptr: {pin: 3}", everything{Ptr: &inner{Pin: 3}}},
		{"struct: {pin: 3, on: true}", everything{Struct: inner{3, true}}},
		{"list: []", everything{List: []string{}}},
		{"list: [a, 1, true]", everything{List: []string{"a", "1", "true"}}},
		{"lists: [[up, down], [left, right]]", everything{Lists: [][]string{{"up", "down"}, {"left", "right"}}}},
		{"pins: {a: {pin: 1}, b: }", everything{Pins: map[string]inner{"a": {Pin: 1}, "b": {}}}},
		{"addrs: {127.0.0.1: 5}", everything{Addrs: map[netip.Addr]int{netip.MustParseAddr("127.0.0.1"): 5}}},
		{"level: high\nlevels: [low, high]", everything{Level: "high", Levels: []level{"low", "high"}}},
		{"label: x", everything{Shared: shared{Label: "x"}}},
		{"any: {a: [1, 1.5, x, on, true, 017, 1_000, 99999999999999999999, .inf, null, 2001-01-01]}", everything{Any: map[string]any{
			"a": []any{1, 1.5, "x", "on", true, "017", "1_000", 99999999999999999999.0, ".inf", nil, "2001-01-01"}}}},
		{`{"any": {"a": [1, 1.5e3, "1", false, null, {}]}}`, everything{Any: map[string]any{
			"a": []any{1, 1500.0, "1", false, nil, map[string]any{}}}}},
	} {
		t.Run(test.doc, func(t *testing.T) {
			t.Parallel()
			var got everything
			if err := mustNode(t, test.doc).Decode(&got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, test.want, cmp.AllowUnexported(everything{})); diff != "" {
				t.Errorf("Decode(%q) (-got +want):\n%s", test.doc, diff)
			}
		})
	}
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		"txt: a":                         `f.yaml:1: txt: unknown key; did you mean "text"?`,
		"skipped: a":                     "unknown key",
		"bool: 1":                        `f.yaml:1: bool: "1" is not true or false`,
		"bool: y":                        `"y" is not true or false`,
		"int: 1.0":                       `f.yaml:1: int: "1.0" is not a whole number`,
		"int: 1_000":                     `"1_000" is not a whole number`,
		"int: 017":                       `"017" is not a whole number`,
		"int: 0b1":                       `"0b1" is not a whole number`,
		"int: 0x":                        `"0x" is not a whole number`,
		`int: "1"`:                       `the text "1" stands where a whole number is wanted`,
		"int: |\n  1\n":                  `the text "1\n" stands where a whole number is wanted`,
		"int8: 128":                      `f.yaml:1: int8: "128" is too large a number`,
		"uint16: -1":                     `f.yaml:1: uint16: "-1" is not a whole number`,
		"uint16: 65536":                  `"65536" is too large a number`,
		"float: .inf":                    `".inf" is not a number`,
		"float: 0x1p4":                   `"0x1p4" is not a number`,
		"float: 1e999":                   `"1e999" is too large a number`,
		"wait: 10":                       `f.yaml:1: wait: "10" is not a duration like 500ms, 10s or 1h30m`,
		"plain_wait: -5s":                `f.yaml:1: plain_wait: duration "-5s" is negative`,
		"wait: {}":                       "f.yaml:1: wait: a map stands where a duration is wanted",
		"\nptr:\n  pin: x":               `f.yaml:3: ptr.pin: "x" is not a whole number`,
		"ptr: []":                        "f.yaml:1: ptr: a list stands where a map is wanted",
		"list: a":                        "f.yaml:1: list: a text stands where a list is wanted",
		"list: 1":                        "f.yaml:1: list: a number stands where a list is wanted",
		"list: true":                     "f.yaml:1: list: true or false stands where a list is wanted",
		"lists:\n- [a]\n- b":             "f.yaml:3: lists[1]: a text stands where a list is wanted",
		"lists:\n- [a]\n-\n  - [b]":      "f.yaml:4: lists[1][0]: a list stands where a text is wanted",
		"list: [~]":                      "f.yaml:1: list[0]: nothing stands where a text is wanted",
		"pins:\n  a: {}\n  b: {pn: 1}":   `f.yaml:3: pins.b.pn: unknown key; did you mean "pin"?`,
		"addrs: {localhost: 1}":          "f.yaml:1: addrs.localhost: ParseAddr(\"localhost\"): unable to parse IP",
		"addrs: {'::1': 1, '0:0::1': 2}": "f.yaml:1: addrs.0:0::1: stands twice",
		"levels:\n  - low\n  - middle":   `f.yaml:3: levels[1]: "middle" is neither low nor high`,
		"level: [low]":                   "f.yaml:1: level: a list stands where a text is wanted",
		"numbered: {1: a}":               "f.yaml:1: numbered.1: keys of type int are not supported",
		"channel: 1":                     "f.yaml:1: channel: values of type chan int are not supported",
		"- a":                            "f.yaml:1: a list stands where a map is wanted",
		"text: after\nptr: {pin: 1}\nlist: [z]\nint: x": `f.yaml:4: int: "x" is not a whole number`,
	} {
		t.Run(doc, func(t *testing.T) {
			t.Parallel()
			before := everything{Text: "before", List: []string{"x"}, Ptr: &inner{Pin: 9}}
			got := before
			err := mustNode(t, doc).Decode(&got)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("Decode(%q) = %v, want %s", doc, err, want)
			}
			checkOneLine(t, err)
			if diff := cmp.Diff(got, before, cmp.AllowUnexported(everything{})); diff != "" {
				t.Errorf("Decode(%q) failed and changed the value: %s", doc, diff)
			}
		})
	}
	var notPointer everything
	for _, v := range []any{notPointer, nil, (*everything)(nil)} {
		if err := mustNode(t, "text: a").Decode(v); err == nil {
			t.Errorf("Decode into %T = nil, want an error", v)
		}
	}
}

// TestDecodeOverDefaults holds that what a document does not name stays, and that nothing is shared with the value before.
func TestDecodeOverDefaults(t *testing.T) {
	t.Parallel()
	list, pins, ptr := []string{"x"}, map[string]inner{"a": {Pin: 1}}, &inner{Pin: 5, On: true}
	got := everything{Text: "default", Int: 3, List: list, Pins: pins, Ptr: ptr, Struct: inner{Pin: 4, On: true}}
	const doc = "text:\nint: ~\nlist: [y]\npins: {b: {pin: 2}}\nptr: {pin: 6}\nstruct: {pin: 7}"
	if err := mustNode(t, doc).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := everything{Text: "default", Int: 3, List: []string{"y"}, Pins: map[string]inner{"b": {Pin: 2}}, Ptr: &inner{6, true}, Struct: inner{7, true}}
	if diff := cmp.Diff(got, want, cmp.AllowUnexported(everything{})); diff != "" {
		t.Errorf("Decode over defaults (-got +want):\n%s", diff)
	}
	if list[0] != "x" || len(pins) != 1 || ptr.Pin != 5 {
		t.Errorf("Decode changed what the defaults point to: %v, %v, %v", list, pins, ptr)
	}
}

// checked has a Validate that fails in the way that its text says.
type checked struct {
	Mode    string
	Outputs map[string]inner
	List    []string
	Rest    Node
}

var errCause = errors.New("the cause")

func (c *checked) Validate() error {
	switch c.Mode {
	case "at":
		return At("outputs.pump.pin", "pin %d is taken", c.Outputs["pump"].Pin)
	case "missing":
		return At("outputs.fan.pin", "is missing")
	case "index":
		return At("list[1]", "%q is wrong", c.List[1])
	case "whole":
		return At("", "says nothing: %w", errCause)
	case "plain":
		return errCause
	case "wrapped":
		return fmt.Errorf("validate: %w", At("mode", "%w", errCause))
	case "joined":
		return errors.Join(errCause, errors.New("another\ncause"))
	case "rest":
		var x inner
		return c.Rest.Decode(&x)
	}
	c.Mode = "validated"
	return nil
}

func TestDecodeValidate(t *testing.T) {
	t.Parallel()
	const tail = "\noutputs:\n  fan:\n  pump:\n    pin: 25\nlist:\n  - a\n  - b\nrest:\n  pin: x\n"
	for mode, want := range map[string]string{
		"at":      "f.yaml:5: outputs.pump.pin: pin 25 is taken",
		"missing": "f.yaml:3: outputs.fan.pin: is missing",
		"index":   `f.yaml:8: list[1]: "b" is wrong`,
		"whole":   "f.yaml:1: says nothing: the cause",
		"plain":   "f.yaml:1: the cause",
		"wrapped": "f.yaml:1: mode: the cause",
		"joined":  "f.yaml:1: the cause; another; cause",
		"rest":    `f.yaml:10: rest.pin: "x" is not a whole number`,
	} {
		got := checked{Mode: "before"}
		err := mustNode(t, "mode: "+mode+tail).Decode(&got)
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", mode, err, want)
		}
		if e, ok := errors.AsType[*Error](err); !ok || e.File != "f.yaml" {
			t.Errorf("%s: got %#v, want an *Error", mode, err)
		}
		if strings.Contains(want, "the cause") && !errors.Is(err, errCause) {
			t.Errorf("%s: %v does not keep its cause", mode, err)
		}
		if got.Mode != "before" {
			t.Errorf("%s: a refused document changed the value to %+v", mode, got)
		}
	}
	var got checked
	if err := mustNode(t, "mode: good"+tail).Decode(&got); err != nil || got.Mode != "validated" {
		t.Errorf("Decode = %v, %+v, want what Validate made of it", err, got)
	}
	got = checked{Mode: "missing"}
	if err := (Node{}).Decode(&got); err == nil || err.Error() != "outputs.fan.pin: is missing" {
		t.Errorf("Decode of an empty document = %v", err)
	}
}

func TestAt(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"a.b: is bad":           At("a.b", "is bad"),
		"is bad":                At("", "is bad"),
		`"a b\n": is the cause`: At("a b\n", "is %s", "the cause"),
		"a: the cause":          At("a", "%w", errCause),
	} {
		if err.Error() != want {
			t.Errorf("At = %q, want %q", err, want)
		}
	}
	if err := At("a", "x: %w", errCause); !errors.Is(err, errCause) {
		t.Errorf("%v does not keep its cause", err)
	}
}
