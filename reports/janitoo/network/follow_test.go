package network

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/reports/janitoo/janitootest"
	"rollcall/reports/janitoo/wire"
)

// A controller that is first heard of by a heartbeat is asked the six requests at its own address, also where it says nothing to
// some of them at once; one with a new node is asked anew.
func TestHeartbeatDiscover(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start("p", primary())
	w.run(time.Second, nil)
	w.agents = []agent{fleet(t, 1)}
	w.seen = nil
	w.publish(Message{wire.HeartbeatTopic("1000/0003"), []byte("ONLINE")})
	if !w.run(time.Second, func() bool { return n.Info().Complete }) {
		t.Fatalf("not known after a second: %+v", n.Info())
	}
	var asked []string
	for _, m := range w.seen {
		if m.Topic == "/nodes/1000/0000/request" {
			r, err := wire.ParseRequest(m.Payload)
			if err != nil || !r.IsDiscovery() || r.ReplyHadd != "0001/0000" {
				t.Errorf("request %s: %v", m.Payload, err)
			}
			asked = append(asked, r.UUID)
		}
	}
	if !slices.Equal(asked, wire.Infos()) {
		t.Errorf("asked %q, want %q", asked, wire.Infos())
	}
	if i := n.Info(); i.NodesCount != 5 || i.ValuesCount != 20 {
		t.Errorf("info %+v", i)
	}
	w.run(time.Minute, nil)
	w.seen = nil
	w.publish(Message{wire.HeartbeatTopic("1000/0077"), []byte("ONLINE")})
	w.run(time.Second, nil)
	w.publish(Message{wire.HeartbeatTopic("1000/0078"), []byte("ONLINE")})
	w.run(time.Second, nil)
	count := 0
	for _, m := range w.seen {
		if m.Topic == "/nodes/1000/0000/request" {
			count++
		}
	}
	if count != 6 {
		t.Errorf("for two new nodes within two seconds there were %d requests, want 6", count)
	}
}

// A controller that misses requests is asked again until it has answered all.
func TestAskAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	answers, lost := fleet(t, 3), 0
	w.agents = []agent{func(m Message) []Message {
		out := answers(m)
		return slices.DeleteFunc(out, func(o Message) bool {
			if strings.Contains(string(o.Payload), "1001/") && lost < 8 { // it says nothing eight times
				lost++
				return true
			}
			return false
		})
	}}
	n := w.start("p", primary())
	w.run(time.Second, nil)
	w.publish(Message{wire.HeartbeatTopic("1001/0000"), []byte("ONLINE")}) // nobody misses what has never been heard of
	if !w.run(time.Minute, func() bool { return n.Info().Complete && n.Info().NodesCount == 15 }) {
		t.Errorf("info %+v", n.Info())
	}
	if i := n.Info(); i.ValuesCount != 60 {
		t.Errorf("info %+v", i)
	}
}

// A controller that has a node more by the time it is asked for values is asked for its nodes again.
func TestNewNodeBetween(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	answers, first := fleet(t, 1), true
	w.agents = []agent{func(m Message) []Message {
		if first && strings.Contains(string(m.Payload), wire.InfoNodes) && m.Topic == wire.BroadcastRequest {
			first = false
			return []Message{said(wire.InfoNodes, `{"host0__n0":{"uuid":"host0__n0","hadd":"1000/0000","heartbeat":30,"state":"ONLINE"}}`)}
		}
		return answers(m)
	}}
	n := w.start("p", primary())
	if !w.run(20*time.Second, func() bool { return n.Info().Complete && n.Info().NodesCount == 5 }) {
		t.Errorf("after 20 s: %+v", n.Info())
	}
	if i := n.Info(); i.ValuesCount != 20 {
		t.Errorf("info %+v", i)
	}
}

// A controller that is away for long after the broker was is asked again as soon as it beats.
func TestAskWhenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	answers := fleet(t, 2)
	w.agents = []agent{answers}
	n := w.start("p", primary())
	w.run(time.Second, nil)
	w.publish(n.Stop(w.now)...)
	w.agents = nil
	w.publish(n.Start(w.now)...)
	w.run(time.Hour, nil)
	if i := n.Info(); i.Complete || i.NodesCount != 10 {
		t.Fatalf("while nobody is there: %+v", i)
	}
	w.agents = []agent{answers}
	w.publish(Message{wire.HeartbeatTopic("1000/0001"), []byte("ONLINE")}, Message{wire.HeartbeatTopic("1001/0003"), []byte("ONLINE")})
	if !w.run(time.Second, func() bool { return n.Info().Complete }) {
		t.Errorf("a second after their heartbeats: %+v", n.Info())
	}
}

// Polls, answers and sets of others keep the map fresh; only what was said of a value's nature stays.
func TestValuesFollow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agents = []agent{realControllers(t)}
	n := w.start("p", primary())
	w.run(time.Second, nil)
	find := func(info string, hadd wire.Hadd, uuid string, index int) wire.Value {
		for _, v := range n.Values(info) {
			if v.Hadd == hadd && v.UUID == uuid && v.Index == index {
				return v
			}
		}
		t.Fatalf("no value %s of %s", uuid, hadd)
		return wire.Value{}
	}
	w.publish(Message{"/values/basic/0121/0001/load", janitootest.Capture("values/basic_0121_0001_load.json")})
	polled, err := wire.ParseValues(janitootest.Capture("values/basic_0121_0001_load.json"))
	if err != nil || len(polled) != 3 {
		t.Fatal(err)
	}
	for i, want := range polled {
		if got := find(wire.InfoBasics, "0121/0001", "load", i); got.Data != want.Data {
			t.Errorf("load %d is %v, want %v", i, got.Data, want.Data)
		}
	}
	before := find(wire.InfoConfigs, "0121/0000", "location", 0)
	w.publish(Message{"/values/config/0121/0000/location", []byte(`{"uuid": "location", "is_readonly": true, "cmd_class": 112, "hadd": "0121/0000", "label": "location",
		"reply_hadd": "9999/9990", "genre": 3, "data": "Attic", "is_writeonly": false, "help": "The location of the node"}`)})
	after := find(wire.InfoConfigs, "0121/0000", "location", 0)
	if after.Data != "Attic" || after.ReadOnly != before.ReadOnly || after.Type != before.Type || after.ReplyHadd != nil {
		t.Errorf("location was %+v, is %+v", before, after)
	}
	w.publish(Message{"/values/system/0121/0000/heartbeat", []byte(`{"uuid":"heartbeat","cmd_class":112,"hadd":"0121/0000","reply_hadd":"9999/9990","genre":4,"data":"20","label":"x","help":"y"}`)})
	var node wire.Node
	controllers := 0
	for _, c := range n.Nodes() {
		if c.Hadd == "0121/0000" {
			node = c
		}
		if c.Hadd.IsController() {
			controllers++
		}
	}
	if wire.Text(node.Location) != "Attic" || node.Heartbeat != "20" || node.State != wire.Online {
		t.Errorf("node is %+v", node)
	}
	if controllers != 5 {
		t.Errorf("%d controllers, want 5", controllers)
	}
	check(t, n)
}

// What the map is asked about a network that has the command classes for it.
func TestQueries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agents = []agent{realControllers(t)}
	n := w.start("p", primary())
	w.run(time.Second, nil)
	w.publish(said(wire.InfoNodes, `{"net":{"uuid":"net","hadd":"0001/0000","cmd_classes":[4176,4177],"heartbeat":30,"state":"ONLINE"},
		"web":{"uuid":"web","hadd":"0300/0000","cmd_classes":[4176,4144],"heartbeat":30,"state":"ONLINE"}}`),
		said(wire.InfoSystems, `{"0001/0000":{"network_controller":{"uuid":"network_controller","hadd":"0001/0000","genre":4,"type":5,"data":"primary"}}}`))
	hadds := func(all []wire.Node) string {
		var out []string
		for _, x := range all {
			out = append(out, string(x.Hadd))
		}
		return strings.Join(out, " ")
	}
	for what, tt := range map[string]struct{ got, want string }{
		"web controllers": {hadds(n.WithClass(wire.CmdWebController)), "0300/0000"},
		"switches":        {hadds(n.WithClass(wire.CmdSwitchBinary)), "0225/0004"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", what, tt.got, tt.want)
		}
	}
}

// A primary's answers to a real secondary are what it would have had from the controllers themselves, in pieces.
func TestResolvAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agents = []agent{realControllers(t)}
	w.start("p", primary())
	w.run(time.Second, nil)
	w.seen = nil
	for _, info := range wire.Infos() {
		w.publish(Message{wire.ResolvRequest, wire.Discovery(info, "0099/0000").Marshal()})
	}
	w.run(time.Second, nil)
	got := map[string]map[string]any{}
	pieces := map[string]int{}
	for _, m := range w.seen {
		if m.Topic != "/dhcp/resolv/reply/0099/0000" {
			continue
		}
		var r struct {
			UUID      string
			ReplyHadd string         `json:"reply_hadd"`
			CmdClass  int            `json:"cmd_class"`
			Data      map[string]any `json:"data"`
		}
		if err := json.Unmarshal(m.Payload, &r); err != nil || r.ReplyHadd != "0099/0000" || r.CmdClass != wire.CmdDiscovery {
			t.Fatalf("%s: %v", m.Payload, err)
		}
		if err := janitootest.Check("/broadcast/reply/0099/0000", m.Payload); err != nil {
			t.Errorf("%s: %v", r.UUID, err)
		}
		if got[r.UUID] == nil {
			got[r.UUID] = map[string]any{}
		}
		for k, v := range r.Data {
			got[r.UUID][k] = v
		}
		pieces[r.UUID]++
	}
	for info, entries := range map[string]int{wire.InfoNodes: 17, wire.InfoSystems: 17, wire.InfoConfigs: 17, wire.InfoUsers: 9, wire.InfoBasics: 6, wire.InfoCommands: 1} {
		if len(got[info]) != entries || pieces[info] != (entries+9)/10 {
			t.Errorf("%s: %d entries in %d pieces, want %d", info, len(got[info]), pieces[info], entries)
		}
	}
	var want map[string]any
	for _, m := range capture(t, sigkill) {
		var r struct{ Data map[string]map[string]any }
		if m.Topic != "/broadcast/reply/0001/0000" || !strings.Contains(string(m.Payload), wire.InfoUsers) || json.Unmarshal(m.Payload, &r) != nil {
			continue
		}
		if want = r.Data["0225/0001"]; want != nil {
			break
		}
	}
	if fmt.Sprint(got[wire.InfoUsers]["0225/0001"]) != fmt.Sprint(want) {
		t.Errorf("users of 0225/0001 are %v, want %v", got[wire.InfoUsers]["0225/0001"], want)
	}
}

// A secondary takes from its primary's dispatch what it has not heard itself.
func TestDispatchHeard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agents = []agent{fleet(t, 1)}
	p := w.start("p", primary())
	s := w.start("s", secondary())
	w.run(3*time.Second, nil)
	w.publish(Message{wire.HeartbeatTopic("1000/0001"), []byte("ONLINE")})
	w.publish(Message{wire.HeartbeatAll, []byte(`{"add_ctrl":1000,"add_node":-1,"state":"FAILED"}`)})
	state := func(n *Network, hadd wire.Hadd) wire.State { return n.store.nodes[hadd].State }
	if state(s, "1000/0001") != wire.Online || state(s, "1000/0002") != wire.Failed || state(p, "1000/0002") != wire.Online {
		t.Errorf("secondary has %s, %s, primary %s", state(s, "1000/0001"), state(s, "1000/0002"), state(p, "1000/0002"))
	}
	w.publish(Message{wire.HeartbeatAll, []byte(`{"add_ctrl":1000,"add_node":-1,"state":"OFFLINE"}`)}) // a host's last will
	for name, n := range map[string]*Network{"primary": p, "secondary": s} {
		for _, e := range n.store.nodes {
			if e.State != wire.Offline {
				t.Errorf("%s: after the last will %s is %s", name, e.Hadd, e.State)
			}
		}
	}
	for word, want := range map[string]wire.State{"OFFLINE": wire.Offline, "INIT": wire.Configs, "BOOT": wire.Boot, "STRANGE": wire.Unknown, "ONLINE": wire.Online} {
		if w.publish(Message{wire.HeartbeatTopic("1000/0002"), []byte(word)}); state(p, "1000/0002") != want {
			t.Errorf("%s makes %s, want %s", word, state(p, "1000/0002"), want)
		}
	}
}

// A node that is set to beat more often has its new heartbeat from that moment, not from its last beat long ago.
func TestHeartbeatSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agents = []agent{realControllers(t)}
	n := w.start("p", primary())
	w.run(time.Second, nil)
	set := func(seconds string) {
		w.publish(Message{"/values/system/0121/0001/heartbeat", []byte(`{"uuid":"heartbeat","cmd_class":112,"hadd":"0121/0001","reply_hadd":"9999/9990","genre":4,"data":"` + seconds + `","label":"x","help":"y"}`)})
	}
	set("600")
	w.publish(Message{"/dhcp/heartbeat/0121/0001", []byte("ONLINE")})
	w.run(300*time.Second, nil)
	set("20")
	w.run(19*time.Second, nil)
	if got := n.store.nodes["0121/0001"].State; got != wire.Online {
		t.Errorf("19 s after its heartbeat was set to 20 s, 0121/0001 is %s", got)
	}
	w.run(10*time.Second, nil)
	if got := n.store.nodes["0121/0001"].State; got != wire.Pending {
		t.Errorf("29 s after its heartbeat was set to 20 s, 0121/0001 is %s", got)
	}
}
