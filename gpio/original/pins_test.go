package original

import (
	"strings"
	"testing"

	"rollcall/config"
	"rollcall/gpio"
)

// askedPins is the pin map of PROTOCOL.md §4.
const askedPins = `{"FP_Switch_1":{"Pin":23,"Dir":"Input","PD":"PullUp"}, "FP_Led_2":{"Pin":4,"Dir":"Output","Type":"OC","Value":"1"}}`

func TestParsePins(t *testing.T) {
	t.Parallel()
	led := Block{Kind: Output, Line: 1, Name: "FP_Led_2", Pin: "4", Drive: gpio.OpenDrain, Initial: "on"}
	tests := map[string]struct {
		doc  string
		want []Block
	}{
		"the original's":  {askedPins, []Block{led, {Kind: Input, Line: 1, Name: "FP_Switch_1", Pin: "23", Pull: gpio.PullUp}}},
		"spelt otherwise": {`{"FP_Led_2":{"VALUE":true,"type":"open collector","dir":"out","PIN":"4"}}`, []Block{led}},
		"as YAML":         {"FP_Led_2: {pin: 4, dir: output, type: OC, value: on}", []Block{led}},
		"lines, nulls and empty texts": {"{\n\"b\": {\"Pin\": \"GPIO7\", \"Dir\": \"IN\", \"PD\": null},\n\"a\": {\"Pin\": \"pin11\",\n\"Dir\": \"Output\", \"Value\": 0, \"PD\": \"\"}}",
			[]Block{{Kind: Output, Line: 3, Name: "a", Pin: "pin11", Initial: "off"}, {Kind: Input, Line: 2, Name: "b", Pin: "GPIO7"}}},
		"pulls": {`{"a":{"Pin":1,"Dir":"Input","PD":"PullDown"},"b":{"Pin":2,"Dir":"Input","PD":"None"}}`,
			[]Block{{Kind: Input, Line: 1, Name: "a", Pin: "1", Pull: gpio.PullDown}, {Kind: Input, Line: 1, Name: "b", Pin: "2", Pull: gpio.PullNone}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParsePins([]byte(test.doc))
			if diff := diffBlocks(test.want, got); err != nil || diff != "" {
				t.Errorf("ParsePins(%s): %v, -want +got:\n%s", test.doc, err, diff)
			}
			if !IsPins([]byte(test.doc)) {
				t.Errorf("IsPins(%s) = false, want true", test.doc)
			}
		})
	}
}

func TestParsePinsRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ doc, want string }{
		"nothing":      {"{}", `there is no pin; one is "NAME": {"Pin": 23, "Dir": "Input", "PD": "PullUp"}`},
		"a list":       {"[1]", "line 1: a list stands where a map is wanted"},
		"not a pin":    {`{"a":{"Pin":1,"Dir":"Input"},"b":3}`, `line 1: b: a number stands where a map is wanted`},
		"bad name":     {`{"a/b":{"Pin":1,"Dir":"Input"}}`, `line 1: name "a/b": only A-Z, a-z, 0-9, _ and - are allowed`},
		"no pin":       {`{"a":{"Dir":"Input"}}`, "line 1: input a: pin is missing"},
		"no direction": {`{"a":{"Pin":1}}`, "line 1: a: its Dir is missing: Input or Output"},
		"bad direction": {"{\"a\":{\"Pin\":1,\n\"Dir\":\"Inptu\"}}",
			`line 2: a.Dir: "Inptu" is not input or output; did you mean input?`},
		"unknown key":     {`{"a":{"Pin":1,"Dir":"Input","Typ":"OC"}}`, "line 1: a.Typ: not known of a pin; did you mean Type? known are Pin, Dir, PD, Type, Value"},
		"bad pull":        {`{"a":{"Pin":1,"Dir":"Input","PD":"PullIt"}}`, `line 1: a.PD: "PullIt" is not up, down or none`},
		"bad type":        {`{"a":{"Pin":1,"Dir":"Output","Type":"XX"}}`, `line 1: a.Type: "XX" is not push-pull, open-drain or open-source`},
		"bad value":       {`{"a":{"Pin":1,"Dir":"Output","Value":2}}`, `line 1: a.Value: "2" is not off, on, keep or restore`},
		"value of input":  {`{"a":{"Pin":1,"Dir":"Input","Value":1}}`, "line 1: a.Value: an input has none"},
		"type of input":   {`{"a":{"Pin":1,"Dir":"Input","Type":"OC"}}`, "line 1: a.Type: an input has none"},
		"pin is a map":    {`{"a":{"Pin":{},"Dir":"Input"}}`, "line 1: a.Pin: a map stands where a text is wanted"},
		"name twice":      {`{"a":{"Pin":1,"Dir":"Input"},"a":{"Pin":2,"Dir":"Input"}}`, "line 1: a: stands twice; first on line 1"},
		"key twice":       {`{"a":{"Pin":1,"PIN":2,"Dir":"Input"}}`, "line 1: a.PIN: Pin stands twice; first in line 1"},
		"pin twice":       {`{"a":{"Pin":1,"Dir":"Input"},"b":{"Pin":"1","Dir":"Output"}}`, `line 1: output b: pin: "1" stands twice; first in line 1`},
		"no UTF-8":        {"{\"a\":{\"Pin\":\"\xff\"}}", "line 1: byte 0xff is not UTF-8"},
		"cut short":       {`{"a":{"Pin":1`, "line 1: not YAML: did not find expected ',' or '}'"},
		"too long":        {askedPins + strings.Repeat(" ", config.MaxBytes), "has 65651 bytes, at most 65536 are allowed"},
		"too deep":        {strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20), "line 1: nests more than 16 deep"},
		"control in name": {`{"a":{"Pin":"a\nb","Dir":"Input"}}`, `line 1: a.Pin: "a\nb" is no pin: it is 25, GPIO25, pin22 (header position) or the name of a line`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParsePins([]byte(test.doc))
			if got != nil || err == nil || err.Error() != test.want {
				t.Errorf("ParsePins = %v, error\n%v, want\n%v", got, err, test.want)
			}
		})
	}
}

func TestIsPins(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		askedPins: true, `{"a":{"dir":"Input"}}`: true, `{"chip":"sim","a":{"Pin":1}}`: true, `{"a":{"Pin":1},"b":3}`: true,
		"": false, "{}": false, "[]": false, "pin": false, asked: false,
		`{"outputs":{"pump":{"pin":25}}}`: false, `{"outputs":{"pin":{"pin":25}}}`: false, `{"outputs":{"pin":25}}`: false,
		`{"verb":"toggle","path":"output/a"}`: false, `{"verb":"x","args":{"a":1}}`: false, `{"a":{"Pin":[1]}}`: false, `{"a":`: false,
	}
	for doc, want := range tests {
		if got := IsPins([]byte(doc)); got != want {
			t.Errorf("IsPins(%s) = %v, want %v", doc, got, want)
		}
	}
}
