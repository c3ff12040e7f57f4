package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports/janitoo/janitootest"
	"rollcall/reports/janitoo/wire"
)

// realJanitoo plays the captured controllers on a broker: each answers discovery requests, to all and to itself, with the replies that
// the real server sent, byte for byte but for what repeats the request.
func realJanitoo(t testing.TB, url string) *bus.Client {
	t.Helper()
	c := bustest.Dial(t, url)
	replies := map[string]map[string][]byte{} // by controller and request
	for _, name := range janitootest.Captures("replies/broadcast_*.json") {
		words := strings.SplitN(strings.TrimSuffix(filepath.Base(name), ".json"), "_", 3)
		if replies[words[1]] == nil {
			replies[words[1]] = map[string][]byte{}
		}
		replies[words[1]][words[2]] = janitootest.Capture(name)
	}
	err := c.Subscribe(context.Background(), 0, func(m bus.Message) {
		r, err := wire.ParseRequest(m.Payload)
		if err != nil {
			t.Errorf("request %s: %v", m.Payload, err)
			return
		}
		topic := wire.BroadcastReplyTopic(r.ReplyHadd)
		to, single := wire.ParseRequestTopic(m.Topic)
		if single {
			topic = wire.ReplyTopic(r.ReplyHadd)
		}
		for ctrl, all := range replies {
			if single && !strings.HasPrefix(string(to), ctrl) {
				continue
			}
			data := json.RawMessage("{}") // what a controller says that has nothing of the kind
			if p := all[r.UUID]; p != nil {
				var whole map[string]json.RawMessage
				if err := json.Unmarshal(p, &whole); err != nil {
					t.Errorf("%s: %v", p, err)
				}
				data = whole["data"]
			}
			answer := maps.Clone(r.Fields)
			answer["data"] = data
			c.Send(bus.Message{Topic: topic, Payload: wire.Marshal(answer)})
		}
	}, wire.BroadcastRequest, "/nodes/+/+/request")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// says follows what a host says of its map, and returns its last words.
func says(t testing.TB, url, host string) func() map[string]any {
	t.Helper()
	got := listen(t, bustest.Dial(t, url), "/"+host+"/janitoo")
	last := map[string]any{}
	return func() map[string]any {
		for {
			select {
			case m := <-got:
				last = map[string]any{}
				if err := json.Unmarshal(m.Payload, &last); err != nil && len(m.Payload) > 0 {
					t.Fatalf("%s: %v", m.Payload, err)
				}
			default:
				return last
			}
		}
	}
}

// fieldsOf returns some of what a host says, in one line.
func fieldsOf(said map[string]any) string {
	return fmt.Sprint(said["state"], " ", said["nodes_count"], " ", said["complete"], " ", said["is_failed"], " ", said["primary"])
}

// Two hosts on one broker with Janitoo's own nodes: a primary and a secondary, which has the map of it, stands in when it stops, and
// gives the place back.
func TestJanitooNetwork(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	realJanitoo(t, url)
	begin := func(host string, j config.Janitoo) *bed {
		return startBed(t, func(c *config.Config) {
			c.Host, c.Janitoo = host, j
			c.Broker = config.Broker{URL: url}
		})
	}
	one, two := says(t, url, "pi1"), says(t, url, "pi2")
	p := begin("pi1", config.Janitoo{Network: config.JanitooPrimary, Hadd: "0001"})
	eventually(t, "the primary", "STARTED 17 true false 0001/0000", func() string { return fieldsOf(one()) })
	begin("pi2", config.Janitoo{Network: config.JanitooSecondary, Hadd: "0002"})
	eventually(t, "the secondary", "STARTED 17 true false 0001/0000", func() string { return fieldsOf(two()) })
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the secondary without a primary", "STARTED 17 true true 0002/0000", func() string { return fieldsOf(two()) })
	eventually(t, "what the stopped primary says", 0, func() int { return len(one()) })
	begin("pi1", config.Janitoo{Network: config.JanitooPrimary, Hadd: "0001"})
	eventually(t, "the secondary with its primary again", "STARTED 17 true false 0001/0000", func() string { return fieldsOf(two()) })
}

// The map is made anew when the broker is back, and nobody has grown old meanwhile.
func TestJanitooBrokerLost(t *testing.T) {
	t.Parallel()
	broker := bustest.StartStoppable(t)
	realJanitoo(t, broker.URL())
	b := startBed(t, func(c *config.Config) {
		c.Broker = config.Broker{URL: broker.URL()}
		c.Janitoo = config.Janitoo{Network: config.JanitooPrimary, Hadd: "0001"}
	})
	info := func() string {
		var said map[string]any
		if err := json.Unmarshal([]byte(b.m.janitoo.says()), &said); err != nil {
			t.Fatal(err)
		}
		return fieldsOf(said)
	}
	eventually(t, "the map", "STARTED 17 true false 0001/0000", info)
	broker.Stop()
	eventually(t, "the map without a broker", "STOPPED 17 false false ", info)
	broker.Start()
	eventually(t, "the map with the broker again", "STARTED 17 true false 0001/0000", info)
}

// leaseOf asks for a lease, or about one, until there is an answer.
func leaseOf(t testing.TB, c *bus.Client, end, rep, payload string) map[string]any {
	t.Helper()
	ctx := within(t)
	request := bus.Message{Topic: "/dhcp/" + end, Payload: []byte(strings.Replace(payload, "{", `{"rep_uuid":"`+rep+`",`, 1))}
	answer, err := c.Request(ctx, request, "/reply/"+rep, func(bus.Message) bool { return true })
	if err != nil {
		t.Fatalf("%s %s: %v", end, payload, err)
	}
	var a map[string]any
	if err := json.Unmarshal(answer.Payload, &a); err != nil {
		t.Fatalf("%s: %v", answer.Payload, err)
	}
	return a
}

// serves waits until the host hears Janitoo's requests.
func (b *bed) serves() {
	b.t.Helper()
	if err := b.m.janitoo.client.Wait(within(b.t)); err != nil {
		b.t.Fatal(err)
	}
}

// Leases are given over the broker, kept over a restart, and found by command class, with the nodes of the network beside them.
func TestJanitooLeases(t *testing.T) {
	t.Parallel()
	b := startBed(t, func(c *config.Config) {
		c.Janitoo = config.Janitoo{Network: config.JanitooPrimary, Hadd: "0001", Leases: true}
	})
	b.serves()
	realJanitoo(t, b.m.at.url)
	// Real nodes are heard of by their heartbeats, and 0010 is one that is there by hand.
	b.send(bus.Message{Topic: "/dhcp/heartbeat/0010/0000", Payload: []byte("ONLINE"), QoS: 1})
	a := leaseOf(t, b.dial(), "lease/new", "r1", `{"add_ctrl":-1,"options":{"name":"web","location":"attic","cmd_classes":[37]}}`)
	if got := fmt.Sprintf("%v %v/%v %v", a["msg_status"], a["add_ctrl"], a["add_node"], a["state"]); got != "200 11/0 BOOT" {
		t.Fatalf("lease %v", a)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	again := startWith(t, b.cfg)
	again.serves()
	realJanitoo(t, again.m.at.url)
	poke(again.m.janitoo.link) // the players came after the start, so that they are asked once more
	eventually(t, "switches", "200 web 0225/0004", func() string {
		a := leaseOf(t, again.dial(), "resolv/cmd_classes", fmt.Sprint("r", time.Now().UnixNano()), `{"cmd_classes":[37]}`)
		out := fmt.Sprint(a["msg_status"])
		for _, l := range a["leases"].([]any) {
			out += " " + l.(map[string]any)["name"].(string)
		}
		for _, n := range a["nodes"].([]any) {
			out += " " + n.(map[string]any)["hadd"].(string)
		}
		return out
	})
}

// A host that is killed has given no address that it does not know of afterwards.
func TestJanitooLeasesKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	url := bustest.Start(t)
	file := filepath.Join(dir, "rollcall.yaml")
	write(t, file, "host: pi9\nstate_dir: "+dir+"/state\ndiscovery: {port: "+strconv.Itoa(freePort(t))+", hello: false}\nbroker: {url: '"+url+"'}\nmetrics: {listen: off}\njanitoo: {leases: true}\n")
	c := bustest.Dial(t, url)
	given := map[float64]bool{}
	for round := range 2 {
		said := says(t, url, "pi9")
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childConfig+"="+file)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // it is dead already
		eventually(t, "leases of the host", strconv.Itoa(len(given)), func() string { return fmt.Sprint(said()["leases"]) })
		for i := range 3 {
			a := leaseOf(t, c, "lease/new", fmt.Sprint("r", round, i), `{"add_ctrl":-1,"options":{"name":"n","location":""}}`)
			ctrl, ok := a["add_ctrl"].(float64)
			if !ok || given[ctrl] {
				t.Errorf("round %d: lease %v is given already, or none", round, a)
			}
			given[ctrl] = true
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		// Its retained words are those of before; only a new start says how many it knows.
		wipe(t, c, "/pi9/janitoo")
	}
}

// wipe empties a retained topic.
func wipe(t testing.TB, c *bus.Client, topic string) {
	t.Helper()
	if err := c.Publish(within(t), bus.Message{Topic: topic, QoS: 1, Retained: true}); err != nil {
		t.Fatal(err)
	}
}
