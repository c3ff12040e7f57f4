package reports

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// checkText reports an error text that is not UTF-8 or long. (Errors of encoding/json quote what they repeat.)
func checkText(t *testing.T, err error) {
	t.Helper()
	if s := err.Error(); !utf8.ValidString(s) || len(s) > 2000 || strings.ContainsAny(s, "\n\x00\x1b") {
		t.Errorf("error %q is not one short line", s)
	}
	if CodeOf(err) == CodeDevice {
		t.Errorf("error %v has no code", err)
	}
}

// FuzzParseRequest holds that what is accepted is within the bounds and reads back as it was.
func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{original, originalReport, "", "{}", "null", "[]", withField("topic", `"a/#"`), withField("id", `"<"`), withField("ReplyTo", "5"),
		withField("x", `{"a":[1e5,"\ud83d\ude00",null]}`), withField("cmd", `"getapps"`), "RCL1\x01", withField("replyto", `"mqtt://user:pw@host"`)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRequest(b)
		if err != nil {
			checkText(t, err)
			return
		}
		if !slices.Contains(Commands, r.Cmd) || ValidTopic(r.Topic) != nil || len(r.ReplyTo) > MaxTopic || len(r.ID) > MaxID || len(r.Seq) > MaxID {
			t.Errorf("ParseRequest accepts %+v", r)
		}
		checkRequestRoundTrip(t, r)
		if report := ReportFor(r, gpioService()); report["pass"] != nil || report["service"] != "gpio" {
			t.Errorf("ReportFor = %v", report)
		}
	})
}

// FuzzParseReport holds that what is accepted can be shown, reads back as it was, and has a host.
func FuzzParseReport(f *testing.F) {
	for _, s := range []string{originalReport, original, "{}", `{"cmd":"getinputs","topic":"a","hostname":"h","inputs":[],"outputs":"x"}`,
		`{"cmd":"status","topic":"a","hostname":"h","function":"f","outputs":"/a/b/","service":"a b"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseReport(b)
		if err != nil {
			checkText(t, err)
			return
		}
		if r.Hostname == "" || r.check() != nil {
			t.Errorf("ParseReport accepts %+v", r)
		}
		if s := FoundFrom(r); s.Name != r.Function && ValidName(s.Name) != nil {
			t.Errorf("FoundFrom = %+v", s)
		}
		checkReportRoundTrip(t, r)
	})
}

// FuzzParseCommand holds that commands are within the bounds, and that a reply is never a command topic.
func FuzzParseCommand(f *testing.F) {
	for _, s := range []string{"", "ON", "5", `{"value":"ON","id":1,"reply":"/r"}`, `{"value":{"a":[1]},"for":"5s"}`, `{"verb":"pulse","id":"x"}`, "output\n  pin 5",
		`{"value":1,"reply":"/h/gpio/set/x"}`, `{"id":[]}`, "[[[[", `{"value":`} {
		for i := range Verbs {
			f.Add(i, []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, verb int, payload []byte) {
		v := Verbs[uint(verb)%uint(len(Verbs))]
		c, err := ParseCommand(v, "a/b", payload)
		if c.Verb != v || c.Path != "a/b" || len(c.ID) > MaxID || (c.Reply != "" && ValidReply(c.Reply) != nil) {
			t.Errorf("ParseCommand = %+v, %v", c, err)
		}
		result := Done(c, nil)
		if err != nil {
			checkText(t, err)
			result = Failed(c, err)
		}
		if _, err := json.Marshal(result); err != nil {
			t.Errorf("the result can't be written: %v", err)
		}
		if doc, ok := c.Value.([]byte); err == nil && (v == "control" || v == "setup") && !ok {
			t.Errorf("the document of a %s is %T %v", v, c.Value, doc)
		}
		if err == nil && v == "get" && (c.Value != nil || c.Args != nil) {
			t.Errorf("a get has a value: %+v", c)
		}
	})
}

// FuzzParseValue holds that a value has the Go type of its point, lies within its bounds, and comes back from its own text.
func FuzzParseValue(f *testing.F) {
	for _, s := range []string{"ON", "toggle", "5", "-0", "1e308", "0x1", "NaN", "9223372036854775807", "9007199254740993.0", "a", `{"a":[1]}`, `"x"`, "[[[", "1_0", ""} {
		for i := range 6 {
			f.Add(i, s)
		}
	}
	f.Fuzz(func(t *testing.T, typ int, s string) {
		types := []Type{Bool, Int, Float, String, Enum, JSON}
		p := Point{Path: "p", Type: types[uint(typ)%uint(len(types))]}
		if p.Type == Enum {
			p.Options = []string{"a", "b"}
		}
		if p.Type == Float {
			p.Min, p.Max = Ptr(-1e300), Ptr(1e300)
		}
		v, err := p.ParseValue(s)
		if err != nil {
			checkText(t, err)
			return
		}
		var ok bool
		switch p.Type {
		case Bool:
			_, ok = v.(bool)
			ok = ok || v == Toggle
		case Int:
			_, ok = v.(int64)
		case Float:
			var x float64
			x, ok = v.(float64)
			ok = ok && math.Abs(x) <= 1e300
		case String, Enum:
			var x string
			x, ok = v.(string)
			ok = ok && x == s && (p.Type == String || slices.Contains(p.Options, x))
		case JSON:
			ok = true
		}
		if !ok {
			t.Fatalf("%s: ParseValue(%q) = %T %v", p.Type, s, v, v)
		}
		if v == Toggle || p.Type == JSON {
			return // the one has no text; the other's may say the same in other words
		}
		if again, err := p.ParseValue(FormatValue(v)); err != nil || again != v {
			t.Errorf("%s: %v comes back as %v, %v", p.Type, v, again, err)
		}
	})
}

// FuzzNames holds that what is accepted are names, each once, and that the list is taken again as JSON and without its quotes.
func FuzzNames(f *testing.F) {
	for _, s := range []string{`["a","b"]`, "[a,b]", "a, b", "a", "5", "[]", "", "[a", "a,,b", `['a', "b"]`, `{"a":1}`, "null", "a,a", "[[a]]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := Point{Path: "p", Type: JSON}
		v, err := p.ParseValue(s)
		if err != nil {
			return
		}
		names, err := Names(v)
		if err != nil {
			checkText(t, err)
			return
		}
		for i, n := range names {
			if ValidName(n) != nil || slices.Contains(names[:i], n) {
				t.Errorf("Names(%q) = %q", s, names)
			}
		}
		for _, again := range []string{FormatValue(names), "[" + strings.Join(names, ",") + "]"} {
			v, err := p.ParseValue(again)
			if err != nil {
				t.Fatalf("ParseValue(%q): %v", again, err)
			}
			if back, err := Names(v); err != nil || !slices.Equal(back, names) {
				t.Errorf("%q: %q comes back as %q, %v", s, again, back, err)
			}
		}
	})
}

// FuzzTopicsParse holds that a topic is a command if and only if one of the filters brings it.
func FuzzTopicsParse(f *testing.F) {
	for _, s := range []string{"/h/gpio/set/a/b", "get/gpio", "/h/set/gpio/x", "//", "", "/set/set/set", "h/gpio/control/", "/h/gpio/get/\x00"} {
		f.Add("h", "gpio", s)
		f.Add("set", "get", s)
	}
	f.Fuzz(func(t *testing.T, host, service, topic string) {
		if ValidName(host) != nil || ValidName(service) != nil {
			return
		}
		tp := Topics{host, service}
		verb, path, ok := tp.Parse(topic)
		if subscribed := slices.ContainsFunc(tp.Filters(), func(f string) bool { return matches(f, topic) }); ok != subscribed {
			t.Errorf("%+v: Parse(%q) = %q, %q, %v; subscribed to it: %v", tp, topic, verb, path, ok, subscribed)
		}
	})
}

// FuzzValid holds that names, paths, topics and reply topics that are accepted can be published on as they are.
func FuzzValid(f *testing.F) {
	for _, s := range []string{"pizero2", "input/door", "/stat/data", "$SYS/x", "/udp/report", "a/+", "#", "\x00", "\xff", "//", "a//b", "/$a", "/h/s/set/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, valid := range []func(string) error{ValidName, ValidPath, ValidTopic, ValidReply} {
			if err := valid(s); err != nil {
				checkText(t, err)
			} else if s == "" || len(s) > MaxTopic || !utf8.ValidString(s) || strings.ContainsAny(s, "#+\x00") || strings.HasPrefix(strings.TrimLeft(s, "/"), "$") {
				t.Errorf("%q is accepted", s)
			}
		}
		if ValidReply(s) == nil {
			segs := strings.Split(strings.Trim(s, "/"), "/")
			tp := Topics{segs[0], segs[min(1, len(segs)-1)]}
			if verb, _, ok := tp.Parse(s); ok {
				t.Errorf("%q is accepted as a reply topic and is a %s", s, verb)
			}
		}
	})
}

// FuzzDuration holds that a duration is never negative and reads back as it was.
func FuzzDuration(f *testing.F) {
	for _, s := range []string{"10s", "1h30m", "0", "-1s", "9999999h", "1.5ms", "", "µs"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d, back Duration
		if d.UnmarshalText(b) != nil {
			return
		}
		text, err := d.MarshalText()
		if err != nil || d < 0 || back.UnmarshalText(text) != nil || back != d {
			t.Errorf("%q is %v and reads back from %q as %v", b, d, text, back)
		}
	})
}

// FuzzService holds that a description that is read can be checked and written, and says the same when it is read again.
func FuzzService(f *testing.F) {
	b, err := json.Marshal(gpioService())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"name":"a","function":"f","points":[{"path":"m","type":"enum","access":["set"],"options":["a"],"min":1e308,"poll":"1h"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again Service
		if json.Unmarshal(b, &s) != nil || s.Validate() != nil {
			return
		}
		first, err := json.Marshal(s)
		if err != nil {
			t.Fatalf("a valid description can't be written: %v", err)
		}
		if err := json.Unmarshal(first, &again); err != nil {
			t.Fatalf("Unmarshal(%s): %v", first, err)
		}
		second, err := json.Marshal(again)
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s reads back as %s, %v", first, second, err)
		}
	})
}
