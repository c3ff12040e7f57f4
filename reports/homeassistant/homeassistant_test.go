package homeassistant_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"rollcall/reports"
	"rollcall/reports/homeassistant"
	"rollcall/reports/reportstest"
)

// start returns the face of a host.
func start(t *testing.T, h reports.Host) reports.Bridge {
	t.Helper()
	f := homeassistant.Face()
	b, err := f.New(f.Defaults(), h)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type object = map[string]any

// discovery returns the payloads that a host stands with, checked against the schema.
func discovery(t *testing.T, h reports.Host, before map[string]string) (topic string, all []object) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("testdata/discovery.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range start(t, h).Stands(h, before) {
		if g.Service != "" || len(g.After) > 0 {
			t.Errorf("group %+v", g)
		}
		for _, m := range g.Before {
			if !m.Retained || m.QoS != 1 {
				t.Errorf("%s: retained %t at QoS %d", m.Topic, m.Retained, m.QoS)
			}
			doc, err := jsonschema.UnmarshalJSON(strings.NewReader(m.Payload))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(doc); err != nil {
				t.Errorf("%s\n%v", m.Payload, err)
			}
			var o object
			if err := json.Unmarshal([]byte(m.Payload), &o); err != nil {
				t.Fatal(err)
			}
			topic, all = m.Topic, append(all, o)
		}
	}
	return topic, all
}

func host(points ...reports.Point) reports.Host {
	return reports.Host{ID: "00000000000000a1", Name: "pizero2", Key: "pizero2", MAC: "b8:27:eb:00:00:01", Version: "0.3.0", Services: []reports.HostService{
		{Service: reports.Service{Name: "gpio", Function: "gpio", Points: points}, Described: true}}}
}

// component returns the one component of a host with the point, without what all have.
func component(t *testing.T, p reports.Point) string {
	t.Helper()
	_, all := discovery(t, host(p), nil)
	for _, c := range all[0]["cmps"].(object) {
		c := c.(object)
		for _, key := range []string{"unique_id", "name", "availability", "availability_mode", "state_topic", "command_topic", "value_template", "state_value_template"} {
			delete(c, key)
		}
		out, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	t.Fatal("no component")
	return ""
}

// TestDevice is the device of a host as PEERS.md §5.1 has it.
func TestDevice(t *testing.T) {
	t.Parallel()
	topic, all := discovery(t, host(reports.Point{Path: "output/Relay_1", Label: "Relay 1", Type: reports.Bool, Access: reports.Get | reports.Set}), nil)
	if want := "homeassistant/device/rollcall_00000000000000a1/config"; topic != want || len(all) != 1 {
		t.Fatalf("%d payloads on %q, want one on %q", len(all), topic, want)
	}
	got, err := json.MarshalIndent(all[0], "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
 "cmps": {
  "rollcall_00000000000000a1_gpio--output---52-elay_1": {
   "availability": [
    {
     "topic": "/pizero2/status"
    },
    {
     "topic": "/pizero2/gpio/status"
    }
   ],
   "availability_mode": "all",
   "command_topic": "/pizero2/gpio/set/output/Relay_1",
   "name": "gpio Relay 1",
   "p": "switch",
   "payload_off": "OFF",
   "payload_on": "ON",
   "state_topic": "/pizero2/gpio/output/Relay_1",
   "unique_id": "rollcall_00000000000000a1_gpio--output---52-elay_1",
   "value_template": "{{ value if value != '' else 'None' }}"
  }
 },
 "dev": {
  "cns": [
   [
    "mac",
    "b8:27:eb:00:00:01"
   ]
  ],
  "ids": [
   "rollcall_00000000000000a1"
  ],
  "name": "pizero2",
  "sw": "0.3.0"
 },
 "o": {
  "name": "rollcall",
  "sw": "0.3.0"
 },
 "qos": 1
}`
	if string(got) != want {
		t.Errorf("got %s", got)
	}
}

// TestComponents is which platform a point gets, with what.
func TestComponents(t *testing.T) {
	t.Parallel()
	const getSet = reports.Get | reports.Set
	two := reports.Ptr(2)
	for _, test := range []struct {
		p    reports.Point
		want string
	}{
		{reports.Point{Type: reports.Bool, Access: getSet, Class: "outlet"}, `{"device_class":"outlet","p":"switch","payload_off":"OFF","payload_on":"ON"}`},
		{reports.Point{Type: reports.Bool, Access: getSet, Class: "light"}, `{"p":"light","payload_off":"OFF","payload_on":"ON"}`},
		{reports.Point{Type: reports.Bool, Access: getSet, Class: "valve"}, `{"p":"switch","payload_off":"OFF","payload_on":"ON"}`},
		{reports.Point{Type: reports.Bool, Access: reports.Set}, `{"optimistic":true,"p":"switch","payload_off":"OFF","payload_on":"ON"}`},
		{reports.Point{Type: reports.Bool, Access: reports.Set, Genre: reports.Control}, `{"p":"button","payload_press":"ON"}`},
		{reports.Point{Type: reports.Bool, Access: reports.Get, Class: "door"}, `{"device_class":"door","p":"binary_sensor","payload_off":"OFF","payload_on":"ON"}`},
		{reports.Point{Type: reports.Bool, Access: reports.Get, Class: "strange", Genre: reports.System}, `{"entity_category":"diagnostic","p":"binary_sensor","payload_off":"OFF","payload_on":"ON"}`},
		{reports.Point{Type: reports.Float, Access: reports.Get, Class: "temperature", Unit: "°C"}, `{"device_class":"temperature","p":"sensor","state_class":"measurement","unit_of_measurement":"°C"}`},
		{reports.Point{Type: reports.Float, Access: reports.Get, Class: "temperature", Unit: "V"}, `{"p":"sensor","state_class":"measurement","unit_of_measurement":"V"}`},
		{reports.Point{Type: reports.Int, Access: reports.Get, StateClass: reports.TotalIncreasing}, `{"p":"sensor","state_class":"total_increasing"}`},
		{reports.Point{Type: reports.Float, Access: reports.Get, Class: "energy", Unit: "kWh"}, `{"p":"sensor","state_class":"measurement","unit_of_measurement":"kWh"}`},
		{reports.Point{Type: reports.Float, Access: reports.Get, Class: "energy", Unit: "kWh", StateClass: reports.Total}, `{"device_class":"energy","p":"sensor","state_class":"total","unit_of_measurement":"kWh"}`},
		{reports.Point{Type: reports.Float, Access: reports.Get, Heartbeat: reports.Duration(60e9)}, `{"expire_after":180,"p":"sensor","state_class":"measurement"}`},
		{reports.Point{Type: reports.Float, Access: reports.Get, Heartbeat: reports.Duration(1e8)}, `{"expire_after":10,"p":"sensor","state_class":"measurement"}`},
		{reports.Point{Type: reports.Float, Access: getSet, Min: reports.Ptr(0), Max: two, Unit: "V", Class: "voltage"}, `{"device_class":"voltage","max":2,"min":0,"mode":"auto","p":"number","step":0.001,"unit_of_measurement":"V"}`},
		{reports.Point{Type: reports.Int, Access: getSet, Genre: reports.Config}, `{"entity_category":"config","max":1000000000,"min":-1000000000,"mode":"auto","p":"number","step":1}`},
		{reports.Point{Type: reports.Float, Access: getSet, Step: reports.Ptr(1e-9)}, `{"max":1000000000,"min":-1000000000,"mode":"auto","p":"number","step":0.001}`},
		{reports.Point{Type: reports.Enum, Access: getSet, Options: []string{"a", "b"}}, `{"options":["a","b"],"p":"select"}`},
		{reports.Point{Type: reports.Enum, Access: reports.Get, Options: []string{"a", "b"}}, `{"device_class":"enum","options":["a","b"],"p":"sensor"}`},
		{reports.Point{Type: reports.String, Access: reports.Get}, `{"p":"sensor"}`},
		{reports.Point{Type: reports.String, Access: reports.Get, Class: "timestamp"}, `{"device_class":"timestamp","p":"sensor"}`},
		{reports.Point{Type: reports.String, Access: getSet}, `{"max":255,"p":"text"}`},
		{reports.Point{Type: reports.JSON, Access: reports.Set}, `{"max":255,"p":"text"}`},
		{reports.Point{Type: reports.JSON, Access: reports.Get}, `{"enabled_by_default":false,"p":"sensor"}`},
		{reports.Point{Type: reports.Enum, Access: reports.Event, Options: []string{"long", "short"}, Class: "button"}, `{"device_class":"button","event_types":["long","short"],"p":"event"}`},
		{reports.Point{Type: reports.Bool, Access: reports.Event}, `{"event_types":["ON","OFF"],"p":"event"}`},
		{reports.Point{Type: reports.Int, Access: reports.Event}, `{"event_types":["told"],"p":"event"}`},
	} {
		test.p.Path = "x"
		if err := test.p.Validate(); err != nil {
			t.Errorf("%+v: %v", test.p, err)
		}
		if got := component(t, test.p); got != test.want {
			t.Errorf("%+v\n got %s\nwant %s", test.p, got, test.want)
		}
	}
}

// TestStableIDs has a host renamed: its entities stay, with other topics.
func TestStableIDs(t *testing.T) {
	t.Parallel()
	h := reportstest.Host(1, 2)
	topic, before := discovery(t, h, nil)
	h.Name = "another"
	renamed, after := discovery(t, h, nil)
	ids := func(o object) []string { return slices.Sorted(maps.Keys(o["cmps"].(object))) }
	if topic != renamed || !slices.Equal(ids(before[0]), ids(after[0])) {
		t.Errorf("%s, %s: %v and %v", topic, renamed, ids(before[0]), ids(after[0]))
	}
	if strings.Contains(fmt.Sprint(after[0]), "/pi001/") {
		t.Error("a topic of the old name stands in the new discovery")
	}
}

// TestUniqueIDs has paths that differ in what ids can't have.
func TestUniqueIDs(t *testing.T) {
	t.Parallel()
	var points []reports.Point
	paths := []string{"a/b", "a_b", "a__b", "A/b", "a.b", "a-2f-b", "a-2e-b", "a--b", "a_/b", "a/_b", "a/2e/b"}
	for _, p := range paths {
		points = append(points, reports.Point{Path: p, Type: reports.Bool, Access: reports.Get})
	}
	_, all := discovery(t, host(points...), nil)
	if got := len(all[0]["cmps"].(object)); got != len(paths) {
		t.Errorf("%d components of %d points", got, len(paths))
	}
}

// TestRemoved has a point go: it is named with its platform alone, and then left out. The same holds for one that is of another
// platform now.
func TestRemoved(t *testing.T) {
	t.Parallel()
	gone := reports.Point{Path: "gone", Type: reports.Float, Access: reports.Get}
	turned := reports.Point{Path: "turned", Type: reports.Bool, Access: reports.Get}
	stays := reports.Point{Path: "stays", Type: reports.Bool, Access: reports.Get}
	topic, all := discovery(t, host(gone, stays, turned), nil)
	was, err := json.Marshal(all[0])
	if err != nil {
		t.Fatal(err)
	}
	turned.Access = reports.Get | reports.Set
	_, all = discovery(t, host(stays, turned), map[string]string{topic: string(was)})
	if len(all) != 2 {
		t.Fatalf("%d payloads, want 2", len(all))
	}
	const id = "rollcall_00000000000000a1_gpio--"
	first, second := all[0]["cmps"].(object), all[1]["cmps"].(object)
	if got := fmt.Sprint(first[id+"gone"]); got != "map[p:sensor]" {
		t.Errorf("gone is %s at first", got)
	}
	if got := fmt.Sprint(first[id+"turned"]); got != "map[p:binary_sensor]" {
		t.Errorf("turned is %s at first", got)
	}
	if got := slices.Sorted(maps.Keys(second)); !slices.Equal(got, []string{id + "stays", id + "turned"}) || second[id+"turned"].(object)["p"] != "switch" {
		t.Errorf("then %v", second)
	}
	now, err := json.Marshal(all[1])
	if err != nil {
		t.Fatal(err)
	}
	if _, all = discovery(t, host(stays, turned), map[string]string{topic: string(now)}); len(all) != 1 {
		t.Errorf("%d payloads of what is the same, want 1", len(all))
	}
	if groups := start(t, host()).Stands(host(), nil); len(groups) != 0 {
		t.Errorf("a host without points stands with %v", groups)
	}
}

// TestBirth is what is heard of Home Assistant itself.
func TestBirth(t *testing.T) {
	t.Parallel()
	b := start(t, host())
	if got := b.Filters(); !slices.Equal(got, []string{"homeassistant/status"}) {
		t.Errorf("listens to %v", got)
	}
	for _, test := range []struct {
		payload  string
		retained bool
		again    bool
	}{{"online", false, true}, {"offline", false, false}, {"online", true, false}, {"", false, false}} {
		out, again := b.Heard(host(), reports.Message{Topic: "homeassistant/status", Payload: test.payload, Retained: test.retained})
		if len(out) > 0 || again != test.again {
			t.Errorf("%+v: %v, %t", test, out, again)
		}
	}
}

// TestHostile has a host whose texts are anything.
func TestHostile(t *testing.T) {
	t.Parallel()
	for _, h := range reportstest.Hostile().Hosts {
		if len(h.Services) > 0 {
			discovery(t, h, map[string]string{"homeassistant/device/rollcall_" + h.ID + "/config": "{"})
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for prefix, good := range map[string]bool{"homeassistant": true, "ha/discovery": true, "": false, "a/#": false, "a/": false, "$SYS": false} {
		if err := (&homeassistant.Options{Prefix: prefix}).Validate(); (err == nil) != good {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
}
