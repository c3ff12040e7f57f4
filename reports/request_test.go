package reports

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// original is the request of the original programs, as PROTOCOL.md §1 has it.
const original = `{"cmd":"status","replyto":"pibot01","topic":"/stat/data","id":1241}`

// withField returns the original's request with one field set to raw JSON.
func withField(name, raw string) string {
	return strings.TrimSuffix(original, "}") + `,` + quoted(name) + `:` + raw + `}`
}

func quoted(s string) string {
	b, _ := json.Marshal(s) // a string can be marshalled
	return string(b)
}

func TestParseRequest(t *testing.T) {
	t.Parallel()
	base := func(change func(*Request)) Request {
		r := Request{Cmd: "status", ReplyTo: "pibot01", Topic: "/stat/data", ID: "1241", Extra: map[string]json.RawMessage{}}
		change(&r)
		return r
	}
	for name, test := range map[string]struct {
		in   string
		want Request
	}{
		"original":    {original, base(func(*Request) {})},
		"white space": {" \r\n\t" + strings.ReplaceAll(original, ",", " ,\n ") + "\n", base(func(*Request) {})},
		"seq":         {withField("seq", "7"), base(func(r *Request) { r.Seq = "7" })},
		"text id":     {withField("id", `"sweep-1"`), base(func(r *Request) { r.ID = `"sweep-1"` })},
		"negative id": {withField("id", "-1.5e3"), base(func(r *Request) { r.ID = "-1.5e3" })},
		"null id":     {withField("id", "null"), base(func(r *Request) { r.ID = "" })},
		"id with <":   {withField("id", `"a<b"`), base(func(r *Request) { r.ID = `"a\u003cb"` })},
		"of a monitor": {`{"cmd":"getapps","replyto":"mqtt://pibot01:1884","topic":"x","hostname":"pizero2","ipaddr":"192.168.1.50","extaddr":"1.2.3.4","pass":"p"}`,
			Request{Cmd: "getapps", ReplyTo: "mqtt://pibot01:1884", Topic: "x", Extra: map[string]json.RawMessage{},
				Monitor: Monitor{Hostname: "pizero2", IPAddr: "192.168.1.50", ExtAddr: "1.2.3.4", Pass: "p"}}},
		"unknown fields": {withField("later", `{"a":[1,2.50,"<&>"]}`),
			base(func(r *Request) { r.Extra["later"] = json.RawMessage(`{"a":[1,2.50,"<&>"]}`) })},
		"another case":       {withField("ReplyTo", `"evil"`), base(func(r *Request) { r.Extra["ReplyTo"] = json.RawMessage(`"evil"`) })},
		"other cases of all": {withField("CMD", `5`), base(func(r *Request) { r.Extra["CMD"] = json.RawMessage(`5`) })},
		"key with escapes":   {withField("x", `1`)[:len(original)-1] + `,"\u0072eplyto":"pibot02"}`, base(func(r *Request) { r.ReplyTo = "pibot02" })},
		"last of two":        {withField("replyto", `"pibot02"`), base(func(r *Request) { r.ReplyTo = "pibot02" })},
		"no replyto":         {`{"cmd":"status","topic":"a"}`, Request{Cmd: "status", Topic: "a", Extra: map[string]json.RawMessage{}}},
		"lone surrogate":     {withField("replyto", `"\ud800"`), base(func(r *Request) { r.ReplyTo = "\ufffd" })},
		"as deep as may be": {withField("x", strings.Repeat("[", MaxDepth-1)+strings.Repeat("]", MaxDepth-1)), base(func(r *Request) {
			r.Extra["x"] = json.RawMessage(strings.Repeat("[", MaxDepth-1) + strings.Repeat("]", MaxDepth-1))
		})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseRequest([]byte(test.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, test.want); diff != "" {
				t.Errorf("ParseRequest(%s) (-got +want):\n%s", test.in, diff)
			}
			checkRequestRoundTrip(t, got)
		})
	}
}

// checkRequestRoundTrip holds that a request is read again as it was, with its unknown fields meaning the same.
func checkRequestRoundTrip(t *testing.T, r Request) {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatalf("Marshal(%+v): %v", r, err)
	}
	var again Request
	if len(b) > MaxRequest {
		return // escaping may make it longer
	}
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatalf("Unmarshal(%s): %v", b, err)
	}
	meaning := func(m map[string]json.RawMessage) any {
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		v, err := decodeNumber(raw)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if got, want := meaning(again.Extra), meaning(r.Extra); !reflect.DeepEqual(got, want) {
		t.Errorf("unknown fields read back as %v, want %v", got, want)
	}
	again.Extra = r.Extra
	if diff := cmp.Diff(again, r); diff != "" {
		t.Errorf("%s reads back otherwise (-got +want):\n%s", b, diff)
	}
}

func TestParseRequestRefuses(t *testing.T) {
	t.Parallel()
	large := func(n int) string { // a legal request but for its n bytes
		return withField("x", `"`+strings.Repeat("x", n-len(withField("x", `""`)))+`"`)
	}
	for name, test := range map[string]struct{ in, code string }{
		"0 bytes":             {"", CodeBadPayload},
		"1 byte":              {"{", CodeBadPayload},
		"1 byte of nothing":   {"\x00", CodeBadPayload},
		"1,500 bytes of junk": {strings.Repeat("\x7f", 1500), CodeBadPayload},
		"1,500 brackets":      {strings.Repeat("[", 1500), CodeBadPayload},
		"too long":            {large(MaxEnriched + 1), CodeTooLarge},
		"65,507 bytes":        {large(65507), CodeTooLarge},
		"10,000 deep":         {strings.Repeat(`{"a":`, 10000) + "1" + strings.Repeat("}", 10000), CodeTooLarge},
		"33 deep":             {withField("x", strings.Repeat("[", MaxDepth)+strings.Repeat("]", MaxDepth)), CodeBadPayload},
		"800 deep":            {withField("x", strings.Repeat("[", 800)+strings.Repeat("]", 800)), CodeBadPayload},
		"not JSON":            {"status", CodeBadPayload},
		"sealed":              {"RCL1" + strings.Repeat("\x01", 60), CodeBadPayload},
		"two values":          {original + original, CodeBadPayload},
		"trailing comma":      {strings.TrimSuffix(original, "}") + ",}", CodeBadPayload},
		"single quotes":       {strings.ReplaceAll(original, `"`, `'`), CodeBadPayload},
		"byte order mark":     {"\ufeff" + original, CodeBadPayload},
		"null":                {"null", CodeBadPayload},
		"a number":            {"1241", CodeBadPayload},
		"a text":              {`"status"`, CodeBadPayload},
		"a list":              {"[" + original + "]", CodeBadPayload},
		"invalid UTF-8":       {withField("x", "\"\xff\""), CodeBadPayload},
		"overlong UTF-8":      {withField("x", "\"\xc0\x80\""), CodeBadPayload},
		"no cmd":              {`{"topic":"a"}`, CodeUnsupported},
		"unknown cmd":         {withField("cmd", `"reboot"`), CodeUnsupported},
		"cmd in capitals":     {withField("cmd", `"STATUS"`), CodeUnsupported},
		"cmd is a number":     {withField("cmd", `5`), CodeWrongType},
		"cmd is null":         {withField("cmd", `null`), CodeWrongType},
		"replyto is a list":   {withField("replyto", `["pibot01"]`), CodeWrongType},
		"replyto is a map":    {withField("replyto", `{"host":"pibot01"}`), CodeWrongType},
		"replyto is true":     {withField("replyto", `true`), CodeWrongType},
		"long replyto":        {withField("replyto", quoted(strings.Repeat("a", MaxTopic+1))), CodeTooLarge},
		"hostname number":     {withField("hostname", `1`), CodeWrongType},
		"ipaddr number":       {withField("ipaddr", `1`), CodeWrongType},
		"extaddr null":        {withField("extaddr", `null`), CodeWrongType},
		"pass number":         {withField("pass", `1`), CodeWrongType},
		"id is a list":        {withField("id", `[1]`), CodeWrongType},
		"id is a map":         {withField("id", `{}`), CodeWrongType},
		"id is true":          {withField("id", `true`), CodeWrongType},
		"id is long":          {withField("id", strings.Repeat("1", MaxID+1)), CodeWrongType},
		"seq is true":         {withField("seq", `false`), CodeWrongType},
		"topic is a number":   {withField("topic", `1`), CodeWrongType},
		"no topic":            {`{"cmd":"status"}`, CodeBadTopic},
		"topic empty":         {withField("topic", `""`), CodeBadTopic},
		"topic of slashes":    {withField("topic", `"//"`), CodeBadTopic},
		"topic with #":        {withField("topic", `"/stat/#"`), CodeBadTopic},
		"topic with +":        {withField("topic", `"/stat/+/x"`), CodeBadTopic},
		"topic with NUL":      {withField("topic", `"/stat/\u0000"`), CodeBadTopic},
		"topic with newline":  {withField("topic", `"/stat/\n"`), CodeBadTopic},
		"topic of 257 bytes":  {withField("topic", quoted(strings.Repeat("a", MaxTopic+1))), CodeBadTopic},
		"topic of 70,000":     {withField("topic", quoted(strings.Repeat("a", 70000))), CodeTooLarge},
		"topic $SYS/x":        {withField("topic", `"$SYS/x"`), CodeBadTopic},
		"topic /$SYS/x":       {withField("topic", `"/$SYS/x"`), CodeBadTopic},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseRequest([]byte(test.in))
			if err == nil {
				t.Fatalf("ParseRequest(%.100q) = %+v, want an error", test.in, got)
			}
			checkError(t, err, test.code)
		})
	}
}

// checkError reports an error that has not the code or that could not stand in one line of a log.
func checkError(t *testing.T, err error, code string) {
	t.Helper()
	if got := CodeOf(err); got != code {
		t.Errorf("%v has code %s, want %s", err, got, code)
	}
	if s := err.Error(); len(s) > 700 || strings.ContainsAny(s, "\n\r\x00\x1b") {
		t.Errorf("error is not one short line: %q", s)
	}
}

func TestParseRequestAtTheLimit(t *testing.T) {
	t.Parallel()
	in := withField("x", `"`+strings.Repeat("x", MaxEnriched-len(withField("x", `""`)))+`"`)
	if _, err := ParseRequest([]byte(in)); len(in) != MaxEnriched || err != nil {
		t.Errorf("ParseRequest of %d bytes = %v, want it read", len(in), err)
	}
}

// What a monitor republishes of the longest datagram is still read, whatever JSON escapes in it.
func TestParseRequestOfAMonitor(t *testing.T) {
	t.Parallel()
	for _, char := range []string{"x", "<", "\u2028"} {
		n := (MaxRequest - len(withField("x", `""`))) / len(char)
		r, err := ParseRequest([]byte(withField("x", quoted(strings.Repeat(char, n)))))
		if err != nil {
			t.Fatal(err)
		}
		r.Monitor = Monitor{Hostname: strings.Repeat("h", MaxName), IPAddr: "fe80::1111:2222:3333:4444%wlan0-long-name",
			ExtAddr: "2001:db8:1111:2222:3333:4444:5555:6666", Pass: strings.Repeat("p", 100)}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseRequest(b)
		if err != nil || len(b) <= MaxRequest || again.Monitor != r.Monitor {
			t.Errorf("%q: ParseRequest of the %d bytes that a monitor makes of %d = %v", char, len(b), MaxRequest, err)
		}
	}
}

func TestRequestUnmarshalRefuses(t *testing.T) {
	t.Parallel()
	r := Request{Cmd: "status"}
	if err := json.Unmarshal([]byte(`{"cmd":"reboot"}`), &r); err == nil || r.Cmd != "status" {
		t.Errorf("Unmarshal = %v, %+v, want an error and the value as it was", err, r)
	}
}

// gpioService is what the reports of the tests are about.
func gpioService() Service {
	return Service{Name: "gpio", Function: "gpio", Points: []Point{
		{Path: "output/pump", Type: Bool, Access: Get | Set},
		{Path: "input/door", Type: Bool, Access: Get},
		{Path: "input/bell", Type: Bool, Access: Event},
		{Path: "reset", Type: Bool, Access: Set},
	}}.On("pizero2")
}

func TestReportFor(t *testing.T) {
	t.Parallel()
	head := `"replyto":"pibot01","topic":"/stat/data","id":1241,"hostname":"pizero2","ipaddr":"192.168.1.50","later":[1],"service":"gpio"`
	for cmd, want := range map[string]string{
		"status":    `"function":"gpio","inputs":"/pizero2/gpio/set","outputs":"/pizero2/gpio","control":"/pizero2/gpio/control"`,
		"getstatus": `"function":"gpio","inputs":"/pizero2/gpio/set","outputs":"/pizero2/gpio","control":"/pizero2/gpio/control"`,
		"getinterfaces": `"interfaces":{"inputs":["/pizero2/gpio/set/output/pump","/pizero2/gpio/set/reset"],` +
			`"outputs":["/pizero2/gpio/output/pump","/pizero2/gpio/input/door","/pizero2/gpio/input/bell"],"control":"/pizero2/gpio/control"}`,
		"getinputs":    `"inputs":["/pizero2/gpio/set/output/pump","/pizero2/gpio/set/reset"]`,
		"getoutputs":   `"outputs":["/pizero2/gpio/output/pump","/pizero2/gpio/input/door","/pizero2/gpio/input/bell"]`,
		"getfunctions": `"functions":["gpio"]`,
		"getcontrols":  `"controls":["/pizero2/gpio/control"]`,
	} {
		t.Run(cmd, func(t *testing.T) {
			t.Parallel()
			r, err := ParseRequest([]byte(withField("later", "[1]")))
			if err != nil {
				t.Fatal(err)
			}
			r.Cmd, r.Monitor = cmd, Monitor{Hostname: "pizero2", IPAddr: "192.168.1.50", Pass: "secret"}
			sameJSON(t, ReportFor(r, gpioService()), `{"cmd":"`+cmd+`",`+head+`,`+want+`}`)
			if r.Extra["function"] != nil || r.Pass != "secret" {
				t.Errorf("ReportFor changed the request to %+v", r)
			}
		})
	}
	r := Request{Cmd: "status", Topic: "a", Extra: map[string]json.RawMessage{"simulated": json.RawMessage("true")}}
	for _, s := range []Service{{Name: "s", Simulated: true}, {Name: "s"}} { // what the request says of it does not count
		got := ReportFor(r, s)["simulated"]
		if (got == true) != s.Simulated || (got != nil) != s.Simulated {
			t.Errorf("the report of %+v has simulated: %v", s, got)
		}
	}
	r = Request{Cmd: "getinputs", Topic: "a"}
	sameJSON(t, ReportFor(r, Service{Name: "empty"}), `{"cmd":"getinputs","topic":"a","service":"empty","inputs":[]}`)
	r.Cmd, r.Monitor = "getapps", Monitor{Hostname: "pizero2", Pass: "secret"}
	sameJSON(t, AppsFor(r, []string{"gpio", "hostsensor"}), `{"cmd":"getapps","topic":"a","hostname":"pizero2","apps":["gpio","hostsensor"]}`)
}

// sameJSON compares what v becomes in JSON with the text.
func sameJSON(t *testing.T, v any, want string) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var g, w any
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("want is no JSON: %v", err)
	}
	if diff := cmp.Diff(g, w); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}
