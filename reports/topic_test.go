package reports

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestValidName(t *testing.T) {
	t.Parallel()
	for s, ok := range map[string]bool{
		"pizero2": true, "a": true, "A-b_9": true, "-": true, "0": true, strings.Repeat("x", MaxName): true,
		"": false, strings.Repeat("x", MaxName+1): false, "a b": false, "a/b": false, "a.b": false, "é": false, "a\n": false, "a\x00": false, "+": false,
		"#": false, "$SYS": false, "a\xff": false, "ａ": false,
	} {
		checkValid(t, "ValidName", s, ValidName(s), ok)
	}
}

func checkValid(t *testing.T, what, s string, err error, ok bool) {
	t.Helper()
	if (err == nil) != ok {
		t.Errorf("%s(%.60q) = %v, want ok %v", what, s, err, ok)
	}
	if err != nil {
		checkError(t, err, CodeBadTopic)
	}
}

func TestValidPath(t *testing.T) {
	t.Parallel()
	for s, ok := range map[string]bool{
		"load": true, "input/door": true, "disk/sda1.2/used": true, "a/get": true, "getter": true, strings.Repeat("x", MaxPath): true,
		"": false, "/": false, "/a": false, "a/": false, "a//b": false, "a b": false, "a/+": false, "#": false, "a/é": false, "a\x00": false,
		strings.Repeat("x", MaxPath+1): false,
		"get":                          false, "set/a": false, "control": false, "setup": false, "result": false, "description": false, "status/x": false, "error": false, "log": false,
	} {
		checkValid(t, "ValidPath", s, ValidPath(s), ok)
	}
}

func TestValidTopic(t *testing.T) {
	t.Parallel()
	for s, ok := range map[string]bool{
		"/stat/data": true, "a": true, "a//b": true, "/": false, "": false, "///": false, "a b/é": true, "a/$b": true, strings.Repeat("x", MaxTopic): true,
		strings.Repeat("x", MaxTopic+1): false, strings.Repeat("x", 70000): false, "a/#": false, "a/+/b": false, "a#": false, "a\x00": false,
		"a\n": false, "a\x7f": false, "a\u0085": false, "a\xff": false, "$SYS/x": false, "/$SYS/x": false, "//$SYS/x": false, "$share/g/t": false,
	} {
		checkValid(t, "ValidTopic", s, ValidTopic(s), ok)
	}
}

func TestValidReply(t *testing.T) {
	t.Parallel()
	for s, ok := range map[string]bool{
		"/my/replies": true, "replies/1": true, "/h/gpio/result": true, "/settings": true,
		"/udp/report": false, "udp/report": false, "/udp": false, "/h/gpio/set/output/pump": false, "h/gpio/get": false, "/set/gpio/a": false,
		"/h/control/gpio": false, "/h/gpio/setup": false, "": false, "a/#": false, "$SYS/a": false,
	} {
		checkValid(t, "ValidReply", s, ValidReply(s), ok)
	}
}

func TestTopics(t *testing.T) {
	t.Parallel()
	tp := Topics{"pizero2", "gpio"}
	for _, test := range []struct{ got, want string }{
		{tp.Base(), "/pizero2/gpio"}, {tp.To("set"), "/pizero2/gpio/set"}, {HostStatus("pizero2"), "/pizero2/status"},
	} {
		if test.got != test.want {
			t.Errorf("got %s, want %s", test.got, test.want)
		}
	}
}

func TestTopicsParse(t *testing.T) {
	t.Parallel()
	tp := Topics{"pizero2", "gpio"}
	for topic, want := range map[string]string{ // verb and path; "" for none
		"/pizero2/gpio/get":                       "get ",
		"/pizero2/gpio/get/":                      "get ",
		"/pizero2/gpio/get/input/door":            "get input/door",
		"pizero2/gpio/set/output/pump":            "set output/pump",
		"/pizero2/gpio/set/set/get":               "set set/get",
		"/pizero2/gpio/control":                   "control ",
		"pizero2/gpio/setup":                      "setup ",
		"/pizero2/gpio/get/setup":                 "get setup",
		"/pizero2/get/gpio":                       "get ",
		"/pizero2/get/gpio/input":                 "get input",
		"/pizero2/set/gpio/output/pump":           "set output/pump",
		"/pizero2/control/gpio":                   "control ",
		"/pizero2/setup/gpio":                     "setup ",
		"/get/gpio/input/door":                    "get input/door",
		"set/gpio/output/pump":                    "set output/pump",
		"/pizero2/gpio/control/x":                 "",
		"/pizero2/gpio/control/":                  "",
		"/pizero2/setup/gpio/":                    "",
		"/control/gpio":                           "",
		"/setup/gpio":                             "",
		"/pizero2/gpio":                           "",
		"/pizero2/gpio/":                          "",
		"/pizero2":                                "",
		"/":                                       "",
		"":                                        "",
		"//pizero2/gpio/get":                      "",
		"/pizero2//gpio/get":                      "",
		"/pizero2/gpio/result":                    "",
		"/pizero2/gpio/output/pump":               "",
		"/pizero2/gpio2/get":                      "",
		"/pizero22/gpio/get":                      "",
		"/PIZERO2/gpio/get":                       "",
		"/pizero2/gpio/GET":                       "",
		"/other/pizero2/gpio/get":                 "",
		"/gpio/get":                               "",
		"/gpio/set/output/pump":                   "",
		"/get/pizero2/gpio":                       "",
		"/get/set/gpio":                           "",
		"/pizero2/get/set/gpio":                   "",
		"$SYS/pizero2/gpio/get":                   "",
		"/pizero2/gpio/get\x00":                   "",
		"/pizero2/" + strings.Repeat("a/", 30000): "",
	} {
		verb, path, ok := tp.Parse(topic)
		got := ""
		if ok {
			got = verb + " " + path
		}
		if got != want {
			t.Errorf("Parse(%.60q) = %q, want %q", topic, got, want)
		}
	}
}

// matches reports whether a topic matches a filter (MQTT 3.1.1 §4.7.1).
func matches(filter, topic string) bool {
	f, s := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i := range f {
		if f[i] == "#" {
			return true
		}
		if i >= len(s) || (f[i] != "+" && f[i] != s[i]) {
			return false
		}
	}
	return len(f) == len(s)
}

// TestFiltersParse holds that a topic is a command of a service if and only if the service has subscribed to it, for names
// that are words of the interface as well.
func TestFiltersParse(t *testing.T) {
	t.Parallel()
	words := []string{"get", "set", "control", "setup", "gpio", "h", "status", "x", "", "result", "udp"}
	names := slices.DeleteFunc(slices.Clone(words), func(s string) bool { return s == "" })
	rapid.Check(t, func(t *rapid.T) {
		tp := Topics{rapid.SampledFrom(names).Draw(t, "host"), rapid.SampledFrom(names).Draw(t, "service")}
		topic := strings.Join(rapid.SliceOfN(rapid.SampledFrom(append(words, tp.Host, tp.Service)), 1, 6).Draw(t, "topic"), "/")
		subscribed := slices.ContainsFunc(tp.Filters(), func(f string) bool { return matches(f, topic) })
		verb, path, ok := tp.Parse(topic)
		if ok != subscribed {
			t.Fatalf("%+v: Parse(%q) = %q, %q, %v; subscribed to it: %v", tp, topic, verb, path, ok, subscribed)
		}
		if ok && (!slices.Contains(Verbs, verb) || !strings.HasSuffix(topic, path)) {
			t.Fatalf("%+v: Parse(%q) = %q, %q", tp, topic, verb, path)
		}
	})
}

func TestFilters(t *testing.T) {
	t.Parallel()
	want := []string{
		"/h/gpio/get/#", "/h/gpio/set/#", "/h/gpio/control", "/h/gpio/setup", "/h/get/gpio/#", "/h/set/gpio/#", "/h/control/gpio", "/h/setup/gpio",
		"/get/gpio/#", "/set/gpio/#",
	}
	for _, f := range slices.Clone(want) {
		want = append(want, f[1:])
	}
	got := Topics{"h", "gpio"}.Filters()
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("Filters (-got +want):\n%s", diff)
	}
	for _, f := range got {
		topic := strings.Replace(f, "#", "a/b", 1)
		_, path, ok := Topics{"h", "gpio"}.Parse(topic)
		if !ok || (path == "a/b") != strings.HasSuffix(f, "#") {
			t.Errorf("Parse(%q) = %q, %v", topic, path, ok)
		}
	}
}

// TestReservedNames holds what services and hosts called as words of the interface hear.
func TestReservedNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		host, service, topic, verb, path string
	}{
		{"h", "get", "/h/get/set/a", "set", "a"}, // the canonical form wins over the original's: get of service set
		{"h", "get", "/h/get/get/a", "get", "a"},
		{"h", "get", "/h/set/get/a", "set", "a"},
		{"h", "get", "/get/set/a", "", ""}, // the local form of a get of service set
		{"h", "set", "/get/set/a", "get", "a"},
		{"set", "gpio", "/set/gpio/set/a", "set", "a"},
		{"set", "gpio", "/set/gpio/a", "set", "a"}, // the local form
		{"set", "gpio", "/get/gpio/a", "get", "a"},
		{"get", "set", "/get/set/set/a", "set", "a"},
	} {
		verb, path, ok := Topics{test.host, test.service}.Parse(test.topic)
		if verb != test.verb || path != test.path || ok != (test.verb != "") {
			t.Errorf("%s/%s: Parse(%q) = %q, %q, %v, want %q, %q", test.host, test.service, test.topic, verb, path, ok, test.verb, test.path)
		}
	}
}

func TestFirstLabel(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"pi": "pi", "pi.example.org": "pi", "pi.local.": "pi", "10.0.0.1": "10.0.0.1", "::1": "::1", "a b.org": "a b.org",
		"pi..org": "pi..org", "": "", strings.Repeat("a.", 200): strings.Repeat("a.", 200),
	} {
		if got := FirstLabel(name); got != want {
			t.Errorf("FirstLabel(%q) = %q, want %q", name, got, want)
		}
	}
}
