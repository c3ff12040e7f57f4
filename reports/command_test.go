package reports

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseCommand(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 10000) + strings.Repeat("]", 10000)
	for name, test := range map[string]struct {
		verb, payload string
		want          Command
	}{
		"get":                      {"get", "", Command{}},
		"get of white space":       {"get", " \n", Command{}},
		"get with envelope":        {"get", `{"id":1,"reply":"/r"}`, Command{ID: "1", Reply: "/r"}},
		"get with empty envelope":  {"get", `{}`, Command{}},
		"set":                      {"set", "ON", Command{Value: "ON"}},
		"set trims":                {"set", " 5.5\r\n", Command{Value: "5.5"}},
		"set to nothing":           {"set", "", Command{Value: ""}},
		"set to JSON text":         {"set", `"ON"`, Command{Value: `"ON"`}},
		"set to a list":            {"set", `[1,2]`, Command{Value: `[1,2]`}},
		"set to other JSON":        {"set", `{"id":1}`, Command{Value: `{"id":1}`}},
		"set to half an object":    {"set", `{"value":1`, Command{Value: `{"value":1`}},
		"set far too deep":         {"set", `{"value":` + deep + `}`, Command{Value: `{"value":` + deep + `}`}},
		"set envelope":             {"set", `{"value":"ON","id":"a","reply":"/r"}`, Command{Value: "ON", ID: `"a"`, Reply: "/r"}},
		"set number":               {"set", `{"value":1.50}`, Command{Value: json.Number("1.50")}},
		"set huge number":          {"set", `{"value":99999999999999999999}`, Command{Value: json.Number("99999999999999999999")}},
		"set bool":                 {"set", `{"value":true}`, Command{Value: true}},
		"set null":                 {"set", `{"value":null}`, Command{}},
		"set map":                  {"set", `{"value":{"a":[1]}}`, Command{Value: map[string]any{"a": []any{json.Number("1")}}}},
		"set with arguments":       {"set", `{"value":"ON","for":"5s","n":2}`, Command{Value: "ON", Args: map[string]any{"for": "5s", "n": json.Number("2")}}},
		"set, other cases":         {"set", `{"value":"ON","ID":5,"Value":"OFF"}`, Command{Value: "ON", Args: map[string]any{"ID": json.Number("5"), "Value": "OFF"}}},
		"control JSON, key twice":  {"control", `{"name":1,"name":2}`, Command{Value: []byte(`{"name":1,"name":2}`)}}, // the service's to refuse
		"set, null id":             {"set", `{"value":1,"id":null,"reply":"/r"}`, Command{Value: json.Number("1"), Reply: "/r"}},
		"control text":             {"control", "output\n  name pump\n", Command{Value: []byte("output\n  name pump\n")}},
		"control text, indented":   {"control", "\n  output\n  name pump\n", Command{Value: []byte("\n  output\n  name pump\n")}},
		"control JSON":             {"control", `{"name":"pump"}`, Command{Value: []byte(`{"name":"pump"}`)}},
		"control verb":             {"control", `{"verb":"pulse","id":1,"reply":"/r","for":"1s"}`, Command{Value: []byte(`{"verb":"pulse","id":1,"reply":"/r","for":"1s"}`), ID: "1", Reply: "/r"}},
		"control envelope of text": {"control", `{"value":"output\n  pin 5","id":2}`, Command{Value: []byte("output\n  pin 5"), ID: "2"}},
		"control envelope of JSON": {"control", `{"value":{"verb":"pulse"},"id":2}`, Command{Value: []byte(`{"verb":"pulse"}`), ID: "2"}},
		"control, deep":            {"control", deep, Command{Value: []byte(deep)}},
		"setup":                    {"setup", "chip: sim\noutputs: {}\n", Command{Value: []byte("chip: sim\noutputs: {}\n")}},
		"setup, indented":          {"setup", "  chip: sim\n  outputs: {}\n", Command{Value: []byte("  chip: sim\n  outputs: {}\n")}},
		"setup with a verb":        {"setup", `{"verb":"x"}`, Command{Value: []byte(`{"verb":"x"}`)}},
		"setup envelope":           {"setup", `{"value":"chip: sim\n","id":2,"reply":"/r"}`, Command{Value: []byte("chip: sim\n"), ID: "2", Reply: "/r"}},
		"setup of nothing":         {"setup", "", Command{Value: []byte{}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.want.Verb, test.want.Path = test.verb, "a/b"
			got, err := ParseCommand(test.verb, "a/b", []byte(test.payload))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, test.want); diff != "" {
				t.Errorf("ParseCommand(%s, %.100s) (-got +want):\n%s", test.verb, test.payload, diff)
			}
		})
	}
}

func TestParseCommandRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		verb, payload, code string
		id                  ID
		reply               string
	}{
		"1 MB":                      {"set", strings.Repeat("1", 1<<20), CodeTooLarge, "", ""},
		"1 MB of brackets":          {"setup", strings.Repeat("[", 1<<20), CodeTooLarge, "", ""},
		"65,537 bytes":              {"control", strings.Repeat("a", MaxPayload+1), CodeTooLarge, "", ""},
		"not UTF-8":                 {"set", "\xff", CodeBadPayload, "", ""},
		"cut UTF-8":                 {"setup", "a: \xc3", CodeBadPayload, "", ""},
		"get with text":             {"get", "now", CodeBadPayload, "", ""},
		"get with a list":           {"get", "[]", CodeBadPayload, "", ""},
		"get with a value":          {"get", `{"value":1,"id":1,"reply":"/r"}`, CodeBadPayload, "1", "/r"},
		"get with null":             {"get", `{"value":null,"id":1}`, CodeBadPayload, "1", ""},
		"get with more":             {"get", `{"id":1,"reply":"/r","poll":1}`, CodeBadPayload, "1", "/r"},
		"id is a list":              {"set", `{"value":1,"id":[1],"reply":"/r"}`, CodeBadPayload, "", ""},
		"id is long":                {"set", `{"value":1,"id":` + strings.Repeat("1", MaxID+1) + `}`, CodeBadPayload, "", ""},
		"reply is a number":         {"set", `{"value":1,"id":1,"reply":5}`, CodeBadPayload, "1", ""},
		"reply with a wildcard":     {"set", `{"value":1,"id":1,"reply":"/r/#"}`, CodeBadTopic, "1", ""},
		"reply is a command":        {"set", `{"value":1,"id":1,"reply":"/h/gpio/set/x"}`, CodeBadTopic, "1", ""},
		"reply to discovery":        {"get", `{"id":1,"reply":"/udp/report"}`, CodeBadTopic, "1", ""},
		"reply is empty":            {"get", `{"id":1,"reply":""}`, CodeBadTopic, "1", ""},
		"control verb, bad reply":   {"control", `{"verb":"pulse","id":1,"reply":"#"}`, CodeBadTopic, "1", ""},
		"control, more than value":  {"control", `{"value":"x","id":1,"for":"1s"}`, CodeBadPayload, "1", ""},
		"setup, more than value":    {"setup", `{"value":"x","id":1,"chip":"sim"}`, CodeBadPayload, "1", ""},
		"set, value twice":          {"set", `{"value":"ON","id":1,"value":"OFF"}`, CodeBadPayload, "1", ""},
		"set, argument twice":       {"set", `{"value":{"a":[1]},"for":"1s","id":1,"reply":"/r","for":"2s"}`, CodeBadPayload, "1", "/r"},
		"set, twice in the value":   {"set", `{"value":{"a":1,"b":[{"c":1,"d":{},"c":2}]},"id":1}`, CodeBadPayload, "1", ""},
		"set, twice in an argument": {"set", `{"value":1,"for":{"a":1,"\u0061":2},"id":1}`, CodeBadPayload, "1", ""},
		"setup, twice in the value": {"setup", `{"value":{"outputs":{"x":{"pin":1},"x":{"pin":2}}},"id":1}`, CodeBadPayload, "1", ""},
		"set, escaped twice":        {"set", `{"value":1,"\u0076alue":2}`, CodeBadPayload, "", ""},
		"get, id twice":             {"get", `{"id":1,"id":2}`, CodeBadPayload, "2", ""},
		"control verb, path twice":  {"control", `{"verb":"pulse","path":"a","path":"b"}`, CodeBadPayload, "", ""},
		"control, value twice":      {"control", `{"value":"a","value":"b"}`, CodeBadPayload, "", ""},
		"setup, value twice":        {"setup", `{"value":"a","value":"b"}`, CodeBadPayload, "", ""},
		"value is no JSON any more": {"set", `{"value":1e}`, "", "", ""}, // then it is a bare value
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseCommand(test.verb, "p", []byte(test.payload))
			if test.code == "" {
				if err != nil || got.Value != test.payload {
					t.Errorf("ParseCommand = %+v, %v, want a bare value", got, err)
				}
				return
			}
			if err == nil {
				t.Fatalf("ParseCommand(%s, %.100s) = %+v, want an error", test.verb, test.payload, got)
			}
			checkError(t, err, test.code)
			if got.ID != test.id || got.Reply != test.reply || got.Verb != test.verb || got.Path != "p" {
				t.Errorf("ParseCommand = %+v, want id %s and reply %q for the refusal", got, test.id, test.reply)
			}
		})
	}
}

// The same key in two objects stands once in each, and a value in a list is no key.
func TestParseCommandKeysOfTheirOwn(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{`{"value":{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}],"c":["a","a","c"]},"a":["a"]}`, `{"value":[],"a":{},"b":{"a":"b","b":"a"}}`} {
		if _, err := ParseCommand("set", "p", []byte(payload)); err != nil {
			t.Errorf("ParseCommand(%s) = %v", payload, err)
		}
	}
}

func TestParseCommandAtTheLimit(t *testing.T) {
	t.Parallel()
	if _, err := ParseCommand("setup", "", make([]byte, MaxPayload)); err != nil {
		t.Errorf("ParseCommand of %d bytes = %v", MaxPayload, err)
	}
}

func TestResult(t *testing.T) {
	t.Parallel()
	c := Command{ID: "7", Verb: "set", Path: "output/pump", Reply: "/r"}
	sameJSON(t, Done(c, map[string]any{"value": "ON"}), `{"id":7,"ok":true,"data":{"value":"ON"},"verb":"set","path":"output/pump"}`)
	sameJSON(t, Failed(c, Errorf(CodeReadOnly, "output/pump can't be set")),
		`{"id":7,"ok":false,"error":"output/pump can't be set","code":"read_only","verb":"set","path":"output/pump"}`)
	sameJSON(t, Failed(Command{}, io.ErrUnexpectedEOF), `{"id":null,"ok":false,"error":"unexpected EOF","code":"device"}`)
	var back Result
	if err := json.Unmarshal([]byte(`{"id":"a","ok":true}`), &back); err != nil || back.ID != `"a"` || !back.OK {
		t.Errorf("Unmarshal = %+v, %v", back, err)
	}
}

func TestID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]ID{
		"1241": "1241", "-1.50e+3": "-1.50e+3", `"abc"`: `"abc"`, `""`: `""`, "null": "", ` "a\u0041" `: `"a\u0041"`, `"a<"`: `"a\u003c"`,
		`"` + strings.Repeat("x", MaxID-2) + `"`: ID(`"` + strings.Repeat("x", MaxID-2) + `"`),
	} {
		var got ID
		if err := got.UnmarshalJSON([]byte(in)); err != nil || got != want {
			t.Errorf("UnmarshalJSON(%s) = %s, %v, want %s", in, got, err, want)
		}
		b, err := json.Marshal(got)
		var back ID
		if err == nil {
			err = json.Unmarshal(b, &back)
		}
		if err != nil || back != got {
			t.Errorf("%s reads back from %s as %s, %v", got, b, back, err)
		}
	}
	for _, in := range []string{"", " ", "true", "[]", "{}", "abc", `"abc`, "-", "1 2", `"a" `[:2], "nul", `"` + strings.Repeat("x", MaxID) + `"`,
		`"` + strings.Repeat("<", MaxID/2) + `"`, "\x00", "01"} {
		id := ID("before")
		if err := id.UnmarshalJSON([]byte(in)); err == nil || id != "before" {
			t.Errorf("UnmarshalJSON(%q) = %s, %v, want an error", in, id, err)
		} else {
			checkError(t, err, CodeBadPayload)
		}
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int{
		"": 0, "1": 0, "[]": 1, "{}": 1, `[{"a":[1]},[]]`: 3, `"[[["`: 0, `["\"[[["]`: 1, `"\\"[[`: 2, "]]][": 0, "[[[": 3, `"\`: 0, "[" + `"[`: 1,
		strings.Repeat("[", 1<<20): 1 << 20,
	} {
		if got := Depth([]byte(in)); got != want {
			t.Errorf("Depth(%.40q) = %d, want %d", in, got, want)
		}
	}
}

func TestError(t *testing.T) {
	t.Parallel()
	err := Errorf(CodeDevice, "read line %d: %w", 5, io.ErrClosedPipe)
	if err.Error() != "read line 5: io: read/write on closed pipe" || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Errorf = %v, cause %v", err, err.Unwrap())
	}
	for want, err := range map[string]error{
		"": nil, CodeDevice: io.EOF, CodeBusy: Errorf(CodeBusy, "full"), CodeTimeout: errors.Join(io.EOF, Errorf(CodeTimeout, "slow")),
	} {
		if got := CodeOf(err); got != want {
			t.Errorf("CodeOf(%v) = %s, want %s", err, got, want)
		}
	}
}
