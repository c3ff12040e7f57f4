package janitoo

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/agents"
	"rollcall/agents/agentstest"
	"rollcall/reports"
	"rollcall/reports/janitoo/wire"
)

// exampleOf returns what the agent of a factory's example says of itself, with a value for each of its points that has one.
func exampleOf(t testing.TB, f agents.Factory) reports.HostService {
	t.Helper()
	s := reports.HostService{Service: agentstest.Example(t, f, "../../agents/testdata").Describe(), Status: reports.Online, Described: true, Values: map[string]string{}}
	s.Name = f.Name
	for _, p := range s.Points {
		if p.Access.Has(reports.Get) {
			s.Values[p.Path] = valueOf(p)
		}
	}
	return s
}

// valueOf returns a payload that the point can have.
func valueOf(p reports.Point) string {
	switch p.Type {
	case reports.Bool:
		return "ON"
	case reports.Enum:
		return p.Options[0]
	case reports.String:
		return "text"
	case reports.JSON:
		return `{"a":[1,"b"]}`
	}
	if p.Min != nil {
		return reports.FormatValue(*p.Min)
	}
	return "5"
}

// TestCertification is Janitoo's own certification of nodes (JANITOO.md §8), of every node of every agent: a heartbeat is seen; the
// heartbeat is set to 15 and one comes within 17 s, then to 60 and one comes within 63 s; config_timeout is set to 15 and 5, the name to
// testname, the location to testlocation. Each answer has the data that was sent.
func TestCertification(t *testing.T) {
	t.Parallel()
	var w world
	w.o, w.host.Name = Controller{Hadd: "0121"}, "pi1"
	for _, f := range agents.All() {
		w.host.Services = append(w.host.Services, exampleOf(t, f))
	}
	b, c := w.start(t, nil)
	b.Stands(w.host, nil)
	first := w.during(t, b, c, time.Second)
	services := map[string]bool{}
	for _, n := range b.nodes {
		services[n.service] = true
		hadd := n.hadd
		if len(first[wire.HeartbeatTopic(hadd)]) != 1 {
			t.Errorf("%s: heartbeats at %v", hadd, first[wire.HeartbeatTopic(hadd)])
		}
		set := func(genre wire.Genre, uuid string, data any) {
			t.Helper()
			if got := w.set(t, b, hadd, genre, uuid, data); got.Data != data {
				t.Errorf("%s: %s is set to %v, and the answer says %v", n.uuid, uuid, data, got.Data)
			}
		}
		for _, delay := range []string{"15", "60"} {
			set(wire.System, "heartbeat", json.Number(delay))
			s, err := time.ParseDuration(delay + "s")
			if err != nil {
				t.Fatal(err)
			}
			if got := w.during(t, b, c, s+3*time.Second)[wire.HeartbeatTopic(hadd)]; len(got) != 1 || got[0] != s {
				t.Errorf("%s: with a heartbeat of %s s at %v", n.uuid, delay, got)
			}
		}
		set(wire.System, "config_timeout", json.Number("15"))
		set(wire.System, "config_timeout", json.Number("5"))
		set(wire.Config, "name", "testname")
		set(wire.Config, "location", "testlocation")
	}
	for _, s := range w.host.Services {
		if !services[s.Name] {
			t.Errorf("service %s is no node", s.Name)
		}
	}
}

// TestEveryAgentAsNodes: all that every agent has comes out by Janitoo's rules: each value can be asked for, and is answered.
func TestEveryAgentAsNodes(t *testing.T) {
	t.Parallel()
	for _, f := range agents.All() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			w := world{Controller{Hadd: "0121"}, reports.Host{Name: "pi1", Services: []reports.HostService{exampleOf(t, f)}}}
			b, _ := w.start(t, nil)
			b.Stands(w.host, nil)
			points := map[string]bool{}
			for _, info := range wire.Infos() {
				out := w.ask(t, b, wire.RequestTopic("0121/0000"), string(wire.Discovery(info, "9999/9990").Marshal()))
				r, err := wire.ParseReply([]byte(out[0].Payload))
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range r.Values {
					topic, payload := request(v.Hadd, v.Genre, v.UUID, v.CmdClass, nil)
					got := one(t, w.ask(t, b, topic, payload))
					if v.Index == 0 && fmt.Sprint(got.Data) != fmt.Sprint(v.Data) {
						t.Errorf("%s of %s is %v when it is asked for, and %v in discovery", v.UUID, v.Hadd, got.Data, v.Data)
					}
				}
			}
			for _, n := range b.nodes {
				for _, v := range n.values {
					for i, in := range v.instances {
						points[in.point.Path] = true
						if in.point.Path != "" && in.point.Access.Has(reports.Get) && v.data(b, i) == nil {
							t.Errorf("%s of %s has no data, for %q of %q", v.UUID, n.uuid, in.payload, in.point.Path)
						}
					}
				}
			}
			for _, p := range w.host.Services[0].Points {
				if a, err := reports.ParseAlias(p.Janitoo); !points[p.Path] && (err != nil || a.Value[:3] != "pro") {
					t.Errorf("point %s is no value", p.Path)
				}
			}
		})
	}
}

// TestTutorialsTables: the agents come out as Janitoo's components, with their uuids, oids and products.
func TestTutorialsTables(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"hostsensor": "hostsensor.disks Disks statistics; hostsensor.load Load statistics; hostsensor.lmsensor LmSensor; hostsensor.uptime Uptime statistics; hostsensor.hostsensor hostsensor",
		"cpu":        "hostsensor.picpu Software generic component", "dht22": "hostsensor.dht DHT", "nut": "hostsensor.ups made up",
		"ds18b20": "hostsensor.ds18b20 DS18B20 sensor; hostsensor.ds18b20 DS18B20 sensor; hostsensor.ds18b20 ds18b20", "sonar": "hostsensor.sonic Sonic",
	}
	for _, f := range agents.All() {
		if want[f.Name] == "" {
			continue
		}
		w := world{Controller{Hadd: "0121", Bus: "hostsensor"}, reports.Host{Name: "pi1", Services: []reports.HostService{exampleOf(t, f)}}}
		for i, p := range w.host.Services[0].Points {
			if w.host.Services[0].Points[i].Janitoo == "nut.ups/product_name" {
				w.host.Services[0].Values[p.Path] = "made up"
			}
		}
		b, _ := w.start(t, nil)
		b.Stands(w.host, nil)
		got := map[string]int{}
		for _, n := range b.nodes[1:] {
			got[n.oid+" "+n.product[0]]++
		}
		for line := range strings.SplitSeq(want[f.Name], "; ") {
			if got[line]--; got[line] < 0 {
				t.Errorf("%s: no node %s", f.Name, line)
			}
		}
		for line, n := range got {
			if n > 0 {
				t.Errorf("%s: node %s is not wanted", f.Name, line)
			}
		}
	}
}
