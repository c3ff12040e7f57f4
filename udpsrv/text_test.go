package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"rollcall/reports"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"pizero2":               "pizero2",
		"Küche °C":              "Küche °C",
		"a\x1b[2Jb":             `a\x1b[2Jb`,
		"two\nlines\r":          `two\nlines\r`,
		"c1 \u009b31m":          `c1 \u009b31m`,
		"bidi \u202egnp.exe":    `bidi \u202egnp.exe`,
		"bad \xff utf8":         `bad \xff utf8`,
		"tag \U000e0041":        `tag \U000e0041`,
		"\x00":                  `\x00`,
		"replacement \ufffd ok": "replacement \ufffd ok",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %s, want %s", in, got, want)
		}
	}
	doc := "a: \"x\u00a0y\"\n\tb: \u200d\r\n"
	if got := cleanDocument(doc); got != doc {
		t.Errorf("cleanDocument(%q) = %q, want it as it is", doc, got)
	}
	if got, want := cleanDocument("a: \x1b\u202e"), `a: \x1b\u202e`; got != want {
		t.Errorf("cleanDocument = %q, want %q", got, want)
	}
}

func TestCleanJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"{\"a\":\"\u009b1m\"}":        `{"a":"\u009b1m"}`,
		"{\"a\":\"\x7f\u202e\"}\n":    `{"a":"\u007f\u202e"}` + "\n",
		"[\"\U000e0041\",\"ü\"]":      `["\udb40\udc41","ü"]`,
		"[\"\xff\"]":                  `["\ufffd"]`,
		"{\n\t\"plain\": [1.50,2]\n}": "{\n\t\"plain\": [1.50,2]\n}",
	} {
		if got := string(reports.CleanJSON([]byte(in))); got != want {
			t.Errorf("reports.CleanJSON(%q) = %s, want %s", in, got, want)
		}
	}
}

func FuzzCleanJSON(f *testing.F) {
	f.Add("plain")
	f.Add("\u009b\u202e\U000e0041\x7f\n")
	f.Add("\xff\xfe")
	f.Fuzz(func(t *testing.T, s string) {
		in, err := json.Marshal(s)
		if err != nil {
			t.Skip()
		}
		out := reports.CleanJSON(in)
		if i := strings.IndexFunc(string(out), func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("reports.CleanJSON(%q) = %q has an unprintable character at %d", in, out, i)
		}
		var a, b any
		if json.Unmarshal(in, &a) != nil || json.Unmarshal(out, &b) != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("reports.CleanJSON(%q) = %q means something else", in, out)
		}
		if i := strings.IndexFunc(clean(s), func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("clean(%q) has an unprintable character at %d", s, i)
		}
	})
}

func TestParseBroker(t *testing.T) {
	t.Parallel()
	good := []struct {
		in, url, replyTo string
		user, password   string
	}{
		{in: "mqtt://pibot01", url: "tcp://pibot01:1883", replyTo: "pibot01"},
		{in: "pibot01:1999", url: "tcp://pibot01:1999", replyTo: "pibot01:1999"},
		{in: "tcp://10.0.0.2:1883/", url: "tcp://10.0.0.2:1883", replyTo: "10.0.0.2"},
		{in: "mqtts://broker.lan", url: "ssl://broker.lan:8883", replyTo: "mqtts://broker.lan:8883"},
		{in: "tcp://[2001:db8::1]", url: "tcp://[2001:db8::1]:1883", replyTo: "[2001:db8::1]:1883"},
		{in: "2001:db8::1", url: "tcp://[2001:db8::1]:1883", replyTo: "[2001:db8::1]:1883"},
		{in: "mqtt://me:p%40ss@h:1", url: "tcp://h:1", replyTo: "h:1", user: "me", password: "p@ss"},
	}
	for _, c := range good {
		b, err := parseBroker(c.in)
		if err != nil {
			t.Errorf("parseBroker(%q): %v", c.in, err)
			continue
		}
		if b.String() != c.url || b.replyTo(b.Host) != c.replyTo || b.User != c.user || b.Password != c.password {
			t.Errorf("parseBroker(%q) = %v, replyto %q, user %q %q", c.in, b, b.replyTo(b.Host), b.User, b.Password)
		}
		conf := b.config(&app{err: &output{}})
		if conf.Foreign != (c.user == "") || conf.URL != c.url || conf.Username != c.user {
			t.Errorf("config of %q: URL %q, foreign %v, user %q", c.in, conf.URL, conf.Foreign, conf.Username)
		}
		if s := b.stranger(); s.User != "" || s.Password != "" || s.String() != c.url {
			t.Errorf("stranger of %q still has %q %q", c.in, s.User, s.Password)
		}
	}
	for _, bad := range []string{"", "mqtt://", "http://h", "mqtt://h:0", "mqtt://h:99999", "mqtt://h/path", "mqtt://h?x=1",
		"mqtt://h#f", "mqtt://user:secret@h:port", "mqtt://user:secret@[", "://h", "::1:x",
		"mqtt://a b", "mqtt://a..b", "mqtt://[fe80::1%25eth0]"} {
		_, err := parseBroker(bad)
		if err == nil {
			t.Errorf("parseBroker(%q) took it", bad)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("parseBroker(%q) says the password: %v", bad, err)
		}
	}
}

func FuzzParseBroker(f *testing.F) {
	for _, s := range []string{"mqtt://u:p@h:1", "h", "[::1]:1", "ssl://h/", "tcp://%zz", "::1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := parseBroker(s)
		if err != nil {
			return
		}
		again, err := parseBroker(b.String())
		if err != nil || again != b.stranger() {
			t.Errorf("parseBroker(%q) = %v; its String() gives %v, %v", s, b, again, err)
		}
	})
}
