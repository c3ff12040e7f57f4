package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNodeLine(t *testing.T) {
	t.Parallel()
	n := mustNode(t, `# 1
outputs:
  pump:
    pin: 25
  "a.b":
    pin: 26
  "a":
    c: 1
interlocks:
  - [up, down]
  - [left,
     right]
nothing:
`)
	for path, want := range map[string]int{
		"": 2, "outputs": 2, "outputs.pump": 3, "outputs.pump.pin": 4, "outputs.pump.pull": 3, "outputs.fan.pin": 2, "outputs.a.b.pin": 6,
		"outputs.a.c": 8, "outputs.a.d": 7, "outputs.pum": 2, "outputs.pumps": 2, "interlocks": 9, "interlocks[0]": 10, "interlocks[1][0]": 11,
		"interlocks[1][1]": 12, "interlocks[2]": 9, "interlocks.[1]": 11, "nothing": 13, "nothing.more": 13, "else": 2, "outputs.pump.pin.x": 4,
	} {
		if got := n.Line(path); got != want {
			t.Errorf("Line(%q) = %d, want %d", path, got, want)
		}
	}
	for path, want := range map[string]bool{"": true, "outputs.pump": true, "outputs.fan": false, "nothing": false, "interlocks[1]": true, "interlocks[2]": false} {
		if got := n.Has(path); got != want {
			t.Errorf("Has(%q) = %v, want %v", path, got, want)
		}
	}
	if got := (Node{}).Line("a.b"); got != 0 {
		t.Errorf("Line in an empty document = %d, want 0", got)
	}
}

func TestNodeEntries(t *testing.T) {
	t.Parallel()
	n := mustNode(t, "z: 1\na: {pin: 2}\nm:\n25: x\n").Without("m")
	entries, err := n.Entries()
	if err != nil {
		t.Fatal(err)
	}
	var keys, paths []string
	for _, e := range entries {
		keys, paths = append(keys, e.Key), append(paths, e.Value.Path())
	}
	if diff := cmp.Diff(keys, []string{"z", "a", "25"}); diff != "" {
		t.Errorf("Entries (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(paths, keys); diff != "" {
		t.Errorf("paths (-got +want):\n%s", diff)
	}
	if _, err := entries[0].Value.Entries(); err == nil || err.Error() != "f.yaml:1: z: a number stands where a map is wanted" {
		t.Errorf("Entries of a number = %v", err)
	}
	if entries, err := (Node{}).Entries(); err != nil || entries != nil {
		t.Errorf("Entries of nothing = %v, %v", entries, err)
	}
}

func TestNodeEqual(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"a: 1\nb: [x, y]", "{\"a\": 1,\n\n \"b\": [\"x\", 'y']}", true},
		{"a: 1 # one", "# one\na:   1", true},
		{"", "~", true},
		{"", "{}", false},
		{"a: 1", `a: "1"`, false},
		{"a: 1", "a: 2", false},
		{"a: 1\nb: 2", "b: 2\na: 1", false}, // the order says in what order lines are requested
		{"a: [1, 2]", "a: [1]", false},
		{"a: [1]", "a: {1: }", false},
		{"a: 1", "a: 1\nb: 2", false},
	} {
		a, b := mustNode(t, test.a), mustNode(t, test.b)
		if got := a.Equal(b); got != test.want {
			t.Errorf("Equal(%q, %q) = %v, want %v", test.a, test.b, got, test.want)
		}
		if got := b.Equal(a); got != test.want {
			t.Errorf("Equal(%q, %q) = %v, want %v", test.b, test.a, got, test.want)
		}
	}
	if a := mustNode(t, "a: 1\nb: 2"); !a.Without("b").Equal(mustNode(t, "a: 1")) {
		t.Error("Equal looks at keys that Without took out")
	}
}

// TestParseNodeBounded holds that the worst documents of each kind are refused or read quickly. Each takes a few
// milliseconds; the bound is so wide for machines that are busy.
func TestParseNodeBounded(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{
		"[", "{", "- ", "? ", "a: ", "{a: ", "#\n", "# x\na: 1\n", "- [", "*a ", "&a ", "!a ", "'", "\"", "|\n", "a\n", "a: \n ", " ", "\t",
		"\n", "---\n", "...\n", "%a\n", `{"a":`, "[1,", "[[],", ": ", "!<", "- #\n", "  #a\n- b\n", "? - ", `"\`, "&a [", "- - - #\n", "\r", "\\",
		"'\n", "- '", "{? ", "a: |\n  b\n", "a: >\n\n", "\"\n", "%TAG ! a\n", "- ? - ", ",", "&a\n", "a:\n - b:\n", "@", "`", "\ufeff", "\u00e9",
	} {
		for _, head := range []string{"", "{\"a\":"} {
			doc := head + strings.Repeat(unit, (MaxBytes-len(head))/len(unit))
			start := time.Now()
			n, err := ParseNode("f.yaml", []byte(doc))
			if err != nil {
				checkOneLine(t, err)
			} else if err := n.Decode(new(any)); err != nil {
				t.Errorf("%q…: Decode into any: %v", doc[:8], err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("%q…: took %v", doc[:8], took)
			}
		}
	}
}

func TestEditDistance(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"listen", "listen", 0}, {"lisen", "listen", 1}, {"lsiten", "listen", 1}, {"litsne", "listen", 2},
		{"host", "post", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 1},
	} {
		if got := EditDistance(test.a, test.b); got != test.want {
			t.Errorf("EditDistance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
		if got := EditDistance(test.b, test.a); got != test.want {
			t.Errorf("EditDistance(%q, %q) = %d, want %d", test.b, test.a, got, test.want)
		}
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	known := []string{"pin", "pull", "initial", "active_low"}
	for word, want := range map[string]string{
		"Pin": `did you mean "pin"?`, "pn": `did you mean "pin"?`, "inital": `did you mean "initial"?`, "activelow": `did you mean "active_low"?`,
		"x": "known are pin, pull, initial, active_low", strings.Repeat("x", 300): "known are pin, pull, initial, active_low",
	} {
		if got := Suggest(word, known); got != want {
			t.Errorf("Suggest(%.20q) = %s, want %s", word, got, want)
		}
	}
	if got := Suggest("pin", nil); got != "none is known here" {
		t.Errorf("suggest without known words = %s", got)
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]Error{
		"f.yaml:3: bad":                     {File: "f.yaml", Line: 3, Text: "bad"},
		"f.yaml: bad":                       {File: "f.yaml", Text: "bad"},
		"line 3: bad":                       {Line: 3, Text: "bad"},
		"bad":                               {Text: "bad"},
		`f\x1b.yaml:1: a; b\tc\ufffd\u202e`: {File: "f\x1b.yaml", Line: 1, Text: "a\nb\tc\xff\u202e\n"},
	} {
		if got := e.Error(); got != want {
			t.Errorf("Error() = %s, want %s", got, want)
		}
	}
	if got, want := show(strings.Repeat("é", 100)), `"`+strings.Repeat("é", 30)+`"…`; got != want {
		t.Errorf("show = %s, want %s", got, want)
	}
	if got, want := showPath("a."+strings.Repeat("b", 200)), "a."+strings.Repeat("b", 118)+"…"; got != want {
		t.Errorf("showPath = %s, want %s", got, want)
	}
}
