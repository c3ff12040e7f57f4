package wire_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"rollcall/reports/janitoo/janitootest"
	"rollcall/reports/janitoo/wire"
)

// same reports whether two JSON documents have the same keys and values, 15 and 15.0 apart.
func same(t *testing.T, a, b []byte) bool {
	t.Helper()
	decode := func(b []byte) (v any) {
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
		return v
	}
	return reflect.DeepEqual(decode(a), decode(b))
}

// TestRepliesRoundTrip: every real reply is written as it was read.
func TestRepliesRoundTrip(t *testing.T) {
	t.Parallel()
	for _, name := range janitootest.Captures("replies/*.json") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := janitootest.Capture(name)
			r, err := wire.ParseReply(b)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Nodes)+len(r.Values) == 0 {
				t.Error("nothing in it")
			}
			if out := wire.MarshalReply(r.Request, r.Nodes, r.Values); !same(t, out, b) {
				t.Errorf("written as %s\nread as    %s", out, b)
			}
			for _, v := range r.Values {
				if v.Brief || v.NodeUUID == "" {
					t.Errorf("%s of %s: %+v", v.UUID, v.Hadd, v)
				}
			}
		})
	}
}

// TestValuesRoundTrip: the same of every message of a value.
func TestValuesRoundTrip(t *testing.T) {
	t.Parallel()
	for _, name := range janitootest.Captures("values/*.json") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := janitootest.Capture(name)
			all, err := wire.ParseValues(b)
			if err != nil {
				t.Fatal(err)
			}
			byIndex := strings.HasPrefix(string(b), `{"0": {`)
			if out := wire.MarshalValues(all, byIndex); !same(t, out, b) {
				t.Errorf("written as %s\nread as    %s", out, b)
			}
			brief := strings.HasPrefix(name, "values/config") || strings.HasPrefix(name, "values/system")
			if all[0].Brief != brief {
				t.Errorf("brief %v", all[0].Brief)
			}
		})
	}
}

// TestRequestsRoundTrip: every real request is written as it was read.
func TestRequestsRoundTrip(t *testing.T) {
	t.Parallel()
	n := 0
	for _, name := range janitootest.Captures("wire/*.txt") {
		for _, m := range janitootest.Wire(name) {
			if !strings.HasSuffix(m.Topic, "/request") {
				continue
			}
			n++
			r, err := wire.ParseRequest(m.Payload)
			if err != nil {
				t.Fatalf("%s: %v", m.Payload, err)
			}
			if !same(t, r.Marshal(), m.Payload) {
				t.Errorf("written as %s\nread as    %s", r.Marshal(), m.Payload)
			}
			if h, ok := wire.ParseRequestTopic(m.Topic); (!ok || wire.RequestTopic(h) != m.Topic) && m.Topic != wire.BroadcastRequest {
				t.Errorf("ParseRequestTopic(%s) = %q, %v", m.Topic, h, ok)
			}
		}
	}
	if n < 30 {
		t.Errorf("%d requests", n)
	}
	for _, uuid := range wire.Infos() {
		if r, err := wire.ParseRequest(wire.Discovery(uuid, wire.DefaultReplyHadd).Marshal()); err != nil || !r.IsDiscovery() || r.ReplyHadd != "9999/9990" {
			t.Errorf("Discovery(%s) reads back as %+v, %v", uuid, r, err)
		}
	}
}

func TestHadd(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "121/1", "0121/001", "0121/00010", "0121-0001", "a121/0001", "０121/0001", "/0121/0001", "-121/0001", "+121/0001"} {
		if h, err := wire.ParseHadd(s); err == nil || !errors.Is(err, wire.ErrMalformed) || wire.Hadd(s).Ctrl() != -1 || wire.Hadd(s).Controller() != "" {
			t.Errorf("ParseHadd(%q) = %q, %v", s, h, err)
		}
	}
	h, err := wire.ParseHadd("0121/0003")
	if err != nil || h.Ctrl() != 121 || h.Node() != 3 || h.Controller() != "0121/0000" || h.IsController() || !h.Controller().IsController() || wire.NewHadd(121, 3) != h {
		t.Errorf("ParseHadd = %q, %v", h, err)
	}
	for s, want := range map[string]int{"0121": 121, "0121/0000": 121, "9999": 9999, "121": -1, "0121/0001": -1, "": -1} {
		if got, err := wire.ParseController(s); (err == nil) != (want >= 0) || err == nil && got != want {
			t.Errorf("ParseController(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	const own = "/dhcp/heartbeat/0121/0001"
	for _, c := range []struct {
		topic, payload string
		want           wire.Heartbeat
		ok             bool
	}{
		{own, "ONLINE", wire.Heartbeat{Ctrl: 121, Node: 1, State: wire.Online}, true},
		{own, "OFFLINE", wire.Heartbeat{Ctrl: 121, Node: 1, State: wire.Offline}, true},
		{wire.HeartbeatAll, `{"add_ctrl":118,"add_node":-1,"state":"FAILED"}`, wire.Heartbeat{Ctrl: 118, Node: -1, State: wire.Failed}, true},
		{wire.HeartbeatAll, `{"add_ctrl":"0118","add_node":"0002"}`, wire.Heartbeat{Ctrl: 118, Node: 2, State: wire.Online}, true},
		{own, `{"add_ctrl":118,"add_node":2}`, wire.Heartbeat{Ctrl: 118, Node: 2, State: wire.Online}, true},
		{wire.ResolvHeartbeat, `{"add_ctrl":"0001","add_node":"0000","state":"ONLINE"}`, wire.Heartbeat{Ctrl: 1, State: wire.Online}, true},
		{own, `"ONLINE"`, wire.Heartbeat{}, false},
		{own, `1`, wire.Heartbeat{}, false},
		{own, "", wire.Heartbeat{}, false},
		{own, "online now", wire.Heartbeat{}, false},
		{"/dhcp/heartbeat/121/1", "ONLINE", wire.Heartbeat{}, false},
		{wire.HeartbeatAll, `{"add_ctrl":10000,"add_node":0}`, wire.Heartbeat{}, false},
		{wire.HeartbeatAll, `{"add_ctrl":1.5,"add_node":0}`, wire.Heartbeat{}, false},
		{"/values/user/0121/0001/x", "ONLINE", wire.Heartbeat{}, false},
	} {
		got, err := wire.ParseHeartbeat(c.topic, []byte(c.payload))
		if (err == nil) != c.ok || got != c.want {
			t.Errorf("ParseHeartbeat(%s, %s) = %+v, %v; want %+v", c.topic, c.payload, got, err, c.want)
		}
		if err != nil {
			continue
		}
		topic, payload := got.Dispatch()
		if again, err := wire.ParseHeartbeat(topic, payload); err != nil || again != got {
			t.Errorf("%s %s reads back as %+v, %v; want %+v", topic, payload, again, err, got)
		}
	}
}

func TestTopics(t *testing.T) {
	t.Parallel()
	for topic, want := range map[string]bool{"/values/user/0225/0001/temperature": true, "/values/config/0121/0000/a/b": true, "/values/users/0225/0001/t": false,
		"/values/user/225/1/t": false, "/values/user/0225/0001/": false, "/values/user/0225/0001": false, "values/user/0225/0001/t": false} {
		g, h, uuid, ok := wire.ParseValueTopic(topic)
		if ok != want || ok && wire.ValueTopic(g, h, uuid) != topic {
			t.Errorf("ParseValueTopic(%s) = %v, %q, %q, %v", topic, g, h, uuid, ok)
		}
	}
	for genre, want := range map[wire.Genre]string{wire.Basic: "basic", wire.User: "user", wire.Config: "config", wire.System: "user", wire.Command: "user"} {
		if got := wire.PollTopic(genre, "0001/0002", "x"); got != "/values/"+want+"/0001/0002/x" {
			t.Errorf("PollTopic(%v) = %s", genre, got)
		}
	}
	if got := wire.ControllerFilter(121); got != "/nodes/0121/#" {
		t.Errorf("ControllerFilter = %s", got)
	}
	for _, topic := range []string{"/nodes/0121/0001/reply", "/nodes/121/1/request", "/nodes/0121/0001/x/request", "nodes/0121/0001/request", "/nodes//request"} {
		if h, ok := wire.ParseRequestTopic(topic); ok {
			t.Errorf("ParseRequestTopic(%s) = %q", topic, h)
		}
	}
}

func TestRequestsRefused(t *testing.T) {
	t.Parallel()
	for _, b := range []string{"", "hello", "[]", "null", "{}", `{"uuid":1}`, `{"uuid":""}`, `{"uuid":"x","reply_hadd":"a/#"}`, `{"uuid":"x","reply_hadd":"/x"}`,
		`{"uuid":"` + strings.Repeat("x", 200) + `"}`, `{"uuid":"x","data":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`} {
		if r, err := wire.ParseRequest([]byte(b)); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("ParseRequest(%s) = %+v, %v", b, r, err)
		}
	}
	r, err := wire.ParseRequest([]byte(`{"uuid":"x","is_writeonly":"False","is_readonly":"yes","index":"2","cmd_class":null,"genre":2.0,"data":15.0}`))
	if err != nil || r.WriteOnly || !r.ReadOnly || r.Index == nil || *r.Index != 2 || r.CmdClass != nil || r.Genre != wire.User || r.Data != json.Number("15.0") {
		t.Errorf("ParseRequest = %+v, %v", r, err)
	}
}

// TestReadersAreTolerant: both shapes of all six, one bare node, the old spelling, and entries that can't be read beside others.
func TestReadersAreTolerant(t *testing.T) {
	t.Parallel()
	const v = `{"hadd":"0121/0001","uuid":"load","index":%d,"data":1.5,"units":null,"type":3,"genre":1,"cmd_classes":49,"help":"h"}`
	one := fmt.Sprintf(v, 0)
	for _, shape := range []string{one, `{"0":` + one + `}`} {
		for _, info := range wire.Infos()[1:] {
			r, err := wire.ParseReply([]byte(`{"uuid":"` + info + `","data":{"0121/0001":{"load":` + shape + `,"bad":5,"worse":{"0":{"uuid":"x"}}},"x":7}}`))
			if err != nil || len(r.Values) != 1 || r.Values[0].CmdClass != 49 || r.Values[0].Data != json.Number("1.5") {
				t.Errorf("%s: ParseReply = %+v, %v", info, r, err)
			}
		}
	}
	r, err := wire.ParseReply([]byte(`{"uuid":"request_info_nodes","data":{"hadd":"0001/0000","uuid":"dhcp","cmd_classes":[4096,"x"]}}`))
	if err != nil || len(r.Nodes) != 1 || !reflect.DeepEqual(r.Nodes[0].CmdClasses, []int{4096}) {
		t.Errorf("ParseReply = %+v, %v", r, err)
	}
	all, err := wire.ParseValues([]byte(`{"10":` + fmt.Sprintf(v, 10) + `,"2":` + fmt.Sprintf(v, 2) + `}`))
	if err != nil || len(all) != 2 || all[0].Index != 2 || all[1].Index != 10 {
		t.Errorf("ParseValues = %+v, %v", all, err)
	}
	if all, err := wire.ParseValues([]byte(`{}`)); err != nil || len(all) != 0 {
		t.Errorf("ParseValues({}) = %+v, %v", all, err)
	}
}

func TestConvert(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind wire.Type
		text string
		want any
		ok   bool
	}{
		{wire.TypeBool, "off", false, true}, {wire.TypeBool, "FALSE", false, true}, {wire.TypeBool, "2", true, true}, {wire.TypeBool, "", true, true},
		{wire.TypeInt, "10", json.Number("10"), true}, {wire.TypeInt, "-3", json.Number("-3"), true}, {wire.TypeByte, "1.5", nil, false},
		{wire.TypeShort, "", nil, false}, {wire.TypeDecimal, "6", json.Number("6.0"), true}, {wire.TypeDecimal, "1e3", json.Number("1000.0"), true},
		{wire.TypeDecimal, "nan", nil, false}, {wire.TypeDecimal, "inf", nil, false}, {wire.TypeString, "10", "10", true},
		{wire.TypeArray, "a|b", []any{"a", "b"}, true}, {wire.TypeHadd, "0121/0001", "0121/0001", true}, {wire.TypeList, "on", "on", true},
	} {
		got, err := c.kind.Convert(c.text)
		if (err == nil) != c.ok || !reflect.DeepEqual(got, c.want) {
			t.Errorf("Type(%d).Convert(%q) = %#v, %v; want %#v", c.kind, c.text, got, err, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	all := wire.CmdClasses()
	if len(all) != 131 || !slices.Contains(all, wire.Named{Number: 112, Name: "COMMAND_CONFIGURATION"}) {
		t.Errorf("%d classes, want 131, with that of the configuration: %v", len(all), all)
	}
	for i, s := range []wire.State{wire.Unknown, wire.Offline, wire.Dead, wire.Failed, wire.Pending, wire.Boot, wire.Online} {
		if s.Rank() != i-1 {
			t.Errorf("%s has rank %d", s, s.Rank())
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, name := range janitootest.Captures("wire/*.txt") {
		for _, m := range janitootest.Wire(name) {
			if strings.HasSuffix(m.Topic, "/request") {
				f.Add(m.Payload)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := wire.ParseRequest(b)
		if err != nil {
			return
		}
		again, err := wire.ParseRequest(r.Marshal())
		if err != nil || again.UUID != r.UUID || again.WriteOnly != r.WriteOnly && !r.IsDiscovery() {
			t.Errorf("%q reads back as %+v, %v", r.Marshal(), again, err)
		}
		if strings.ContainsAny(wire.ReplyTopic(r.ReplyHadd), "#+\x00") {
			t.Errorf("would answer on %q", wire.ReplyTopic(r.ReplyHadd))
		}
		if out := wire.MarshalReply(r, nil, nil); !json.Valid(out) {
			t.Errorf("reply %s", out)
		}
		if out := wire.MarshalAnswer(r, wire.Value{UUID: r.UUID}, true); !json.Valid(out) {
			t.Errorf("answer %s", out)
		}
	})
}

func FuzzParseReply(f *testing.F) {
	for _, name := range janitootest.Captures("replies/broadcast_1118_request_info_[bcn]o*.json") {
		f.Add(janitootest.Capture(name))
	}
	f.Add([]byte(`{"uuid":"request_info_nodes","data":{"hadd":"7777/0000","uuid":"u"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := wire.ParseReply(b)
		if err != nil {
			return
		}
		out := wire.MarshalReply(r.Request, r.Nodes, r.Values)
		if _, err := wire.ParseReply(out); err != nil {
			t.Errorf("%s is not read again: %v", out, err)
		}
	})
}

func FuzzParseValues(f *testing.F) {
	for _, name := range janitootest.Captures("values/config*.json") {
		f.Add(janitootest.Capture(name))
	}
	f.Add([]byte(`{"0":{"uuid":"x","hadd":"0001/0001"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := wire.ParseValues(b)
		if err != nil {
			return
		}
		for _, v := range all {
			if !v.Hadd.Valid() || v.UUID == "" {
				t.Errorf("ParseValues accepts %+v", v)
			}
		}
		if out := wire.MarshalValues(all, true); !json.Valid(out) {
			t.Errorf("written as %s", out)
		}
	})
}

func FuzzParseHeartbeat(f *testing.F) {
	f.Add("/dhcp/heartbeat/0121/0001", []byte("ONLINE"))
	f.Add("/dhcp/heartbeat/", []byte(`{"add_ctrl":118,"add_node":-1,"state":"FAILED"}`))
	f.Fuzz(func(t *testing.T, topic string, b []byte) {
		h, err := wire.ParseHeartbeat(topic, b)
		if err == nil && (h.Ctrl < 0 || h.Ctrl > wire.MaxNumber || h.Node < wire.AllNodes || h.Node > wire.MaxNumber || h.State == "") {
			t.Errorf("ParseHeartbeat(%q, %q) = %+v", topic, b, h)
		}
	})
}
