package asyncapi_test

import (
	"encoding/json"
	"testing"

	"rollcall/lab"
	"rollcall/reports"
	"rollcall/reports/asyncapi"
	"rollcall/reports/reportstest"
)

func document(t *testing.T, c reports.Cluster) []byte {
	t.Helper()
	b, err := asyncapi.Face().Write(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The official parser finds nothing wrong, and counts what is there.
func TestOfficialParser(t *testing.T) {
	t.Parallel()
	twins := []reports.Host{reportstest.Host(0, 1), reportstest.Host(0, 1)}
	twins[1].ID, twins[1].Brokers = "ffffffffffffffff", []string{"mqtts://10.0.0.9:8883", "mqtt://10.0.0.9", "nonsense"}
	dots := reportstest.Host(3, 1)
	dots.Services[0].Points = []reports.Point{{Path: "a.b", Type: reports.Int, Access: reports.Get}, {Path: "a/b", Type: reports.Bool, Access: reports.Get | reports.Set},
		{Path: "a/b..value", Type: reports.Int, Access: reports.Get | reports.Set}}
	cases := []struct {
		name, want string
		cluster    reports.Cluster
	}{
		// A host has its status; a service has 8 topics, one to get by, 10 points that are published, 7 that can be set; a program of the
		// original form has 3.
		{"usual", "servers 3 channels 57 operations 57", reportstest.Cluster(2, 1)},
		{"twins", "servers 3 channels 54 operations 54", reports.NewCluster(twins)},
		{"names that look alike", "servers 1 channels 15 operations 15", reports.NewCluster([]reports.Host{dots})},
		{"empty", "servers 0 channels 0 operations 0", reports.Cluster{}},
		{"hostile", "servers 19 channels 266 operations 266", reportstest.Hostile()},
	}
	var documents [][]byte
	for _, c := range cases {
		documents = append(documents, document(t, c.cluster))
	}
	for i, got := range lab.AsyncAPI(t, documents...) {
		if c := cases[i]; got != c.want {
			t.Errorf("%s: the parser counts %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	h := reportstest.Host(0, 1)
	h.Brokers = append(h.Brokers, "mqtts://10.0.0.1:8883")
	var d struct {
		AsyncAPI   string
		Info       struct{ Version string }
		Servers    map[string]map[string]any
		Channels   map[string]struct{ Address string }
		Operations map[string]struct {
			Action   string
			Reply    struct{ Channel map[string]string }
			Bindings struct{ MQTT map[string]any }
		}
	}
	first := document(t, reports.NewCluster([]reports.Host{h}))
	if err := json.Unmarshal(first, &d); err != nil {
		t.Fatal(err)
	}
	if d.AsyncAPI != "3.0.0" || len(d.Info.Version) != 12 || d.Info.Version == "000000000000" {
		t.Errorf("asyncapi %q, version %q", d.AsyncAPI, d.Info.Version)
	}
	if s := d.Servers["pi000-broker2"]; s["protocol"] != "secure-mqtt" || s["host"] != "10.0.0.1:8883" || s["security"] == nil || d.Servers["pi000"]["security"] != nil {
		t.Errorf("servers %v", d.Servers)
	}
	set := d.Operations["pi000.service0.set.output.pump"]
	if a := d.Channels["pi000.service0.set.output.pump"].Address; a != "/pi000/service0/set/output/pump" || set.Action != "receive" || set.Reply.Channel["$ref"] != "#/channels/pi000.service0.result" {
		t.Errorf("set is at %q: %v", a, set)
	}
	for name, want := range map[string]struct {
		qos    float64
		retain bool
	}{"output.pump": {1, true}, "press": {0, false}, "result": {1, false}, "log": {0, false}, "status.health": {1, true}, "description": {1, true}} {
		if got := d.Operations["pi000.service0."+name].Bindings.MQTT; got["qos"] != want.qos || got["retain"] != want.retain {
			t.Errorf("%s: bindings %v, want %v", name, got, want)
		}
	}
	h.Services[0].Points = h.Services[0].Points[1:]
	var other struct{ Info struct{ Version string } }
	if err := json.Unmarshal(document(t, reports.NewCluster([]reports.Host{h})), &other); err != nil || other.Info.Version == d.Info.Version {
		t.Errorf("another document has the version %q as well (%v)", other.Info.Version, err)
	}
}
