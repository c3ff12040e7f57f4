package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports"
	"rollcall/reports/faces"
)

// publishRetained keeps messages at a broker, as topic and payload by turns.
func publishRetained(t testing.TB, url string, messages ...string) {
	t.Helper()
	c := bustest.Dial(t, url)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i := 0; i < len(messages); i += 2 {
		if err := c.Publish(ctx, bus.Message{Topic: messages[i], Payload: []byte(messages[i+1]), QoS: 1, Retained: true}); err != nil {
			t.Fatal(err)
		}
	}
}

// topicsOf returns the topics that the face of JSON Schema has.
func topicsOf(t *testing.T, document string) map[string]any {
	t.Helper()
	var d struct{ Properties map[string]any }
	if err := json.Unmarshal([]byte(document), &d); err != nil {
		t.Fatalf("%v in %q", err, document)
	}
	return d.Properties
}

// wholeDocs returns the document of pizero2 with all its services: on a busy machine its broker may be given up too soon.
func (l *laptop) wholeDocs(format, to string) (document string) {
	l.t.Helper()
	for range 10 {
		document, _ = l.want(exitOK, "docs", "--format", format, "--to", to)
		if strings.Contains(document, "pump") && strings.Contains(document, "cups") {
			return document
		}
	}
	l.t.Errorf("%s: without all services: %s", format, document)
	return document
}

func TestDocs(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	serve(t, url, nil)
	publishRetained(t, url, "/pizero2/gpio/output/pump", "ON", "/pizero2/gpio/output/level", "12.5", "/pizero2/gpio/error", "oh\x1b[31m", "/pizero2/gpio/set/output/pump", "OFF",
		"/pizero2/liar/description", `{"name":"other","function":"x","points":[]}`, "/pizero2/bad/description", `{"name":"bad","function":"x","points":[{"path":"get","type":"int","access":["get"]}]}`,
		"pizero2/coffee/description", `{"name":"coffee","function":"coffee","points":[{"path":"cups","type":"int","access":["get","set"]}]}`, "pizero2/coffee/cups", "7")
	r := boot(t, hostNamed("pizero2", 1, url), nil)
	closed := boot(t, hostNamed("closed", 2, "tcp://"+freePort(t)), nil)
	to := r.addr + "," + closed.addr
	l := newLaptop(t)

	stdout, stderr := l.want(exitOK, "docs", "--format", "json-schema", "--to", to)
	got := topicsOf(t, stdout)
	for topic, want := range map[string]bool{"/pizero2/gpio/output/pump": true, "/pizero2/gpio/set/output/pump": true, "/pizero2/gpio/set/input/door": false, "/pizero2/status": true,
		"/pizero2/coffee/cups": true, "/pizero2/hostsensor/status": true, "/pizero2/liar/status": false, "/pizero2/bad/status": false, "/closed/gpio/status": true} {
		if got[topic] != nil != want {
			t.Errorf("topic %s is there: %v, want %v", topic, got[topic] != nil, want)
		}
	}
	if !strings.Contains(stderr, "described by the sweep alone: closed: connect to") {
		t.Errorf("stderr %q does not say that closed was not read", stderr)
	}
	for _, f := range faces.All() {
		if first, again := l.wholeDocs(f.Name, to), l.wholeDocs(f.Name, closed.addr+","+r.addr); again != first {
			t.Errorf("%s: the same cluster gave other bytes", f.Name)
		}
	}
	if asyncAPI, _ := l.want(exitOK, "docs", "--format", "asyncapi", "--values", "--to", r.addr); !strings.Contains(asyncAPI, `"payload": 12.5`) || !strings.Contains(asyncAPI, `"payload": 7`) {
		t.Error("last values are no examples")
	}
	// Completion knows the points now.
	if words := targetWords((&app{cache: l.cache, err: &output{w: &strings.Builder{}}}).openCache().Hosts, "pizero2/coffee/", func(cachedPoint) bool { return true }); !slices.Equal(words, []string{"pizero2/coffee/cups"}) {
		t.Errorf("completion knows %q", words)
	}
}

func TestDocsFiles(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	serve(t, url, nil)
	r := boot(t, hostNamed("pizero2", 1, url), nil)
	l, dir := newLaptop(t), t.TempDir()
	want, _ := l.want(exitOK, "docs", "--format", "json-schema", "--to", r.addr)
	read := func(path ...string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(path...))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	file := filepath.Join(dir, "s.json")
	if stdout, _ := l.want(exitOK, "docs", "--format", "json-schema", "--to", r.addr, "-o", file); stdout != "" || read(file) != want {
		t.Errorf("-o FILE wrote %q and to stdout %q", read(file), stdout)
	}
	if l.want(exitOK, "docs", "--format", "json-schema", "--to", r.addr, "-o", dir); read(dir, "schema.json") != want {
		t.Error("-o DIR wrote something else")
	}
	l.want(exitOK, "docs", "--format", "all", "--to", r.addr, "-o", filepath.Join(dir, "new", "folder")+"/")
	for _, f := range faces.All() {
		if read(dir, "new", "folder", f.File) == "" {
			t.Errorf("%s is empty", f.File)
		}
	}
	if _, stderr := l.want(exitFail, "docs", "--to", r.addr, "-o", filepath.Join(dir, "no", "file")); !strings.Contains(stderr, "no such file") {
		t.Errorf("stderr %q", stderr)
	}
	before := read(file)
	if l.want(exitFail, "docs", "--format", "json-schema", "--to", "127.0.0.1:9", "--wait", "50ms", "-o", file); read(file) != before {
		t.Error("a sweep that found nobody has changed the file")
	}
	leftovers, err := filepath.Glob(filepath.Join(dir, ".docs-*"))
	if err != nil || len(leftovers) > 0 {
		t.Errorf("left behind: %v, %v", leftovers, err)
	}
}

func TestUntold(t *testing.T) {
	t.Parallel()
	if got := untold([]error{context.Canceled, os.ErrClosed}); got != "described by the sweep alone: context canceled, file already closed" {
		t.Errorf("got %q", got)
	}
	if got := (retained{host: "h", kept: map[string][]byte{"/h/s/description": []byte("{}")}}).services(&host{Found: reports.Found{}}); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}
