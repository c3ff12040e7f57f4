package homie_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/reports"
	"rollcall/reports/homie"
	"rollcall/reports/reportstest"
)

const started = 1_800_000_000

func start(h reports.Host) reports.Bridge {
	return homie.New(homie.Options{Domain: "homie"}, h, started)
}

// bring publishes all that a host stands with, as udpmon does, and returns it in order.
func bring(b reports.Bridge, h reports.Host, before map[string]string) (order []string, stands map[string]string) {
	stands = map[string]string{}
	for _, g := range b.Stands(h, before) {
		all := slices.Clone(g.Before)
		for _, s := range h.Services {
			for _, p := range s.Points {
				if s.Name == g.Service && s.Values[p.Path] != "" {
					all = append(all, b.Said(s, p, s.Values[p.Path])...)
				}
			}
		}
		for _, m := range append(all, g.After...) {
			stands[m.Topic] = m.Payload
			order = append(order, strings.TrimPrefix(m.Topic, "homie/5/")+" "+m.Payload)
		}
	}
	return order, stands
}

// check holds what stands against the rules of the convention.
func check(t *testing.T, stands map[string]string) {
	t.Helper()
	id := regexp.MustCompile(`^[a-z0-9-]+$`)
	devices := map[string]map[string]any{}
	for topic, payload := range stands {
		segs := strings.Split(topic, "/")
		if segs[0] != "homie" || segs[1] != "5" || !id.MatchString(segs[2]) {
			t.Errorf("topic %q", topic)
		}
		if len(segs) == 4 && segs[3] == "$description" {
			var d map[string]any
			if err := json.Unmarshal([]byte(payload), &d); err != nil {
				t.Errorf("%s: %v", topic, err)
			}
			devices[segs[2]] = d
		}
	}
	known := map[string]bool{}
	roots := 0
	for name, d := range devices {
		if d["homie"] != "5.0" || d["version"] == nil || strings.Contains(fmt.Sprint(d), "<nil>") {
			t.Errorf("%s: %v", name, d)
		}
		if s := stands["homie/5/"+name+"/$state"]; !slices.Contains([]string{"init", "ready", "disconnected", "sleeping", "lost"}, s) {
			t.Errorf("%s is %q", name, s)
		}
		if root, ok := d["root"].(string); !ok {
			roots++
			for _, c := range d["children"].([]any) {
				if devices[c.(string)] == nil {
					t.Errorf("child %v has no description", c)
				}
			}
		} else if kids := fmt.Sprint(devices[root]["children"]); !strings.Contains(kids, name) {
			t.Errorf("%s is no child of %s: %s", name, root, kids)
		}
		nodes, _ := d["nodes"].(map[string]any)
		for n, v := range nodes {
			for p, v := range v.(map[string]any)["properties"].(map[string]any) {
				if !id.MatchString(n) || !id.MatchString(p) {
					t.Errorf("property %s/%s", n, p)
				}
				known[name+"/"+n+"/"+p] = true
				checkProperty(t, stands, "homie/5/"+name+"/"+n+"/"+p, v.(map[string]any))
			}
		}
	}
	if roots != 1 {
		t.Errorf("%d root devices", roots)
	}
	for topic := range stands {
		segs := strings.Split(topic, "/")
		if !strings.HasPrefix(segs[3], "$") && !known[strings.Join(segs[2:5], "/")] {
			t.Errorf("value of a property that is not described: %s", topic)
		}
	}
}

func checkProperty(t *testing.T, stands map[string]string, topic string, p map[string]any) {
	t.Helper()
	format, _ := p["format"].(string)
	value, has := stands[topic]
	switch p["datatype"] {
	case "boolean":
		if has && value != "true" && value != "false" {
			t.Errorf("%s is %q", topic, value)
		}
	case "integer", "float":
		if format != "" && !regexp.MustCompile(`^(-?[0-9.]+)?:(-?[0-9.]+)?(:[0-9.]+)?$`).MatchString(format) {
			t.Errorf("%s: format %q", topic, format)
		}
	case "enum":
		if format == "" || has && !slices.Contains(strings.Split(format, ","), value) {
			t.Errorf("%s is %q of %q", topic, value, format)
		}
	case "datetime":
		if _, err := time.Parse(time.RFC3339, value); has && value != "" && err != nil {
			t.Errorf("%s is %q", topic, value)
		}
	case "string", "json":
	default:
		t.Errorf("%s: datatype %v", topic, p["datatype"])
	}
	target, told := stands[topic+"/$target"]
	if settable := p["settable"] == true; has && (told != settable || settable && target != value) {
		t.Errorf("%s: settable %t, value %q, target %q", topic, settable, value, target)
	}
}

// TestLife follows a device from its start: init, description, values, ready.
func TestLife(t *testing.T) {
	t.Parallel()
	h := reportstest.Cluster(1, 0).Hosts[1]
	h.Name = "Pi_Zero"
	h.Services = []reports.HostService{{Status: reports.Online, Described: true, Values: map[string]string{"output/Relay_1": "ON", "load": "0.5"}, Service: reports.Service{
		Name: "gpio", Function: "gpio", Points: []reports.Point{
			{Path: "output/Relay_1", Label: "Relay 1", Type: reports.Bool, Access: reports.Get | reports.Set},
			{Path: "output/relay-1", Type: reports.Bool, Access: reports.Get},
			{Path: "load", Type: reports.Float, Access: reports.Get, Min: reports.Ptr(0), Unit: "%"},
			{Path: "press/bell/x", Type: reports.Enum, Access: reports.Event, Options: []string{"long", "short"}},
		}}}}
	b := start(h)
	order, stands := bring(b, h, nil)
	check(t, stands)
	const root = "pi-zero-000000"
	want := []string{
		root + " init", root + ` {"homie":"5.0","version":1800000000,"name":"Pi_Zero","type":"host","children":["` + root + `-gpio"]}`, root + " ready",
		root + "-gpio init", root + `-gpio {"homie":"5.0","version":1800000000,"name":"gpio","type":"gpio","root":"` + root + `","nodes":{` +
			`"output":{"name":"output","properties":{"relay-1":{"name":"Relay 1","datatype":"boolean","format":"off,on","settable":true},"relay-1-2":{"name":"output/relay-1","datatype":"boolean","format":"off,on"}}},` +
			`"points":{"name":"gpio","properties":{"load":{"name":"load","datatype":"float","format":"0:","unit":"%"}}},` +
			`"press":{"name":"press","properties":{"bell-x":{"name":"press/bell/x","datatype":"enum","format":"long,short","retained":false}}}}}`,
		root + "-gpio true", root + "-gpio true", root + "-gpio 0.5", root + "-gpio ready",
	}
	var got []string
	for _, line := range order {
		topic, payload, _ := strings.Cut(line, " ")
		device, _, _ := strings.Cut(topic, "/")
		got = append(got, device+" "+payload)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %s\nwant %s", strings.Join(got, "\n    "), strings.Join(want, "\n     "))
	}
	if got := b.Said(h.Services[0], h.Services[0].Points[3], "long"); fmt.Sprint(got) != "[{homie/5/"+root+"-gpio/press/bell-x long 0 false}]" {
		t.Errorf("event %v", got)
	}
	if gone, stops := b.Ends(); fmt.Sprint(gone, stops) != "[{homie/5/"+root+"/$state lost 1 true}] [{homie/5/"+root+"/$state disconnected 1 true}]" {
		t.Errorf("ends with %v and %v", gone, stops)
	}
}

// TestVersion has a description change: its version grows, and stays where nothing has changed, also over a restart.
func TestVersion(t *testing.T) {
	t.Parallel()
	h := reportstest.Host(0, 2)
	version := func(stands map[string]string, device string) int64 {
		var d struct{ Version int64 }
		if err := json.Unmarshal([]byte(stands["homie/5/"+device+"/$description"]), &d); err != nil {
			t.Fatal(err)
		}
		return d.Version
	}
	_, first := bring(start(h), h, nil)
	_, second := bring(homie.New(homie.Options{Domain: "homie"}, h, started+5), h, first)
	if !maps.Equal(first, second) {
		t.Error("what has not changed is told anew after a restart")
	}
	h.Services[0].Points = h.Services[0].Points[1:]
	_, third := bring(start(h), h, second)
	if got := version(third, "pi000-service0"); got != started+1 {
		t.Errorf("version %d, want %d", got, started+1)
	}
	if got := version(third, "pi000-service1"); got != started {
		t.Errorf("version of what has not changed: %d", got)
	}
	check(t, third)
}

// TestStates has services go, and be in trouble.
func TestStates(t *testing.T) {
	t.Parallel()
	h := reportstest.Host(0, 3)
	h.Services[0].Status, h.Services[1].Status, h.Services[1].Error, h.Services[2].Error = reports.Offline, reports.Offline, "no sensor", "slow\nsensor"
	_, stands := bring(start(h), h, nil)
	for topic, want := range map[string]string{"pi000/$state": "ready", "pi000-service0/$state": "disconnected", "pi000-service1/$state": "lost",
		"pi000-service1/$alert/error": "no sensor", "pi000-service2/$state": "ready", "pi000-service2/$alert/error": "slow sensor", "pi000-service0/$alert/error": ""} {
		if got := stands["homie/5/"+topic]; got != want {
			t.Errorf("%s is %q, want %q", topic, got, want)
		}
	}
}

// TestHeard is what comes of what a controller, a service or somebody's broadcast says.
func TestHeard(t *testing.T) {
	t.Parallel()
	h := reportstest.Host(0, 1)
	b := start(h)
	bring(b, h, nil)
	const command = `/pi000/service0/set/`
	for _, test := range []struct{ topic, payload, want string }{
		{"homie/5/pi000-service0/output/pump/set", "true", `homie/5/pi000-service0/output/pump/$target true retained, ` + command + `output/pump {"id":"service0/output/pump","reply":"rollcall/pi000/homie","value":"true"}`},
		{"homie/5/pi000-service0/points/order/set", "x", command + `order {"id":"service0/order","reply":"rollcall/pi000/homie","value":"x"}`},
		{"homie/5/pi000-service0/points/map/set", `{"a":1}`, `homie/5/pi000-service0/points/map/$target {"a":1} retained, ` + command + `map {"id":"service0/map","reply":"rollcall/pi000/homie","value":{"a":1}}`},
		{"homie/5/pi000-service0/output/pump/set", "ON", `homie/5/pi000-service0/output/pump/$target ON retained, ` + command + `output/pump {"id":"service0/output/pump","reply":"rollcall/pi000/homie","value":"neither true nor false: ON"}`},
		{"homie/5/pi000-service0/input/door/set", "true", "homie/5/pi000-service0/$log/warn input/door can't be set"},
		{"homie/5/pi000-service0/none/x/set", "true", "homie/5/pi000-service0/$log/warn none/x can't be set"},
		{"homie/5/pi001-service0/output/pump/set", "true", ""},
		{"homie/5/$broadcast/alert", "fire", "/pi000/broadcast/alert fire"},
		{"rollcall/pi000/homie", `{"id":"service0/output/pump","ok":true}`, ""},
		{"rollcall/pi000/homie", `{"id":"service0/output/pump","ok":false,"error":"no such thing"}`, "homie/5/pi000-service0/$log/error set output/pump: no such thing, homie/5/pi000-service0/output/pump/$target true retained"},
		{"rollcall/pi000/homie", `{"id":"nobody/output/pump","ok":false}`, ""},
		{"rollcall/pi000/homie", `{`, ""},
		{"/pi000/service0/log", `{"level":"WARN","msg":"hot\nwire"}`, "homie/5/pi000-service0/$log/warn hot wire"},
		{"/pi000/service0/log", `{"level":"odd","msg":"x"}`, "homie/5/pi000-service0/$log/info x"},
		{"/pi000/other/log", `{"level":"info","msg":"x"}`, ""},
	} {
		out, again := b.Heard(h, reports.Message{Topic: test.topic, Payload: test.payload})
		var got []string
		for _, m := range out {
			line := m.Topic + " " + m.Payload
			if m.Retained {
				line += " retained"
			}
			got = append(got, line)
		}
		if s := strings.Join(got, ", "); s != test.want || again {
			t.Errorf("%s %s:\n got %s\nwant %s", test.topic, test.payload, s, test.want)
		}
		if out, _ := b.Heard(h, reports.Message{Topic: test.topic, Payload: test.payload, Retained: true}); len(out) > 0 && strings.HasSuffix(test.topic, "/set") {
			t.Errorf("%s: a retained command makes %v", test.topic, out)
		}
	}
}

// TestConvention holds clusters of all kinds against the rules.
func TestConvention(t *testing.T) {
	t.Parallel()
	for _, c := range []reports.Cluster{reportstest.Cluster(2, 5), reportstest.Hostile()} {
		for _, h := range c.Hosts {
			h.Services = slices.DeleteFunc(slices.Clone(h.Services), func(s reports.HostService) bool { return !s.Described })
			if len(h.Services) == 0 {
				continue
			}
			_, stands := bring(start(h), h, map[string]string{"homie/5/" + h.Name + "/$description": "{"})
			check(t, stands)
		}
	}
}

// TestTime says times in Homie's own datatype, and nothing where a value is none.
func TestTime(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{"2026-11-22T13:33:00Z": "2026-11-22T13:33:00Z", "yesterday": ""} {
		h := reportstest.Cluster(1, 0).Hosts[1]
		h.Services = []reports.HostService{{Status: reports.Online, Described: true, Values: map[string]string{"boot": value}, Service: reports.Service{
			Name: "x", Function: "x", Points: []reports.Point{{Path: "boot", Type: reports.String, Class: "timestamp", Access: reports.Get}},
		}}}
		_, stands := bring(start(h), h, nil)
		check(t, stands)
		for topic, payload := range stands {
			if strings.HasSuffix(topic, "-x/points/boot") && payload != want {
				t.Errorf("%s is %q, want %q", topic, payload, want)
			}
			if strings.HasSuffix(topic, "-x/$description") && !strings.Contains(payload, `"boot":{"name":"boot","datatype":"datetime"}`) {
				t.Errorf("%s has no datetime: %s", topic, payload)
			}
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for domain, good := range map[string]bool{"homie": true, "h2": true, "": false, "a/b": false, "+": false, "$x": false} {
		if err := (&homie.Options{Domain: domain}).Validate(); (err == nil) != good {
			t.Errorf("domain %q: %v", domain, err)
		}
	}
}
