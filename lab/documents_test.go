package lab

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"rollcall/agents"
	"rollcall/reports"
	"rollcall/reports/faces"
)

// everyAgent returns the configuration of a host that runs every agent there is, as its example has it.
func everyAgent() string {
	var b strings.Builder
	for _, f := range agents.All() {
		b.WriteString("  " + f.Name + ":\n    log: info\n")
		for line := range strings.Lines(f.Example) {
			b.WriteString("    " + line)
		}
	}
	return b.String()
}

// heardMessage is a message as mosquitto_sub -F %j prints it.
type heardMessage struct{ Topic, Payload string }

// The documents of a running cluster: the parser of AsyncAPI takes them, the same cluster gives the same bytes, and everything that
// the services send is what they say.
func TestDocumentsOfARunningCluster(t *testing.T) {
	Need(t, "mosquitto", "mosquitto_sub")
	l := NewLAN(t, 4)
	l.Boot(1, HostConfig{Listen: "0.0.0.0:1883", Agents: everyAgent()})
	l.Boot(2, HostConfig{Listen: "0.0.0.0:1883"})
	l.Boot(3, HostConfig{}) // on loopback: known by the sweep alone
	spy := l.Start(4, false, "mosquitto_sub", "-h", l.Addr(1), "-t", "/pi1/#", "-F", "%j")
	var all []string
	for _, f := range agents.All() {
		all = append(all, f.Name+" online")
	}
	eventually(t, []string{"pi1 " + l.Addr(1) + ": " + strings.Join(all, ", ")}, func() []string { return sweep(t, l, 4, 0, "--want", "pi1").names() })
	for _, c := range [][]string{
		{"set", "pi1/gpio/output/lamp", "TOGGLE"}, {"set", "pi1/gpio/pwm/fan", "35.5"}, {"set", "pi1/dac/fan/volts", "1.5"}, {"get", "pi1/hostsensor"},
		{"control", "pi1/dht22", `{"verb":"refresh"}`}, {"setup", "pi1/gpio"}, {"get", "pi1/nut"},
	} {
		run(t, l, 4, "udpsrv", c...)
	}
	if _, _, status := l.Run(4, "udpsrv", "set", "pi1/gpio/output/lamp", "MAYBE"); status != 1 {
		t.Errorf("a bad set ended with %d", status)
	}
	docs := func(args ...string) []byte {
		return []byte(run(t, l, 4, "udpsrv", append([]string{"docs"}, args...)...))
	}
	for _, f := range faces.All() {
		first := docs("--format", f.Name)
		if again := docs("--format", f.Name); !bytes.Equal(first, again) {
			t.Errorf("%s: the same cluster gave other bytes", f.Name)
		}
		if !bytes.Contains(first, []byte("pi1")) || !bytes.Contains(first, []byte("pi3")) {
			t.Errorf("%s has not all hosts", f.Name)
		}
	}
	document := docs("--format", "asyncapi", "--values")
	t.Log(AsyncAPI(t, document))
	channels := channelsOf(t, document)
	if got := len(channels["/pi2/hostsensor/load/1m"]); got == 0 {
		t.Error("the second host was not read")
	}
	spy.WaitLine(`"ok\":false`, patience)
	heard := map[string]int{}
	for _, line := range spy.Lines() {
		var m heardMessage
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if command(m.Topic) { // what was sent to the services
			continue
		}
		heard[m.Topic]++
		if messages := channels[m.Topic]; messages == nil {
			t.Errorf("topic %s is not in the document", m.Topic)
		} else if !slices.ContainsFunc(messages, func(s message) bool { return s.takes(m.Payload) }) {
			t.Errorf("%s %q is not what the document says", m.Topic, m.Payload)
		}
	}
	for _, topic := range []string{"/pi1/status", "/pi1/gpio/result", "/pi1/gpio/output/lamp", "/pi1/hostsensor/memory/available", "/pi1/nut/description", "/pi1/exec/level"} {
		if heard[topic] == 0 {
			t.Errorf("nothing was heard on %s", topic)
		}
	}
	t.Logf("%d messages on %d topics", len(spy.Lines()), len(heard))
}

// command reports whether a topic is one that services are told something on.
func command(topic string) bool {
	segs := strings.Split(topic, "/")
	return len(segs) > 3 && slices.Contains(reports.Verbs, segs[3])
}

// message is a message of a channel.
type message struct {
	media   string
	payload *jsonschema.Schema
}

// takes reports whether a payload is one of the message.
func (m message) takes(payload string) bool {
	if m.media == reports.MediaText {
		return m.payload.Validate(payload) == nil
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(payload))
	if err != nil {
		v = payload // a structure that is a word alone is published without quotes
	}
	return m.payload.Validate(v) == nil
}

// channelsOf returns the messages of each address of an AsyncAPI document.
func channelsOf(t *testing.T, document []byte) map[string][]message {
	t.Helper()
	type raw struct {
		Ref         string `json:"$ref"`
		ContentType string
		Payload     struct {
			Ref string `json:"$ref"`
		}
	}
	var d struct {
		Channels map[string]struct {
			Address  string
			Messages map[string]raw
		}
		Components struct{ Messages map[string]raw }
	}
	if err := json.Unmarshal(document, &d); err != nil {
		t.Fatal(err)
	}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	if err := compiler.AddResource("urn:document", whole); err != nil {
		t.Fatal(err)
	}
	out := map[string][]message{}
	for _, c := range d.Channels {
		for _, m := range c.Messages {
			if m.Ref != "" {
				m = d.Components.Messages[strings.TrimPrefix(m.Ref, "#/components/messages/")]
			}
			schema, err := compiler.Compile("urn:document" + m.Payload.Ref)
			if err != nil {
				t.Fatal(err)
			}
			out[c.Address] = append(out[c.Address], message{m.ContentType, schema})
		}
	}
	return out
}

// A program that nobody here has written, which says what it is: it stands in every document, with its value.
func TestForeignServiceInEveryDocument(t *testing.T) {
	Need(t, "mosquitto", "mosquitto_pub")
	l := NewLAN(t, 2)
	l.Boot(1, HostConfig{Listen: "0.0.0.0:1883"})
	description := `{"name":"coffee","function":"coffee","points":[{"path":"cups","type":"int","access":["get","set"],"min":0,"max":12,"unit":"cups","label":"Cups"}]}`
	for topic, payload := range map[string]string{"description": description, "status": "online", "cups": "7"} {
		run(t, l, 1, "mosquitto_pub", "-r", "-q", "1", "-t", "/pi1/coffee/"+topic, "-m", payload)
	}
	eventually(t, []string{"pi1 " + l.Addr(1) + ": coffee online, gpio online, hostsensor online"}, func() []string { return sweep(t, l, 2, 0).names() })
	dir := filepath.Join(t.TempDir(), "docs") + "/"
	start := time.Now()
	run(t, l, 2, "udpsrv", "docs", "--format", "all", "--values", "-o", dir)
	t.Logf("every document in %s", time.Since(start))
	for _, f := range faces.All() {
		b, err := os.ReadFile(filepath.Join(dir, f.File))
		if err != nil || !strings.Contains(string(b), "cups") {
			t.Errorf("%s has no cups (%v)", f.File, err)
		}
	}
}

// A host that obeys operators is read over TLS, by one who may read and nothing more. One whose key is not trusted yet is described
// by the sweep alone.
func TestDocumentsOfClosedHosts(t *testing.T) {
	Need(t)
	l := NewLAN(t, 3)
	file := filepath.Join(l.dir, "authorized_operators")
	if err := os.WriteFile(file, []byte("read "+run(t, l, 3, "udpsrv", "key", "show")), 0o644); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 2; i++ {
		l.Boot(i, HostConfig{Extra: obeying(file)})
	}
	eventually(t, []string{"pi1 10.77.0.1: gpio online, hostsensor online", "pi2 10.77.0.2: gpio online, hostsensor online"}, func() []string { return sweep(t, l, 3, 0).names() })
	run(t, l, 3, "udpsrv", "trust", "--yes", "pi1")
	for _, values := range [][]string{nil, {"--values"}} {
		out, errs, status := l.Run(3, "udpsrv", append([]string{"docs", "--format", "json-schema"}, values...)...)
		if status != 0 || !strings.Contains(errs, "described by the sweep alone: pi2: host key is not known") {
			t.Errorf("exit status %d: %s", status, errs)
		}
		var d struct{ Properties map[string]any }
		if err := json.Unmarshal([]byte(out), &d); err != nil {
			t.Fatal(err)
		}
		if d.Properties["/pi1/hostsensor/load/1m"] == nil || d.Properties["/pi2/hostsensor/load/1m"] != nil || d.Properties["/pi2/hostsensor/status"] == nil {
			t.Errorf("topics: pi1 %v, pi2 %v", d.Properties["/pi1/hostsensor/load/1m"], d.Properties["/pi2/hostsensor/load/1m"])
		}
	}
}
