package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports/janitoo/janitootest"
)

func TestReadJanitoo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ topic, payload, kind, hadd, text string }{
		{"/dhcp/heartbeat/0121/0001", "ONLINE", "heartbeat", "0121/0001", "ONLINE"},
		{"/dhcp/heartbeat/", `{"add_ctrl":121,"add_node":-1,"state":"FAILED"}`, "heartbeat", "0121/*", "FAILED"},
		{"/broadcast/request", `{"genre": 4, "reply_hadd": "9999/9990", "cmd_class": 20480, "uuid": "request_info_nodes"}`, "request", "all", "request_info_nodes for 9999/9990"},
		{"/nodes/0121/0000/request", `{"reply_hadd": "9999/9990", "uuid": "location", "is_readonly": true, "genre": 3, "data": "My computer", "cmd_class": 112, "hadd": "0121/0000", "is_writeonly": true}`,
			"request", "0121/0000", "set config location = My computer for 9999/9990"},
		{"/nodes/0121/0001/request", `{"uuid": "load", "is_readonly": true, "genre": 1, "cmd_class": 49, "hadd": "0121/0001"}`, "request", "0121/0001", "get basic load for nobody"},
		{"/broadcast/reply/9999/9990", string(janitootest.Capture("replies/broadcast_0121_request_info_nodes.json")), "reply", "9999/9990", "request_info_nodes: 5 nodes, 0 values"},
		{"/nodes/9999/9990/reply", string(janitootest.Capture("values/user_0225_0001_temperature.as_query_answer.json")), "reply", "9999/9990",
			"0225/0001 user temperature = 19.0 °C for 9999/9990"},
		{"/values/user/0225/0001/temperature", string(janitootest.Capture("values/user_0225_0001_temperature.json")), "value", "0225/0001", "user temperature = 19.0 °C"},
		{"/values/user/0121/0001/x", `{"uuid":"x","hadd":"0121/0001","data":["a",1]}`, "value", "0121/0001", `user x = ["a",1]`},
		{"/nodes/0121/0001/request", "junk", "other", "", "/nodes/0121/0001/request junk"},
		{"/nodes/9999/9990/reply", "junk", "other", "", "/nodes/9999/9990/reply junk"},
		{"/reply/abc", `{"msg_status":200}`, "other", "", `/reply/abc {"msg_status":200}`},
	} {
		kind, hadd, text := readJanitoo(bus.Message{Topic: c.topic, Payload: []byte(c.payload)})
		if kind != c.kind || hadd != c.hadd || text != c.text {
			t.Errorf("readJanitoo(%s) = %q, %q, %q, want %q, %q, %q", c.topic, kind, hadd, text, c.kind, c.hadd, c.text)
		}
	}
	load := janitootest.Capture("values/basic_0121_0001_load.json")
	if _, _, text := readJanitoo(bus.Message{Topic: "/values/basic/0121/0001/load", Payload: load}); !strings.HasPrefix(text, "basic load = [0] ") || strings.Count(text, ", [") != 2 {
		t.Errorf("three instances are %q", text)
	}
}

// spy --janitoo hears the protocol and nothing else, and what is hostile stays on its line.
func TestSpyJanitoo(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	say := bustest.Dial(t, url)
	l := newLaptop(t)
	for _, args := range [][]string{nil, {"--json"}} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var out, errs bytes.Buffer
		ended := make(chan int)
		go func() {
			ended <- run(ctx, append([]string{"--cache", l.cache, "--keys", l.keys, "--broker", url, "spy", "--janitoo", "-n", "1"}, args...), strings.NewReader(""), &out, &errs)
		}()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		code := -1
		for code < 0 {
			select {
			case code = <-ended:
			case <-tick.C:
				say.Send(bus.Message{Topic: "/pizero2/gpio/status", Payload: []byte("online")})
				say.Send(bus.Message{Topic: "/values/user/0121/0001/x", Payload: []byte(`{"uuid":"x","hadd":"0121/0001","data":"\u001b[2J\n","units":"\u202e"}`)})
			}
		}
		if code != 0 || strings.Contains(out.String(), "\x1b") || strings.Contains(out.String(), "\u202e") || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("spy --janitoo ended with %d and printed %q, %s", code, out.String(), errs.String())
		}
		if args == nil {
			if !strings.HasSuffix(out.String(), ` value     0121/0001 user x = \x1b[2J\n \u202e`+"\n") {
				t.Errorf("spy --janitoo printed %q", out.String())
			}
			continue
		}
		var seen janitooSeen
		if err := json.Unmarshal(out.Bytes(), &seen); err != nil || seen.Kind != "value" || seen.Hadd != "0121/0001" || seen.Topic != "/values/user/0121/0001/x" {
			t.Errorf("spy --janitoo --json printed %s, %v", out.String(), err)
		}
	}
	l.want(exitUsage, "spy", "--janitoo", "--udp")
}
