package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/reports"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files")

// golden compares got with the file, or writes it with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, string(want)); diff != "" {
		t.Errorf("differs from %s (-got +want):\n%s", file, diff)
	}
}

func testHostname() (string, error) { return "pitest.example.org", nil }

func ptr[T any](v T) *T { return &v }

// TestInvalid holds the whole message for each file with one mistake.
func TestInvalid(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/invalid-*.yaml")
	if err != nil || len(files) < 100 {
		t.Fatalf("Glob = %d files, %v", len(files), err)
	}
	var got strings.Builder
	for _, file := range files {
		c, err := Load(file)
		if err == nil {
			t.Errorf("Load(%s) = %+v, want an error", file, c)
			continue
		}
		e, ok := errors.AsType[*Error](err)
		if !ok || e.File != file {
			t.Errorf("Load(%s) = %#v, want an *Error with the file", file, err)
		}
		if diff := cmp.Diff(c, Config{}); diff != "" {
			t.Errorf("Load(%s) returned part of a configuration with its error: %s", file, diff)
		}
		checkOneLine(t, err)
		fmt.Fprintln(&got, strings.TrimPrefix(err.Error(), "testdata/"))
	}
	golden(t, "testdata/invalid.golden", got.String())
}

// checkOneLine reports an error text that could not stand in one line of a log.
func checkOneLine(t *testing.T, err error) {
	t.Helper()
	s := err.Error()
	if oneLine(s) != s {
		t.Errorf("error %q is not one printable line", s)
	}
	if len(s) > 1000 {
		t.Errorf("error has %d bytes: %.100q…", len(s), s)
	}
}

func wantDefaults() Config {
	return Config{
		Host:     "pitest",
		StateDir: "/var/lib/rollcall",
		Discovery: Discovery{
			Port:                37030,
			Hello:               true,
			Relay:               true,
			AuthorizedOperators: "/etc/rollcall/authorized_operators",
			ExtAddr:             ExtAddr{Every: reports.Duration(time.Hour)},
		},
		Broker: Broker{Listen: "127.0.0.1:1883", ListenTLS: "0.0.0.0:8883", ListenJanitoo: Off}, Metrics: Metrics{Listen: "127.0.0.1:9137"}, Janitoo: Janitoo{Network: Off},
	}
}

func TestParseDefaults(t *testing.T) {
	t.Parallel()
	for name, doc := range map[string]string{
		"empty": "", "blank": " \n\n", "comment": "# nothing\n", "document start": "---\n", "null": "null\n", "tilde": "~",
		"byte order mark": "\uFEFF", "empty map": "{}", "json": " {\n} ", "empty keys": "host:\nbroker:\ndiscovery: ~\nagents:\n",
		"empty text": `{"host": "", "broker": {"url": ""}}`, "crlf": "broker:\r\n  listen:\r\n", "ended": "---\nagents: {}\n...\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parse("f.yaml", []byte(doc), testHostname)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, wantDefaults()); diff != "" {
				t.Errorf("parse(%q) (-got +want):\n%s", doc, diff)
			}
		})
	}
	want := wantDefaults()
	want.Host = ""
	if diff := cmp.Diff(Default(), want); diff != "" {
		t.Errorf("Default() (-got +want):\n%s", diff)
	}
}

func TestLoadFull(t *testing.T) {
	t.Parallel()
	got, err := Load("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d := func(d time.Duration) *reports.Duration { return ptr(reports.Duration(d)) }
	options := func(doc string) Node {
		n, err := ParseNode("", []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	want := Config{
		Host:     "pizero2",
		StateDir: "/tmp/rollcall",
		Discovery: Discovery{
			Port:                37031,
			Interfaces:          []string{"eth0", "wlan0.5"},
			ReplyTo:             []string{"pibot01", "pibot02.example.org", "192.168.1.7", "10.0.0.0/8", "fd00::/8", "::1"},
			Legacy:              ptr(false),
			Hello:               true,
			Relay:               true,
			AuthorizedOperators: "/tmp/operators",
			ExtAddr:             ExtAddr{URL: "https://example.org/ip?format=text", Every: reports.Duration(90 * time.Minute)},
		},
		Broker: Broker{ListenTLS: "0.0.0.0:8883", ListenJanitoo: Off, URL: "mqtts://broker.example.org:8883", Username: "pizero2", PasswordFile: "/tmp/password"}, Metrics: Metrics{Listen: "127.0.0.1:9137"}, Janitoo: Janitoo{Network: Off},
		Agents: []Agent{
			{Name: "hostsensor", Kind: "hostsensor"},
			{Name: "door", Kind: "gpio", Options: options("chip: sim\noutputs: {pump: {pin: 25, initial: off}}"), Points: map[string]Filter{
				"input/*":    {OnChange: ptr(true), MinInterval: d(50 * time.Millisecond), Heartbeat: d(time.Minute)},
				"input/bell": {},
			}},
			{Name: "ain", Kind: "ain", Options: options("{}"), Points: map[string]Filter{
				"a0": {Poll: d(10 * time.Second), Scale: ptr(-0.5), Offset: ptr(100.0), Min: ptr(-4.0), Max: ptr(4.0), Digits: ptr(0),
					Delta: ptr(0.25), StaleAfter: d(30 * time.Second)},
			}},
		},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("Load (-got +want):\n%s", diff)
	}
}

func TestParseBroker(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]Broker{
		"listen: 0.0.0.0:1883":               {Listen: "0.0.0.0:1883"},
		`listen: "[::]:1883"`:                {Listen: "[::]:1883"},
		`listen: ":1883"`:                    {Listen: ":1883"},
		"listen: localhost:0":                {Listen: "localhost:0"},
		"listen_tls: off":                    {Listen: "127.0.0.1:1883", ListenTLS: Off},
		"listen_tls: 10.0.0.1:9999":          {Listen: "127.0.0.1:1883", ListenTLS: "10.0.0.1:9999"},
		"listen_janitoo: 0.0.0.0:1884":       {Listen: "127.0.0.1:1883", ListenJanitoo: "0.0.0.0:1884"},
		"url: tcp://127.0.0.1:1883":          {URL: "tcp://127.0.0.1:1883"},
		"url: mqtt://pi":                     {URL: "mqtt://pi:1883"},
		"url: mqtt://pi/":                    {URL: "mqtt://pi:1883"},
		"url: ssl://pi":                      {URL: "ssl://pi:8883"},
		`url: "mqtts://[fd00::1]"`:           {URL: "mqtts://[fd00::1]:8883"},
		"url: tcp://10.0.0.1\n  username: x": {URL: "tcp://10.0.0.1:1883", Username: "x"},
	} {
		got, err := parse("f.yaml", []byte("broker:\n  "+doc+"\n"), testHostname)
		if want.ListenTLS == "" {
			want.ListenTLS = "0.0.0.0:8883"
		}
		if want.ListenJanitoo == "" {
			want.ListenJanitoo = Off
		}
		if err != nil || got.Broker != want {
			t.Errorf("parse(%q) = %+v, %v, want %+v", doc, got.Broker, err, want)
		}
	}
}

func TestParseJanitoo(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]Janitoo{
		"{network: off}":                         {Network: Off},
		"{network: primary}":                     {Network: JanitooPrimary, Hadd: "0001"},
		"{network: secondary, hadd: 0002}":       {Network: JanitooSecondary, Hadd: "0002"},
		"{network: primary, hadd: 0500/0000}":    {Network: JanitooPrimary, Hadd: "0500/0000"},
		"{leases: true}":                         {Network: Off, Leases: true},
		"{network: primary, home_id: \"Hütte\"}": {Network: JanitooPrimary, Hadd: "0001", HomeID: "Hütte"},
	} {
		got, err := parse("f.yaml", []byte("janitoo: "+doc+"\n"), testHostname)
		if err != nil || got.Janitoo != want {
			t.Errorf("parse(%q) = %+v, %v, want %+v", doc, got.Janitoo, err, want)
		}
	}
	if got := (Janitoo{Hadd: "0002"}).Address(); got != "0002/0000" {
		t.Errorf("Address = %q", got)
	}
}

func TestParseHostname(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		hostname string
		err      error
		doc      string
		want     string
		wantErr  string
	}{
		{hostname: "pizero2", want: "pizero2"},
		{hostname: "pizero2.lan.example", want: "pizero2"},
		{hostname: "pi zero", doc: "host: pi", want: "pi"},
		{err: errors.New("no proc"), doc: "host: pi", want: "pi"},
		{hostname: "pi zero", wantErr: `f.yaml: host: is not given, and the hostname "pi zero" can't stand for it: name "pi zero": only A-Z, a-z, 0-9, _ and - are allowed`},
		{hostname: "", doc: "host:", wantErr: `f.yaml:1: host: is not given, and the hostname "" can't stand for it: name "": only A-Z, a-z, 0-9, _ and - are allowed`},
		{hostname: ".lan", wantErr: `f.yaml: host: is not given, and the hostname ".lan" can't stand for it: name "": only A-Z, a-z, 0-9, _ and - are allowed`},
		{hostname: "get", wantErr: `f.yaml: host: is not given, and the hostname "get" can't stand for it: name "get" is a word of the topics`},
		{err: errors.New("no proc"), wantErr: "f.yaml: host: is not given, and the hostname can't be read: no proc"},
	} {
		got, err := parse("f.yaml", []byte(test.doc), func() (string, error) { return test.hostname, test.err })
		if (err == nil) != (test.wantErr == "") || got.Host != test.want {
			t.Errorf("host with hostname %q = %q, %v, want %q", test.hostname, got.Host, err, test.want)
		}
		if err != nil && err.Error() != test.wantErr {
			t.Errorf("hostname %q:\n got %q\nwant %q", test.hostname, err, test.wantErr)
		}
		if test.err != nil && test.wantErr != "" && !errors.Is(err, test.err) {
			t.Errorf("error %v does not keep its cause", err)
		}
	}
}

func TestLoadFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.yaml")
	secret := filepath.Join(dir, "secret.yaml")
	for path, mode := range map[string]os.FileMode{empty: 0o644, secret: 0} {
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path string
		want string // of the error
		is   error
	}{
		{path: pipe, want: "a pipe or socket, not a file"},
		{path: empty},
		{path: os.DevNull},
		{path: filepath.Join(dir, "missing.yaml"), want: "no such file or directory", is: fs.ErrNotExist},
		{path: filepath.Join(empty, "below.yaml"), want: "not a directory"},
		{path: dir, want: "is a directory"},
		{path: "/dev/zero", want: "has 65537 bytes, at most 65536 are allowed"},
		{path: secret, want: "permission denied", is: fs.ErrPermission},
	} {
		t.Run(filepath.Base(test.path), func(t *testing.T) {
			if test.path == secret && os.Geteuid() == 0 {
				t.Skip("root can read every file")
			}
			if test.want == "" {
				if _, err := Parse("", nil); err != nil {
					t.Skipf("this machine's hostname is no name: %v", err)
				}
			}
			_, err := Load(test.path)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("Load = %v, want the defaults", err)
			case test.want != "" && (err == nil || err.Error() != test.path+": "+test.want):
				t.Errorf("Load = %v, want %s: %s", err, test.path, test.want)
			case test.is != nil && !errors.Is(err, test.is):
				t.Errorf("Load = %v, does not keep the cause %v", err, test.is)
			}
		})
	}
	a, errA := Load("")
	b, errB := Parse("", nil)
	if fmt.Sprint(errA) != fmt.Sprint(errB) || !cmp.Equal(a, b) {
		t.Errorf(`Load("") = %+v, %v, want as Parse of nothing: %+v, %v`, a, errA, b, errB)
	}
}

// TestLoadLong holds that a file just at the limit is read and that one byte more is not.
func TestLoadLong(t *testing.T) {
	t.Parallel()
	for extra, ok := range map[int]bool{0: true, 1: false} {
		doc := append([]byte("host: pi\n#"), bytes.Repeat([]byte("x"), MaxBytes-10+extra)...)
		if _, err := Parse("f.yaml", doc); (err == nil) != ok {
			t.Errorf("Parse of %d bytes = %v, want ok %v", len(doc), err, ok)
		}
	}
}

func TestAgentOptionsKeepLines(t *testing.T) {
	t.Parallel()
	const doc = "agents:\n  door:\n    agent: gpio\n\n    chip: sim\n    points: {a: {}}\n    pin: [1]\n"
	c, err := parse("f.yaml", []byte(doc), testHostname)
	if err != nil {
		t.Fatal(err)
	}
	a := c.Agents[0]
	var wrongType struct{ Chip, Pin string }
	var unknown struct{ Chip, Pim string }
	var nearParent struct{ Points, Chip string }
	for _, test := range []struct {
		err  error
		want string
	}{
		{a.Options.Decode(&wrongType), "f.yaml:7: agents.door.pin: a list stands where a text is wanted"},
		{a.Options.Decode(&unknown), `f.yaml:7: agents.door.pin: unknown key; did you mean "pim"?`},
		{a.Options.Decode(&nearParent), "f.yaml:7: agents.door.pin: unknown key; known are points, chip, agent, log, points"},
		{a.Errorf("agent", "there is no kind %q", a.Kind), `f.yaml:3: agents.door.agent: there is no kind "gpio"`},
		{a.Errorf("points.a", "names no point"), "f.yaml:6: agents.door.points.a: names no point"},
		{a.Errorf("", "is too much"), "f.yaml:2: agents.door: is too much"},
		{a.Options.Errorf("chip", "is busy"), "f.yaml:5: agents.door.chip: is busy"},
	} {
		if test.err == nil || test.err.Error() != test.want {
			t.Errorf("got %v, want %s", test.err, test.want)
		}
	}
	var good struct {
		Chip string
		Pin  []int
	}
	if err := a.Options.Decode(&good); err != nil || good.Chip != "sim" || len(good.Pin) != 1 {
		t.Errorf("Decode = %v, %+v", err, good)
	}
}

func TestLogLevel(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want LogLevel
		err  string
	}{
		{"", LogOff, ""}, {"log: off", LogOff, ""}, {"log: debug", LogDebug, ""}, {"log: info", LogInfo, ""}, {"log: warn", LogWarn, ""},
		{"log: error", LogError, ""}, {"log: 'off'", LogOff, ""}, {"log:", LogOff, ""},
		{"log: wran", "", `f.yaml:3: agents.gpio.log: "wran" is no level; did you mean "warn"?`},
		{"log: INFO", "", `f.yaml:3: agents.gpio.log: "INFO" is no level; did you mean "info"?`},
		{"log: true", "", `f.yaml:3: agents.gpio.log: "true" is no level; known are off, debug, info, warn, error`},
		{"log: [info]", "", "f.yaml:3: agents.gpio.log: a list stands where a text is wanted"},
		{"lgo: info", "", `f.yaml:3: agents.gpio.lgo: unknown key; did you mean "log"?`},
	} {
		conf, err := parse("f.yaml", []byte("agents:\n  gpio:\n    "+c.text+"\n"), testHostname)
		if err == nil {
			err = conf.Agents[0].Options.Decode(&struct{}{})
		}
		switch {
		case c.err != "":
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: %v, want %s", c.text, err, c.err)
			}
		case err != nil || conf.Agents[0].Log != c.want:
			t.Errorf("%s: %q, %v, want %q", c.text, conf.Agents[0].Log, err, c.want)
		}
	}
	for l, want := range map[LogLevel]slog.Level{LogDebug: slog.LevelDebug, LogInfo: slog.LevelInfo, LogWarn: slog.LevelWarn, LogError: slog.LevelError} {
		if got := l.Level(); got == nil || *got != want {
			t.Errorf("level of %s is %v", l, got)
		}
	}
	if LogOff.Level() != nil {
		t.Error("off has a level")
	}
}
