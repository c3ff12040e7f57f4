package reports

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseValue(t *testing.T) {
	t.Parallel()
	n := func(s string) json.Number { return json.Number(s) }
	percent := Point{Path: "p", Type: Float, Min: Ptr(0), Max: Ptr(100)}
	count := Point{Path: "p", Type: Int, Min: Ptr(-5), Max: Ptr(5)}
	mode := Point{Path: "p", Type: Enum, Options: []string{"eco", "OFF", ""}}
	plain := func(t Type) Point { return Point{Path: "p", Type: t} }
	const code = "code "
	for _, test := range []struct {
		point Point
		in    any
		want  any // a text that begins with "code " is the code of the error
	}{
		{plain(Bool), "ON", true}, {plain(Bool), "on", true}, {plain(Bool), "1", true}, {plain(Bool), "TRUE", true}, {plain(Bool), " On ", true},
		{plain(Bool), true, true}, {plain(Bool), n("1"), true}, {plain(Bool), 1, true}, {plain(Bool), int64(0), false}, {plain(Bool), 0.0, false},
		{plain(Bool), "OFF", false}, {plain(Bool), "0", false}, {plain(Bool), "False", false}, {plain(Bool), false, false}, {plain(Bool), n("0"), false},
		{plain(Bool), "TOGGLE", Toggle}, {plain(Bool), "toggle", Toggle},
		{plain(Bool), "", code + CodeWrongType}, {plain(Bool), "yes", code + CodeWrongType}, {plain(Bool), "2", code + CodeWrongType},
		{plain(Bool), "1.0", code + CodeWrongType}, {plain(Bool), nil, code + CodeWrongType}, {plain(Bool), []any{true}, code + CodeWrongType},
		{plain(Bool), Toggle, code + CodeWrongType}, {plain(Bool), `"ON"`, code + CodeWrongType},

		{plain(Int), "5", int64(5)}, {plain(Int), "-5", int64(-5)}, {plain(Int), "+5", int64(5)}, {plain(Int), " 5 ", int64(5)}, {plain(Int), "007", int64(7)},
		{plain(Int), "1e3", int64(1000)}, {plain(Int), "5.0", int64(5)}, {plain(Int), n("12"), int64(12)}, {plain(Int), 12, int64(12)},
		{plain(Int), uint64(12), int64(12)}, {plain(Int), 12.0, int64(12)}, {plain(Int), "-0", int64(0)}, {plain(Int), "-0.0", int64(0)},
		{plain(Int), "9223372036854775807", int64(math.MaxInt64)}, {plain(Int), "-9223372036854775808", int64(math.MinInt64)},
		{plain(Int), "9007199254740993", int64(9007199254740993)}, {plain(Int), n("9007199254740993"), int64(9007199254740993)},
		{plain(Int), "5.5", code + CodeWrongType}, {plain(Int), "9223372036854775808", code + CodeWrongType}, {plain(Int), "1e400", code + CodeWrongType},
		{plain(Int), strings.Repeat("9", 60000), code + CodeWrongType}, {plain(Int), "0x10", code + CodeWrongType}, {plain(Int), "1_000", code + CodeWrongType},
		{plain(Int), "NaN", code + CodeWrongType}, {plain(Int), "inf", code + CodeWrongType}, {plain(Int), "", code + CodeWrongType},
		{plain(Int), "five", code + CodeWrongType}, {plain(Int), true, code + CodeWrongType}, {plain(Int), nil, code + CodeWrongType},
		{plain(Int), math.NaN(), code + CodeWrongType}, {plain(Int), math.Inf(1), code + CodeWrongType}, {plain(Int), uint64(math.MaxUint64), code + CodeWrongType},
		{plain(Int), "٥", code + CodeWrongType}, {plain(Int), "5,0", code + CodeWrongType}, {plain(Int), "--5", code + CodeWrongType},
		{count, "5", int64(5)}, {count, -5, int64(-5)}, {count, "6", code + CodeOutOfRange}, {count, -6, code + CodeOutOfRange}, {count, "1e15", code + CodeOutOfRange},

		{plain(Float), "5", 5.0}, {plain(Float), "-1.5e-3", -0.0015}, {plain(Float), ".5", 0.5}, {plain(Float), "5.", 5.0}, {plain(Float), "+5", 5.0},
		{plain(Float), n("1.50"), 1.5}, {plain(Float), 5, 5.0}, {plain(Float), int64(5), 5.0}, {plain(Float), uint64(5), 5.0}, {plain(Float), 5.5, 5.5},
		{plain(Float), "1e308", 1e308}, {plain(Float), "1e-400", 0.0}, {plain(Float), "1e309", code + CodeWrongType}, {plain(Float), n("1e999"), code + CodeWrongType},
		{plain(Float), "nan", code + CodeWrongType}, {plain(Float), "+Inf", code + CodeWrongType}, {plain(Float), "infinity", code + CodeWrongType},
		{plain(Float), "0x1p4", code + CodeWrongType}, {plain(Float), "1_0.5", code + CodeWrongType}, {plain(Float), "e5", code + CodeWrongType},
		{plain(Float), "", code + CodeWrongType}, {plain(Float), "1 2", code + CodeWrongType}, {plain(Float), "1,5", code + CodeWrongType},
		{plain(Float), false, code + CodeWrongType}, {plain(Float), math.NaN(), code + CodeWrongType}, {plain(Float), math.Inf(-1), code + CodeWrongType},
		{plain(Float), map[string]any{}, code + CodeWrongType}, {plain(Float), "20°C", code + CodeWrongType},
		{percent, "0", 0.0}, {percent, "100", 100.0}, {percent, "100.00001", code + CodeOutOfRange}, {percent, "-0.1", code + CodeOutOfRange}, {percent, "-0", math.Copysign(0, -1)},

		{plain(String), "hello", "hello"}, {plain(String), "", ""}, {plain(String), "5", "5"}, {plain(String), "é\n", "é\n"},
		{plain(String), "\xff", code + CodeWrongType}, {plain(String), 5, code + CodeWrongType}, {plain(String), n("5"), code + CodeWrongType},
		{plain(String), true, code + CodeWrongType}, {plain(String), nil, code + CodeWrongType},
		{mode, "eco", "eco"}, {mode, "OFF", "OFF"}, {mode, "", ""}, {mode, "Eco", code + CodeOutOfRange}, {mode, "off", code + CodeOutOfRange},
		{mode, false, code + CodeWrongType}, {mode, strings.Repeat("x", 60000), code + CodeOutOfRange}, {mode, "a\x1b\n", code + CodeOutOfRange},

		{plain(JSON), `{"a":[1]}`, map[string]any{"a": []any{n("1")}}}, {plain(JSON), "5", n("5")}, {plain(JSON), "null", nil}, {plain(JSON), `"x"`, "x"},
		{plain(JSON), "hello", "hello"}, {plain(JSON), "", ""}, {plain(JSON), []any{n("1")}, []any{n("1")}}, {plain(JSON), true, true}, {plain(JSON), nil, nil},
		{plain(JSON), "[1] [2]", "[1] [2]"}, {plain(JSON), strings.Repeat("[", 20000) + strings.Repeat("]", 20000), code + CodeWrongType},
		{plain(JSON), "\xff", code + CodeWrongType},
		{plain("time"), "x", code + CodeWrongType}, {plain(""), "x", code + CodeWrongType},
	} {
		got, err := test.point.ParseValue(test.in)
		if want, ok := test.want.(string); ok && strings.HasPrefix(want, code) {
			if err == nil {
				t.Errorf("%s: ParseValue(%.60v) = %.60v, want an error", test.point.Type, test.in, got)
				continue
			}
			checkError(t, err, strings.TrimPrefix(want, code))
			continue
		}
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: ParseValue(%T %.60v) = %T %v, %v, want %T %v", test.point.Type, test.in, test.in, got, got, err, test.want, test.want)
		}
	}
}

func TestParseValueText(t *testing.T) {
	t.Parallel()
	for want, test := range map[string]struct {
		point Point
		in    any
	}{
		`input/door: "maybe" is not a value of type bool`:       {Point{Path: "input/door", Type: Bool}, "maybe"},
		`a: "120" is not a value of type bool`:                  {Point{Path: "a", Type: Bool}, json.Number("120")},
		`a: 101 is more than 100`:                               {Point{Path: "a", Type: Float, Max: Ptr(100)}, "101"},
		`a: -1 is less than 0.5`:                                {Point{Path: "a", Type: Int, Min: Ptr(0.5)}, -1},
		`a: "fast" is none of eco, off`:                         {Point{Path: "a", Type: Enum, Options: []string{"eco", "off"}}, "fast"},
		`a: "` + strings.Repeat("é", 20) + `"… is none of eco`:  {Point{Path: "a", Type: Enum, Options: []string{"eco"}}, strings.Repeat("é", 50)},
		`a: "x` + strings.Repeat("é", 19) + `"… is none of eco`: {Point{Path: "a", Type: Enum, Options: []string{"eco"}}, "x" + strings.Repeat("é", 50)},
		`a: "{\"b\":1}" is not a value of type int`:             {Point{Path: "a", Type: Int}, map[string]any{"b": 1}},
		`a: "" is not a value of type int`:                      {Point{Path: "a", Type: Int}, nil},
		`a: "\x1b[2J" is not a value of type int`:               {Point{Path: "a", Type: Int}, "\x1b[2J"},
	} {
		if _, err := test.point.ParseValue(test.in); err == nil || err.Error() != want {
			t.Errorf("ParseValue(%v) = %v, want %s", test.in, err, want)
		}
	}
}

func TestFormatValue(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in   any
		want string
	}{
		{nil, ""}, {true, "ON"}, {false, "OFF"}, {5, "5"}, {int64(math.MinInt64), "-9223372036854775808"}, {5.0, "5"}, {0.1, "0.1"}, {-1.5, "-1.5"},
		{1e21, "1000000000000000000000"}, {1e-7, "0.0000001"}, {"text", "text"}, {"", ""}, {"a\nb", "a\nb"}, {uint64(7), "7"}, {int32(7), "7"},
		{[]any{1, "a"}, `[1,"a"]`}, {map[string]any{"a": true}, `{"a":true}`}, {json.Number("1.50"), "1.50"}, {make(chan int), ""},
	} {
		if got := FormatValue(test.in); got != test.want {
			t.Errorf("FormatValue(%v) = %q, want %q", test.in, got, test.want)
		}
	}
}

// TestFormatParse holds that a state can be sent back as a command and means the same.
func TestFormatParse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		typ   Type
		value any
	}{
		{Bool, true}, {Bool, false}, {Int, int64(math.MaxInt64)}, {Int, int64(math.MinInt64)}, {Int, int64(0)}, {Float, math.MaxFloat64}, {Float, math.SmallestNonzeroFloat64},
		{Float, 0.1 + 0.2}, {Float, -1e21}, {String, "a b"}, {String, "ON"}, {JSON, map[string]any{"a": "b"}}, {JSON, []any{"x", true}}, {JSON, "words"},
	} {
		got, err := Point{Path: "p", Type: test.typ}.ParseValue(FormatValue(test.value))
		if err != nil || !reflect.DeepEqual(got, test.value) {
			t.Errorf("%s %v comes back as %v, %v", test.typ, test.value, got, err)
		}
	}
}

func TestReadingJSON(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	sameJSON(t, Reading{Path: "input/door", Value: true, Time: at}, `{"path":"input/door","value":"ON","time":"2026-11-22T13:00:00Z"}`)
	sameJSON(t, Reading{Path: "temp", Value: 20.5, Unit: "°C", Time: at, Stale: true},
		`{"path":"temp","value":20.5,"unit":"°C","time":"2026-11-22T13:00:00Z","stale":true}`)
	if b, err := json.Marshal(Reading{Value: math.NaN()}); err == nil {
		t.Errorf("Marshal of NaN = %s, want an error", b)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in   any
		want []string
		err  string
	}{
		{[]any{"a", "b"}, []string{"a", "b"}, ""}, {[]string{"a"}, []string{"a"}, ""}, {[]any{}, []string{}, ""}, {[]any{json.Number("5"), "pump_drive-2"}, []string{"5", "pump_drive-2"}, ""},
		{"[a,b]", []string{"a", "b"}, ""}, {"a,b", []string{"a", "b"}, ""}, {" [ a , b ] ", []string{"a", "b"}, ""}, {"[]", []string{}, ""}, {" [ ] ", []string{}, ""},
		{`['a', "b"]`, []string{"a", "b"}, ""}, {"a", []string{"a"}, ""}, {json.Number("5"), []string{"5"}, ""},
		{"", nil, `item 1 of the list: name ""`}, {"[a", nil, "bracket is missing"}, {"a]", nil, "bracket is missing"}, {"[a,,b]", nil, "item 2"}, {"a,", nil, "item 2"},
		{"a b", nil, `name "a b"`}, {"a/b", nil, "item 1"}, {`"a`, nil, "item 1"}, {`"a'`, nil, "item 1"}, {"'", nil, "item 1"}, {"a, b, a", nil, `"a" stands twice`},
		{[]any{[]any{"a"}}, nil, "item 1"}, {[]any{nil}, nil, "item 1"}, {[]any{true}, nil, "item 1"}, {[]any{"a", "a"}, nil, "twice"}, {[]any{json.Number("1.5")}, nil, "item 1"},
		{map[string]any{"a": 1}, nil, "not a list of names"}, {true, nil, "not a list of names"}, {nil, nil, "not a list of names"}, {"[[a]]", nil, "item 1"},
		{strings.Repeat("a", MaxName+1), nil, "at most 64"},
	} {
		got, err := Names(test.in)
		switch {
		case test.err == "" && (err != nil || !reflect.DeepEqual(got, test.want)):
			t.Errorf("Names(%#v) = %q, %v, want %q", test.in, got, err, test.want)
		case test.err != "" && (err == nil || got != nil || CodeOf(err) != CodeWrongType || !strings.Contains(err.Error(), test.err)):
			t.Errorf("Names(%#v) = %q, %v, want an error with %q", test.in, got, err, test.err)
		}
	}
}
