package janitootest

import (
	"strings"
	"testing"
)

// TestCheckTakesAllOfJanitoo: nothing that the real servers have sent is refused.
func TestCheckTakesAllOfJanitoo(t *testing.T) {
	t.Parallel()
	n := 0
	for _, name := range Captures("wire/*.txt") {
		for _, m := range Wire(name) {
			if strings.HasSuffix(m.Topic, "/request") {
				continue
			}
			n++
			if err := Check(m.Topic, m.Payload); err != nil {
				t.Errorf("%s: Check(%s) = %v", name, m.Topic, err)
			}
		}
	}
	for _, name := range Captures("replies/*.json") {
		n++
		if err := Check("/nodes/9999/9990/reply", Capture(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n < 200 {
		t.Errorf("%d messages were checked", n)
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, topic, payload, want string }{
		{"no slash", "nodes/9999/9990/reply", `{}`, "without a slash"},
		{"no JSON", "/nodes/9999/9990/reply", `hello`, "dies: ValueError"},
		{"no product_name", "/broadcast/reply/9999/9990", `{"uuid":"request_info_nodes","data":{"x":{"hadd":"7777/0000","uuid":"x","name":"n","location":"l",
"product_type":"t","product_manufacturer":"m","oid":"o","capabilities":[],"cmd_classes":[],"heartbeat":30,"config_timeout":3,"state":"ONLINE"}}}`, "0xa"},
		{"a node without product_name", "/broadcast/reply/9999/9990", `{"uuid":"request_info_nodes","data":{"hadd":"7777/0000","uuid":"x","name":"n","location":"l",` +
			`"product_type":"t","product_manufacturer":"m","oid":"o","capabilities":[],"cmd_classes":[],"heartbeat":30,"config_timeout":3,"state":"ONLINE"}}`, `KeyError: "product_name"`},
		{"no data", "/nodes/9999/9990/reply", `{"uuid":"request_info_users","cmd_class":20480}`, "data"},
		{"an unknown question", "/nodes/9999/9990/reply", `{"uuid":"request_info_all","cmd_class":20480,"data":{}}`, "no discovery request"},
		{"a node without values", "/nodes/9999/9990/reply", `{"uuid":"request_info_users","cmd_class":20480,"data":{"0121/0000":{}}}`, "only nodes"},
		{"no help", "/values/config/0121/0000/name", `{"hadd":"0121/0000","uuid":"name","data":"x","genre":3,"cmd_class":112}`, `KeyError: "help"`},
		{"a list as data", "/values/config/0121/0000/name", `{"hadd":"0121/0000","uuid":"name","data":["x"],"genre":3,"cmd_class":112,"help":null}`, "another type"},
		{"another's topic", "/values/config/0121/0001/name", `{"hadd":"0121/0000","uuid":"name","data":"x","genre":3,"cmd_class":112,"help":null,"is_writeonly":false,"is_readonly":true}`, "0121/0000"},
		{"an answer that says it is a set", "/values/config/0121/0000/name", `{"hadd":"0121/0000","uuid":"name","data":"x","genre":3,"cmd_class":112,"help":null,"is_writeonly":true,"is_readonly":true}`, "says it is"},
		{"a heartbeat in quotes", "/dhcp/heartbeat/0121/0000", `"ONLINE"`, "no JSON object"},
		{"an unknown state", "/dhcp/heartbeat/0121/0000", `FINE`, "none of Janitoo's"},
		{"raw UTF-8", "/values/user/0121/0000/t", `{"units":"°C"}`, "ASCII"},
		{"a request", "/nodes/0121/0000/request", `{}`, "none that a host answers on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := Check(c.topic, []byte(c.payload))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Check = %v, want %q", err, c.want)
			}
		})
	}
}
