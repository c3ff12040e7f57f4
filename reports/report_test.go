package reports

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// originalReport is the answer of an original program, as PROTOCOL.md §1 has it.
const originalReport = `{"function":"gpio","inputs":"/pizero2/gpio/set","outputs":"/pizero2/gpio","control":"/pizero2/gpio/control",
 "hostname":"pizero2","ipaddr":"192.168.1.50","extaddr":"173.95.174.120",
 "replyto":"pibot01","topic":"/stat/data","cmd":"getstatus","id":1241}`

func TestParseReport(t *testing.T) {
	t.Parallel()
	monitor := Monitor{Hostname: "pizero2", IPAddr: "192.168.1.50", ExtAddr: "173.95.174.120"}
	for name, test := range map[string]struct {
		in    string
		want  Report
		found FoundService
	}{
		"original": {originalReport, Report{
			Request:  Request{Cmd: "getstatus", ReplyTo: "pibot01", Topic: "/stat/data", ID: "1241", Monitor: monitor, Extra: map[string]json.RawMessage{}},
			Function: "gpio", Inputs: "/pizero2/gpio/set", Outputs: "/pizero2/gpio", Control: "/pizero2/gpio/control",
		}, FoundService{Name: "gpio", Function: "gpio", Inputs: "/pizero2/gpio/set", Outputs: "/pizero2/gpio", Control: "/pizero2/gpio/control"}},
		"named": {`{"cmd":"status","topic":"a","hostname":"h","service":"door","function":"gpio","outputs":"/h/other"}`, Report{
			Request: Request{Cmd: "status", Topic: "a", Monitor: Monitor{Hostname: "h"}, Extra: map[string]json.RawMessage{}},
			Service: "door", Function: "gpio", Outputs: "/h/other",
		}, FoundService{Name: "door", Function: "gpio", Outputs: "/h/other"}},
		"named by its outputs": {`{"cmd":"status","topic":"a","hostname":"h","function":"gpio","outputs":"/h/door"}`, Report{
			Request:  Request{Cmd: "status", Topic: "a", Monitor: Monitor{Hostname: "h"}, Extra: map[string]json.RawMessage{}},
			Function: "gpio", Outputs: "/h/door",
		}, FoundService{Name: "door", Function: "gpio", Outputs: "/h/door"}},
		"outputs end in a slash": {`{"cmd":"status","topic":"a","hostname":"h","function":"gpio","outputs":"/h/door/"}`, Report{
			Request:  Request{Cmd: "status", Topic: "a", Monitor: Monitor{Hostname: "h"}, Extra: map[string]json.RawMessage{}},
			Function: "gpio", Outputs: "/h/door/",
		}, FoundService{Name: "door", Function: "gpio", Outputs: "/h/door/"}},
		"function only": {`{"cmd":"status","topic":"a","hostname":"h","function":"weather"}`, Report{
			Request:  Request{Cmd: "status", Topic: "a", Monitor: Monitor{Hostname: "h"}, Extra: map[string]json.RawMessage{}},
			Function: "weather",
		}, FoundService{Name: "weather", Function: "weather"}},
		"null is none": {`{"cmd":"status","topic":"a","hostname":"h","function":"weather","inputs":null,"control":null}`, Report{
			Request:  Request{Cmd: "status", Topic: "a", Monitor: Monitor{Hostname: "h"}, Extra: map[string]json.RawMessage{}},
			Function: "weather",
		}, FoundService{Name: "weather", Function: "weather"}},
		"name that is none": {`{"cmd":"status","topic":"a","hostname":"h","service":"my door","function":"weather"}`, Report{
			Request: Request{Cmd: "status", Topic: "a", Monitor: Monitor{Hostname: "h"}, Extra: map[string]json.RawMessage{}},
			Service: "my door", Function: "weather",
		}, FoundService{Name: "weather", Function: "weather"}},
		"simulated": {`{"cmd":"status","topic":"a","hostname":"h","function":"weather","simulated":true}`, Report{
			Request:  Request{Cmd: "status", Topic: "a", Monitor: Monitor{Hostname: "h"}, Extra: map[string]json.RawMessage{}},
			Function: "weather", Simulated: true,
		}, FoundService{Name: "weather", Function: "weather", Simulated: true}},
		"simulated in words of its own": {`{"cmd":"status","topic":"a","hostname":"h","function":"weather","simulated":["true"]}`, Report{
			Request:  Request{Cmd: "status", Topic: "a", Monitor: Monitor{Hostname: "h"}, Extra: map[string]json.RawMessage{"simulated": json.RawMessage(`["true"]`)}},
			Function: "weather",
		}, FoundService{Name: "weather", Function: "weather"}},
		"list of inputs": {`{"cmd":"getinputs","topic":"a","hostname":"h","inputs":["/h/gpio/set/a"]}`, Report{
			Request: Request{Cmd: "getinputs", Topic: "a", Monitor: Monitor{Hostname: "h"}, Extra: map[string]json.RawMessage{"inputs": json.RawMessage(`["/h/gpio/set/a"]`)}},
		}, FoundService{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseReport([]byte(test.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, test.want); diff != "" {
				t.Errorf("ParseReport (-got +want):\n%s", diff)
			}
			if diff := cmp.Diff(FoundFrom(got), test.found); diff != "" {
				t.Errorf("FoundFrom (-got +want):\n%s", diff)
			}
			checkReportRoundTrip(t, got)
		})
	}
}

// checkReportRoundTrip holds that a report that is written says the same.
func checkReportRoundTrip(t *testing.T, r Report) {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var again Report
	if len(b) > MaxPayload {
		return // escaping may make it longer
	}
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatalf("Unmarshal(%s): %v", b, err)
	}
	again.Extra, r.Extra = nil, nil // TestParseRequest has them
	if diff := cmp.Diff(again, r); diff != "" {
		t.Errorf("%s reads back otherwise (-got +want):\n%s", b, diff)
	}
}

func TestParseReportRefuses(t *testing.T) {
	t.Parallel()
	with := func(name, raw string) string {
		return strings.TrimSuffix(originalReport, "}") + `,"` + name + `":` + raw + `}`
	}
	for name, test := range map[string]struct{ in, code string }{
		"nothing":             {"", CodeBadPayload},
		"a request":           {original, CodeBadPayload},
		"no hostname":         {with("hostname", `""`), CodeBadPayload},
		"no function":         {with("function", `""`), CodeBadPayload},
		"function is a list":  {with("function", `["gpio"]`), CodeWrongType},
		"service is a number": {with("service", `1`), CodeWrongType},
		"inputs is a number":  {with("inputs", `1`), CodeWrongType},
		"control is a map":    {with("control", `{}`), CodeWrongType},
		"hostname escapes":    {with("hostname", `"\u001b[2J"`), CodeBadPayload},
		"function newline":    {with("function", `"a\nb"`), CodeBadPayload},
		"control, C1":         {with("control", `"a\u009bb"`), CodeBadPayload},
		"bidirectional":       {with("ipaddr", `"a\u202eb"`), CodeBadPayload},
		"extaddr tab":         {with("extaddr", `"\t"`), CodeBadPayload},
		"long function":       {with("function", quoted(strings.Repeat("f", MaxTopic+1))), CodeTooLarge},
		"65,537 bytes":        {with("x", quoted(strings.Repeat("x", MaxPayload))), CodeTooLarge},
		"deep":                {with("x", strings.Repeat("[", MaxDepth)+strings.Repeat("]", MaxDepth)), CodeBadPayload},
		"invalid UTF-8":       {with("x", "\"\xff\""), CodeBadPayload},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseReport([]byte(test.in))
			if err == nil {
				t.Fatalf("ParseReport(%.200q) = %+v, want an error", test.in, got)
			}
			checkError(t, err, test.code)
		})
	}
}

// TestReportsReadBack holds that whatever a service of ours answers can be collected, however many points it has.
func TestReportsReadBack(t *testing.T) {
	t.Parallel()
	s := Service{Name: "hostsensor", Function: "hostsensor"}
	for i := range 500 {
		s.Points = append(s.Points, Point{Path: fmt.Sprintf("disk/a-rather-long-name-of-a-mount-%03d/used", i), Type: Float, Access: Get | Set})
	}
	s = s.On("pizero2")
	for _, cmd := range Commands {
		r := Request{Cmd: cmd, ReplyTo: "pibot01", Topic: "/stat/data", ID: "1", Monitor: Monitor{Hostname: "pizero2", IPAddr: "192.168.1.50"}}
		report := ReportFor(r, s)
		if cmd == "getapps" {
			report = AppsFor(r, []string{"gpio", "hostsensor"})
		}
		b, err := json.Marshal(report)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseReport(b)
		if cmd == "getinterfaces" && len(b) > MaxPayload {
			continue // 500 points are more than one message of this question can hold
		}
		if err != nil {
			t.Errorf("%s: ParseReport of %d bytes = %v", cmd, len(b), err)
			continue
		}
		if cmd != "getapps" && got.Service != "hostsensor" {
			t.Errorf("%s: service = %q", cmd, got.Service)
		}
	}
}

func TestFoundJSON(t *testing.T) {
	t.Parallel()
	f := Found{ID: "00112233445566ff", Hostname: "pizero2", IPAddr: "192.168.1.50", Via: []string{"udp"}, Services: []FoundService{{Name: "gpio", Function: "gpio", Status: Online, Points: 4}}}
	sameJSON(t, f, `{"id":"00112233445566ff","hostname":"pizero2","ipaddr":"192.168.1.50","extaddr":"","via":["udp"],
		"services":[{"name":"gpio","function":"gpio","inputs":"","outputs":"","control":"","status":"online","points":4}]}`)
}
