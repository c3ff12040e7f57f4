package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// withFaces returns the change of a configuration that has faces.
func withFaces(t testing.TB, yaml string) func(*config.Config) {
	t.Helper()
	parsed, err := config.Parse("test.yaml", []byte("host: pi1\nfaces: "+yaml))
	if err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) { c.Faces = parsed.Faces }
}

// retainedBelow waits until the retained messages of a filter are as wanted says.
func retainedBelow(t testing.TB, url, filter, what string, wanted func(map[string]string) bool) map[string]string {
	t.Helper()
	c := bustest.Dial(t, url)
	got := listen(t, c, filter)
	all := map[string]string{}
	eventually(t, what, true, func() bool {
		for {
			select {
			case m := <-got:
				if all[m.Topic] = string(m.Payload); len(m.Payload) == 0 {
					delete(all, m.Topic)
				}
			default:
				return wanted(all)
			}
		}
	})
	return all
}

// components returns the ids of what Home Assistant is told to be there.
func components(payload string) string {
	var d struct {
		Cmps map[string]any `json:"cmps"`
	}
	if json.Unmarshal([]byte(payload), &d) != nil {
		return payload
	}
	var out []string
	for id := range maps.Keys(d.Cmps) {
		_, short, _ := strings.Cut(id, "_")
		_, short, _ = strings.Cut(short, "_")
		out = append(out, short)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

const door = `{"name":"gpio","function":"gpio","points":[{"path":"door","type":"bool","access":["get"]},{"path":"lamp","type":"bool","access":["get","set"]}]}`

// TestHomeAssistant follows the discovery of a host through the life of a service: it comes, loses a point, goes; Home Assistant
// begins anew; the host is restarted without what was there.
func TestHomeAssistant(t *testing.T) {
	t.Parallel()
	broker := bustest.Start(t)
	with := withFaces(t, "{homeassistant: {prefix: ha}}")
	change := func(c *config.Config) { with(c); c.Broker = config.Broker{URL: broker} }
	cfg := testConfig(t)
	change(&cfg)
	atOnce := func(m *monitor) { m.faces[0].jitter = func(time.Duration) time.Duration { return 0 } }
	b := startWith(t, cfg, atOnce)
	b.retain("/pi1/gpio/description", door)
	topic := "ha/device/rollcall_" + b.m.id.String() + "/config"
	is := func(want string) {
		t.Helper()
		retainedBelow(t, broker, "ha/#", want, func(all map[string]string) bool { return components(all[topic]) == want })
	}
	is("gpio--door gpio--lamp")

	heard := listen(t, bustest.Dial(t, broker), topic)
	for m := next(t, heard, "discovery"); !m.Retained; m = next(t, heard, "discovery") {
	}
	b.retain("/pi1/gpio/description", strings.Replace(door, "door", "gate", 1))
	for _, want := range []string{"gpio--door gpio--gate gpio--lamp", "gpio--gate gpio--lamp"} {
		if got := components(string(next(t, heard, "discovery").Payload)); got != want {
			t.Errorf("told %s, want %s", got, want)
		}
	}
	b.publish("ha/status", "online")
	if got := components(string(next(t, heard, "discovery for one that begins anew").Payload)); got != "gpio--gate gpio--lamp" {
		t.Errorf("told %s", got)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}

	// While the host is off, the service's description goes; the next start says so once the service has had its time.
	c := bustest.Dial(t, broker)
	if err := c.Publish(t.Context(), bus.Message{Topic: "/pi1/gpio/description", QoS: 1, Retained: true}); err != nil {
		t.Fatal(err)
	}
	b = startWith(t, cfg, atOnce)
	is("gpio--gate gpio--lamp")
	b.tick(2 * absence)
	retainedBelow(t, broker, "ha/#", "nothing", func(all map[string]string) bool { return len(all) == 0 })
}

// tellTale is a face for tests, with all that a face can have.
type tellTale struct{}

func (tellTale) Stands(h reports.Host, _ map[string]string) (out []reports.Group) {
	for _, s := range h.Services {
		out = append(out, reports.Group{
			Before:  []reports.Message{{Topic: "t/" + s.Name + "/$state", Payload: "init", Retained: true, QoS: 1}, {Topic: "t/" + s.Name + "/$points", Payload: fmt.Sprint(len(s.Points)), Retained: true, QoS: 1}},
			Service: s.Name,
			After:   []reports.Message{{Topic: "t/" + s.Name + "/$state", Payload: "ready", Retained: true, QoS: 1}},
		})
	}
	return out
}

func (tellTale) Said(s reports.HostService, p reports.Point, payload string) []reports.Message {
	return []reports.Message{{Topic: "t/" + s.Name + "/" + p.Path, Payload: payload, QoS: 1, Retained: p.Access.Has(reports.Get)}}
}

func (tellTale) Filters() []string { return []string{"t/+/+/set"} }

func (tellTale) Heard(h reports.Host, m reports.Message) ([]reports.Message, bool) {
	segs := strings.Split(m.Topic, "/")
	return []reports.Message{{Topic: "/" + h.Name + "/" + segs[1] + "/set/" + segs[2], Payload: m.Payload, QoS: 1}}, false
}

func (tellTale) Ends() (lost, stops []reports.Message) {
	return []reports.Message{{Topic: "t/$state", Payload: "lost", Retained: true, QoS: 1}}, []reports.Message{{Topic: "t/$state", Payload: "stopped", Retained: true, QoS: 1}}
}

// startTellTale starts a host with the face of the tests.
func startTellTale(t *testing.T, cfg config.Config) *bed {
	t.Helper()
	return startWith(t, cfg, func(m *monitor) {
		m.view = newView(m.self())
		m.viewers.add(m.view)
		f, err := m.newFace("telltale", tellTale{})
		if err != nil {
			t.Fatal(err)
		}
		m.faces = []*face{f}
		if err := m.connectFaces(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestFace follows values, events, commands, and what is left behind.
func TestFace(t *testing.T) {
	t.Parallel()
	broker := bustest.StartStoppable(t)
	cfg := testConfig(t)
	cfg.Broker = config.Broker{URL: broker.URL()}
	b := startTellTale(t, cfg)
	heard := listen(t, bustest.Dial(t, broker.URL()), "t/#")
	sent := func(want ...string) {
		t.Helper()
		for _, w := range want {
			m := next(t, heard, w)
			if got := strings.TrimPrefix(m.Topic, "t/") + " " + string(m.Payload); got != w {
				t.Fatalf("published %q, want %q", got, w)
			}
		}
	}
	const points = `{"name":"gpio","function":"gpio","points":[{"path":"door","type":"bool","access":["get"]},{"path":"press","type":"string","access":["event"]}]}`
	b.retain("/pi1/gpio/door", "ON")
	b.retain("/pi1/gpio/description", points)
	sent("gpio/$state init", "gpio/$points 2", "gpio/door ON", "gpio/$state ready")
	b.retain("/pi1/gpio/door", "OFF")
	sent("gpio/door OFF")
	b.publish("/pi1/gpio/press", "long")
	sent("gpio/press long")
	b.publish("/pi1/gpio/press", "long") // twice the same is two events
	sent("gpio/press long")
	b.retain("/pi1/gpio/status", "online") // changes nothing that stands
	b.retain("/pi1/gpio/door", "")
	sent("gpio/door ")
	b.retain("/pi1/gpio/door", "ON")
	sent("gpio/door ON")

	commands := listen(t, bustest.Dial(t, broker.URL()), "/pi1/gpio/set/#")
	b.publish("t/gpio/door/set", "OFF")
	if m := next(t, commands, "command"); m.Topic != "/pi1/gpio/set/door" || string(m.Payload) != "OFF" || m.Retained {
		t.Errorf("command %+v", m)
	}
	next(t, heard, "the command itself")

	broker.Stop()
	broker.Start()
	b.client = bustest.Dial(t, broker.URL())
	b.retain("/pi1/gpio/door", "ON")
	b.retain("/pi1/gpio/description", points)
	retainedBelow(t, broker.URL(), "t/#", "all again", func(all map[string]string) bool {
		return all["t/gpio/$state"] == "ready" && all["t/gpio/$points"] == "2" && all["t/gpio/door"] == "ON"
	})

	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	state(t, broker.URL(), "t/$state", "stopped")
	b = startTellTale(t, cfg)
	b.retain("/pi1/gpio/description", "")
	b.tick(2 * absence) // a service that was there before has had the time to come back
	retainedBelow(t, broker.URL(), "t/#", "nothing of the service", func(all map[string]string) bool { return len(all) == 1 && all["t/$state"] == "stopped" })
}

// TestHomie has a controller switch an output of the host's gpio, and be refused.
func TestHomie(t *testing.T) {
	t.Parallel()
	b := startBed(t, withFaces(t, "{homie: {}, homeassistant: {}}"))
	chip := b.gpio()
	all := retainedBelow(t, b.m.at.url, "homie/#", "gpio as a device that is ready", func(all map[string]string) bool {
		return all["homie/5/pi1-gpio/$state"] == "ready" && all["homie/5/pi1-gpio/output/led"] == "false" && all["homie/5/pi1/$state"] == "ready"
	})
	if !strings.Contains(all["homie/5/pi1-gpio/$description"], `"led"`) {
		t.Errorf("description %s", all["homie/5/pi1-gpio/$description"])
	}
	heard := listen(t, b.dial(), "homie/5/pi1-gpio/output/led/#", "homie/5/pi1-gpio/$log/+")
	for range 2 { // what is retained
		next(t, heard, "state and target")
	}
	b.publish("homie/5/pi1-gpio/output/led/set", "true")
	order := map[string]bool{}
	for len(order) < 3 {
		m := next(t, heard, "target and value")
		order[strings.TrimPrefix(m.Topic, "homie/5/pi1-gpio/output/led")+" "+string(m.Payload)] = true
	}
	if !order["/set true"] || !order["/$target true"] || !order[" true"] || chip.Level(3) != 1 {
		t.Errorf("published %v, line is %d", order, chip.Level(3))
	}
	b.publish("homie/5/pi1-gpio/output/led/set", "maybe")
	for m := next(t, heard, "refusal"); m.Topic != "homie/5/pi1-gpio/$log/error"; m = next(t, heard, "refusal") {
	}
	retainedBelow(t, b.m.at.url, "homie/#", "target as the value is", func(all map[string]string) bool {
		return all["homie/5/pi1-gpio/output/led/$target"] == "true" && all["homie/5/pi1-gpio/output/led"] == "true"
	})
}

// TestFaceForgets has values that are gone when the broker is back: nobody is told them any more.
func TestFaceForgets(t *testing.T) {
	t.Parallel()
	v := newView(reports.Host{Name: "pi1"})
	var told []string
	v.said = func(s reports.HostService, p reports.Point, payload string) {
		told = append(told, s.Name+"/"+p.Path+" "+payload)
	}
	take := func(topic, payload string) {
		v.take(bus.Message{Topic: topic, Payload: []byte(payload), Retained: true})
	}
	all := func() { take("/pi1/gpio/description", door); take("/pi1/gpio/door", "ON") }
	all()
	take("/pi1/gpio/lamp", "ON")
	v.disconnected()
	all()
	v.prune()
	if got, want := strings.Join(told, ", "), "gpio/door ON, gpio/lamp ON, gpio/lamp "; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if got := v.snapshot().Services[0].Values; !maps.Equal(got, map[string]string{"door": "ON"}) {
		t.Errorf("values %v", got)
	}
	v.disconnected()
	v.prune()
	if got := v.snapshot().Services; len(got) != 0 {
		t.Errorf("services %v", got)
	}
}

// TestViewIsBounded floods the view with what nobody describes.
func TestViewIsBounded(t *testing.T) {
	t.Parallel()
	v := newView(reports.Host{Name: "pi1"})
	for i := range 2 * maxValues {
		v.take(bus.Message{Topic: fmt.Sprintf("/pi1/gpio/p%d", i), Payload: []byte("1"), Retained: true})
		v.take(bus.Message{Topic: fmt.Sprintf("/pi1/s%d/x", i), Payload: []byte("1"), Retained: true})
	}
	v.take(bus.Message{Topic: "/pi1/gpio/long", Payload: make([]byte, maxValue+1)})
	for _, topic := range []string{"/pi1/gpio/set/x", "/pi1/gpio/result", "/pi1/set/gpio/x", "/pi1/status", "/pi1/gpio", "/pi1//x", "/pi1/gpio/log"} {
		v.take(bus.Message{Topic: topic, Payload: []byte("1")})
	}
	if got := len(v.services["gpio"].Values); got != maxValues {
		t.Errorf("%d values of a service are kept, want %d", got, maxValues)
	}
	if len(v.services) > maxNames {
		t.Errorf("%d services are kept", len(v.services))
	}
}

// TestFaceOptions has mistakes in the configuration of faces told with their lines.
func TestFaceOptions(t *testing.T) {
	t.Parallel()
	for yaml, want := range map[string]string{
		"homeassistent: {}":                   `there is no face "homeassistent"; there are: homeassistant, homie`,
		"homeassistant: {prefix: 'a/#'}":      "has a wildcard",
		"homeassistant: {prefx: x}":           "prefx",
		"homeassistant: {}\n  hom ie: {}":     "hom ie",
		"homeassistant: [1]":                  "",
		"homeassistant: {}\n  homeassistant:": "twice",
	} {
		file := filepath.Join(t.TempDir(), "rollcall.yaml")
		if err := os.WriteFile(file, []byte("host: pi1\nfaces:\n  "+yaml+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		status, _, stderr := runCommand(t, "--config", file, "--check")
		if status != 2 || !strings.Contains(stderr, want) || !strings.Contains(stderr, file+":") {
			t.Errorf("%s: status %d, %s, want 2 and %q", yaml, status, stderr, want)
		}
	}
}
