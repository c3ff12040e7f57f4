package lease

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"rollcall/internal/table"
	"rollcall/reports/janitoo/wire"
)

// childTable names the variable that makes the test binary a server of leases with the table that it holds.
const childTable = "LEASE_TEST_TABLE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childTable); path != "" {
		os.Exit(runChild(path))
	}
	goleak.VerifyTestMain(m)
}

var noon = time.Unix(1_800_000_000, 0)

// memory is a store that can fail.
type memory struct {
	all  map[string][]byte
	fail error
}

func (m *memory) Put(changes map[string][]byte) error {
	if m.fail != nil {
		return m.fail
	}
	for k, v := range changes {
		if v == nil {
			delete(m.all, k)
		} else {
			m.all[k] = v
		}
	}
	return nil
}

// bed is a server with its store.
type bed struct {
	t     *testing.T
	store *memory
	s     *Server
	now   time.Time
	rep   int
}

func newBed(t *testing.T, nodes func(int) []wire.Node) *bed {
	b := &bed{t: t, store: &memory{all: map[string][]byte{}}, now: noon}
	var err error
	if b.s, err = New(b.store, nil, nodes); err != nil {
		t.Fatal(err)
	}
	return b
}

// ask sends a request and returns the answer without its rep_uuid.
func (b *bed) ask(end, payload string) map[string]any {
	b.t.Helper()
	b.rep++
	rep := fmt.Sprint("rep", b.rep)
	out := b.s.Heard(b.now, "/dhcp/"+end, []byte(strings.Replace(payload, "{", `{"rep_uuid":"`+rep+`",`, 1)))
	if len(out) != 1 || out[0].Topic != "/reply/"+rep {
		b.t.Fatalf("%s %s is answered with %q", end, payload, out)
	}
	var a map[string]any
	if err := json.Unmarshal(out[0].Payload, &a); err != nil || a["rep_uuid"] != rep {
		b.t.Fatalf("answer %s: %v", out[0].Payload, err)
	}
	delete(a, "rep_uuid")
	return a
}

// row is an answer in one line.
func row(a map[string]any) string {
	if a["msg_error"] != nil {
		return fmt.Sprintf("%v %v", a["msg_status"], a["msg_error"])
	}
	return fmt.Sprintf("%v %v/%v %v %v %v %v", a["msg_status"], a["add_ctrl"], a["add_node"], a["name"], a["location"], a["cmd_classes"], a["state"])
}

const (
	web   = `{"add_ctrl":-1,"add_node":-1,"options":{"name":"web","location":"attic","cmd_classes":[4176,4144],"colour":"red"}}`
	plain = `{"add_ctrl":-1,"add_node":-1,"options":{"name":"plain","location":""}}`
)

// Requests and their answers, in order.
func TestServer(t *testing.T) {
	t.Parallel()
	b := newBed(t, nil)
	for _, tt := range []struct{ end, payload, want string }{
		{"lease/new", web, "200 10/0 web attic [4176 4144] BOOT"},
		{"lease/new", plain, "200 11/0 plain  [] BOOT"},
		{"lease/new", `{"add_ctrl":10,"add_node":-1,"options":{"name":"led","location":"cellar","cmd_classes":[37]}}`, "200 10/1 led cellar [37] BOOT"},
		{"lease/new", `{"add_ctrl":"0010","add_node":"-1","options":{"name":"led","location":"cellar","cmd_classes":"0x25"}}`, "200 10/2 led cellar [37] BOOT"},
		{"lease/new", `{"add_ctrl":-1,"options":{"name":"x"}}`, "400 options lack name or location"},
		{"lease/new", `{"options":{"name":"x","location":"y"}}`, "400 add_ctrl is missing: the controller, or -1 for a new one"},
		{"lease/new", `{"add_ctrl":10000,"options":{"name":"x","location":"y"}}`, "400 add_ctrl \"10000\" is no number from 0 to 9999, or -1"},
		{"lease/new", `{"add_ctrl":-1,"options":{"name":"x","location":"y","cmd_classes":"many"}}`, `400 cmd_classes "\"many\"" are no list of numbers`},
		{"lease/new", `{"add_ctrl":-1,"options":7}`, "400 options are no JSON object"},
		{"lease/new", `{"add_ctrl":-1,"options":{"name":"x","location":"` + strings.Repeat("y", 300) + `"}}`, "400 name or location has more than 256 bytes"},
		{"lease/new", `{"add_ctrl":-1,"options":{"name":"x","location":"y","z":"` + strings.Repeat("y", 5000) + `"}}`, "400 options have 5003 bytes, at most 4096 are kept"},
		{"lease/repair", `{"add_ctrl":300,"add_node":4,"options":{"name":"old","location":"shed","cmd_classes":[48]}}`, "200 300/4 old shed [48] BOOT"},
		{"lease/repair", `{"add_ctrl":-1,"add_node":4,"options":{"name":"old","location":"shed"}}`, "400 add_ctrl and add_node must be the address"},
		{"lease/repair", `{"add_ctrl":300,"add_node":4,"options":{"name":"old"}}`, "400 options lack name or location"},
		{"lease/new", plain, "200 301/0 plain  [] BOOT"}, // after the highest
		{"lease/release", `{"add_ctrl":10,"add_node":1}`, "200 10/1 led cellar [37] OFFLINE"},
		{"resolv/hadd", `{"add_ctrl":10,"add_node":1}`, "200 10/1 led cellar [37] OFFLINE"},
		{"lease/lock", `{"add_ctrl":10,"add_node":1}`, "200 10/1 led cellar [37] BOOT"},
		{"lease/lock", `{"add_ctrl":10,"add_node":7}`, "400 nobody has 0010/0007"},
		{"lease/release", `{"add_ctrl":10,"add_node":-1}`, "200 10/-1 web attic [4176 4144] OFFLINE"},
		{"resolv/hadd", `{"add_ctrl":10,"add_node":2}`, "200 10/2 led cellar [37] OFFLINE"},
		{"lease/release", `{"add_ctrl":77,"add_node":-1}`, "400 nobody has an address of controller 0077"},
		{"lease/remove", `{"add_ctrl":10,"add_node":1}`, "200 10/1 led cellar [37] OFFLINE"},
		{"lease/remove", `{"add_ctrl":10,"add_node":1}`, "400 nobody has 0010/0001"},
		{"resolv/hadd", `{"add_ctrl":10}`, "400 add_ctrl and add_node must be the address"},
		{"resolv/name", `{"name":"old"}`, "200 300/4 old shed [48] BOOT"},
		{"resolv/name", `{"options":{"name":"nobody"}}`, `400 nobody is called "nobody"`},
		{"resolv/name", `{"add_ctrl":1}`, "400 name is missing"},
		{"resolv/cmd_classes", `{"add_ctrl":1}`, "400 cmd_classes are missing: a number, or a list of them"},
		{"lease/steal", `{"add_ctrl":1}`, `400 "/dhcp/lease/steal" is no request about leases`},
		{"lease/remove", `{"add_ctrl":10,"add_node":-1}`, "200 10/-1 web attic [4176 4144] OFFLINE"},
	} {
		if got := row(b.ask(tt.end, tt.payload)); got != tt.want {
			t.Errorf("%s %.80s: %s, want %s", tt.end, tt.payload, got, tt.want)
		}
	}
	// What is stored is what there is.
	again, err := New(b.store, b.store.all, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(again.Leases(), b.s.Leases()); diff != "" || len(again.Leases()) != 3 {
		t.Errorf("leases after a restart (-got +want):\n%s", diff)
	}
}

// Who implements a command class, which Janitoo never finished: among the leases and among the nodes of the network.
func TestResolvCmdClasses(t *testing.T) {
	t.Parallel()
	b := newBed(t, func(class int) []wire.Node {
		if class == wire.CmdWebController {
			return []wire.Node{{UUID: "http", Hadd: "0555/0000", Capabilities: []int{}, CmdClasses: []int{4144}, Heartbeat: "30", ConfigTimeout: "3", State: wire.Online}}
		}
		return nil
	})
	b.ask("lease/new", web)
	b.ask("lease/new", plain)
	for payload, want := range map[string]string{
		`{"cmd_classes":[4144]}`:             "200 web http",
		`{"cmd_classes":4144}`:               "200 web http",
		`{"options":{"cmd_classes":"4144"}}`: "200 web http",
		`{"cmd_classes":[37,4144,4176]}`:     "200 web http",
		`{"cmd_classes":[37]}`:               "200",
	} {
		a := b.ask("resolv/cmd_classes", payload)
		got := []string{fmt.Sprint(a["msg_status"])}
		for list, key := range map[string]string{"leases": "name"} {
			for _, x := range a[list].([]any) {
				got = append(got, x.(map[string]any)[key].(string))
			}
		}
		for _, x := range a["nodes"].([]any) {
			got = append(got, x.(map[string]any)["uuid"].(string))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", payload, got, want)
		}
	}
}

// Two with a name are both found.
func TestResolvName(t *testing.T) {
	t.Parallel()
	b := newBed(t, nil)
	b.ask("lease/new", plain)
	b.ask("lease/new", plain)
	a := b.ask("resolv/name", `{"name":"plain"}`)
	if got := len(a["leases"].([]any)); got != 2 || a["add_ctrl"] != 10.0 {
		t.Errorf("answer %v", a)
	}
}

// An address that somebody has by hand is not given away, and a host that comes again has its own.
func TestNew(t *testing.T) {
	t.Parallel()
	b := newBed(t, nil)
	for _, hadd := range []wire.Hadd{"0010/0000", "0011/0003", "0012/0001"} {
		if out := b.s.Heard(noon, wire.HeartbeatTopic(hadd), []byte("ONLINE")); out != nil {
			t.Errorf("a heartbeat is answered: %q", out)
		}
	}
	b.s.Heard(noon, wire.HeartbeatAll, []byte(`{"add_ctrl":13,"add_node":0,"state":"ONLINE"}`)) // of others
	const mine = `{"add_ctrl":-1,"options":{"name":"a","location":"b","uuid":"host-1"}}`
	if got := row(b.ask("lease/new", mine)); got != "200 13/0 a b [] BOOT" {
		t.Errorf("first: %s", got)
	}
	if got := row(b.ask("lease/new", mine)); got != "200 13/0 a b [] BOOT" {
		t.Errorf("the same host: %s", got)
	}
	if got := row(b.ask("lease/new", `{"add_ctrl":11,"options":{"name":"n","location":"b","uuid":"host-1"}}`)); got != "200 11/1 n b [] BOOT" {
		t.Errorf("its node: %s", got)
	}
	b.ask("lease/new", `{"add_ctrl":11,"options":{"name":"n","location":"b"}}`)
	if got := row(b.ask("lease/new", `{"add_ctrl":11,"options":{"name":"n","location":"b"}}`)); got != "200 11/4 n b [] BOOT" {
		t.Errorf("a node beside one that is there by hand: %s", got)
	}
	// Nothing on the wire is acknowledged: the same request, sent twice, gets one lease.
	first := b.s.Heard(noon, "/dhcp/lease/new", []byte(`{"rep_uuid":"r","add_ctrl":-1,"options":{"name":"x","location":"y"}}`))
	second := b.s.Heard(noon.Add(time.Second), "/dhcp/lease/new", []byte(`{"rep_uuid":"r","add_ctrl":-1,"options":{"name":"x","location":"y"}}`))
	third := b.s.Heard(noon.Add(time.Hour), "/dhcp/lease/new", []byte(`{"rep_uuid":"r","add_ctrl":-1,"options":{"name":"x","location":"y"}}`))
	if diff := cmp.Diff(first, second); diff != "" || cmp.Equal(first, third) {
		t.Errorf("answers %s, %s, %s", first, second, third)
	}
}

// Heartbeats are seen in the lease.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	b := newBed(t, nil)
	b.ask("lease/new", web)
	b.s.Heard(noon.Add(time.Minute), "/dhcp/heartbeat/0010/0000", []byte("ONLINE"))
	b.s.Heard(noon.Add(2*time.Minute), wire.HeartbeatAll, []byte(`{"add_ctrl":10,"add_node":0,"state":"PENDING"}`))
	a := b.ask("resolv/hadd", `{"add_ctrl":10,"add_node":0}`)
	if a["state"] != "PENDING" || a["last_seen"] != float64(noon.Unix()+60) {
		t.Errorf("answer %v", a)
	}
	if want := map[string]any{"colour": "red"}; !cmp.Equal(a["params"], want) {
		t.Errorf("params %v, want %v", a["params"], want)
	}
}

// When all addresses are gone, or the store fails, nothing is given away, and the answer says why.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	b := newBed(t, nil)
	for n := 1; n <= wire.MaxNumber; n++ {
		b.s.heard[wire.NewHadd(500, n)] = true
	}
	if got := row(b.ask("lease/new", `{"add_ctrl":500,"options":{"name":"n","location":"b"}}`)); got != "400 controller 0500 has no free address" {
		t.Error(got)
	}
	b.ask("lease/repair", `{"add_ctrl":9999,"add_node":0,"options":{"name":"last","location":""}}`)
	if got := row(b.ask("lease/new", plain)); got != "200 10/0 plain  [] BOOT" {
		t.Errorf("with 9999 taken: %s", got)
	}
	for n := firstCtrl; n <= wire.MaxNumber; n++ {
		b.s.heard[wire.NewHadd(n, 0)] = true
	}
	if got := row(b.ask("lease/new", plain)); got != "400 no controller's address is free" {
		t.Error(got)
	}
	b.store.fail = errors.New("disk is full")
	before := b.s.Leases()
	for _, end := range []string{"lease/repair", "lease/lock", "lease/release", "lease/remove"} {
		if got := row(b.ask(end, `{"add_ctrl":10,"add_node":0,"options":{"name":"changed","location":"b"}}`)); !strings.HasPrefix(got, "400 lease is not ") || !strings.HasSuffix(got, "disk is full") {
			t.Errorf("%s: %s", end, got)
		}
	}
	if diff := cmp.Diff(b.s.Leases(), before); diff != "" {
		t.Errorf("leases have changed though nothing was stored:\n%s", diff)
	}
}

// Silence for what says nowhere to answer, or a place that is none.
func TestSilence(t *testing.T) {
	t.Parallel()
	b := newBed(t, nil)
	for _, payload := range []string{``, `{}`, `[]`, `{"rep_uuid":""}`, `{"rep_uuid":"a/b"}`, `{"rep_uuid":"+"}`, `{"rep_uuid":"#"}`, `{"rep_uuid":7}`, `{"rep_uuid":"` + strings.Repeat("x", 200) + `"}`} {
		if out := b.s.Heard(noon, "/dhcp/lease/new", []byte(payload)); out != nil {
			t.Errorf("%s is answered with %q", payload, out)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for key, value := range map[string]string{"0010/0000": `{"add_ctrl":11,"add_node":0}`, "x": `{}`, "0010/0001": `{"add_ctrl":10`, "0000/0000": `{"add_ctrl":-1}`} {
		if err := Check(key, []byte(value)); err == nil {
			t.Errorf("Check(%s, %s) finds nothing", key, value)
		}
		if _, err := New(&memory{}, map[string][]byte{key: []byte(value)}, nil); err == nil {
			t.Errorf("New takes %s, %s", key, value)
		}
	}
}

// FuzzHeard sends what anybody may send.
func FuzzHeard(f *testing.F) {
	for _, end := range []string{"lease/new", "lease/repair", "lease/lock", "lease/release", "lease/remove", "resolv/hadd", "resolv/name", "resolv/cmd_classes", "heartbeat/0010/0000", "heartbeat/"} {
		for _, payload := range []string{web, plain, `{"rep_uuid":"r","add_ctrl":"-1","add_node":null,"options":{"name":null,"cmd_classes":[1e3]}}`, "ONLINE", `{"rep_uuid":"r","cmd_classes":{}}`,
			`{"rep_uuid":"r","name":"plain","add_ctrl":10,"add_node":-1}`} {
			f.Add(end, []byte(payload))
		}
	}
	f.Fuzz(func(t *testing.T, end string, payload []byte) {
		b := newBed(t, nil)
		b.ask("lease/new", plain)
		for _, m := range b.s.Heard(noon, "/dhcp/"+end, payload) {
			var a map[string]any
			if err := json.Unmarshal(m.Payload, &a); err != nil || strings.ContainsAny(m.Topic, "+#") || strings.Count(m.Topic, "/") != 2 {
				t.Errorf("%s %s: %v", m.Topic, m.Payload, err)
			}
			if s := a["msg_status"]; s != 200.0 && (s != 400.0 || a["msg_error"] == "") {
				t.Errorf("answer %s", m.Payload)
			}
		}
		for key, value := range b.store.all {
			if err := Check(key, value); err != nil {
				t.Error(err)
			}
		}
	})
}

// runChild answers requests from its standard input, a line each: an answer is the line "state answered".
func runChild(path string) int {
	tab, stored, err := table.Open(path, "leases", Check, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	s, err := New(tab, stored, nil)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		topic, payload, _ := strings.Cut(in.Text(), " ")
		for _, m := range s.Heard(time.Now(), topic, []byte(payload)) {
			fmt.Printf("%s\n", m.Payload)
		}
	}
	return 0
}

// A server that is killed at any moment has every lease that it has answered for, no address twice, and begins anew with them.
func TestKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "leases.db")
	given := map[string]string{} // address to name
	serial := 0
	for round := range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childTable+"="+path)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewScanner(out)
		for range 3 + round {
			serial++
			name := fmt.Sprint("n", serial)
			fmt.Fprintf(in, `/dhcp/lease/new {"rep_uuid":"r%d","add_ctrl":-1,"options":{"name":"%s","location":""}}`+"\n", serial, name)
			if !answers.Scan() {
				t.Fatal("no answer")
			}
			var a struct {
				Status int    `json:"msg_status"`
				Ctrl   int    `json:"add_ctrl"`
				Error  string `json:"msg_error"`
			}
			if err := json.Unmarshal(answers.Bytes(), &a); err != nil || a.Status != 200 {
				t.Fatalf("%s: %v", answers.Bytes(), err)
			}
			hadd := string(wire.NewHadd(a.Ctrl, 0))
			if other, twice := given[hadd]; twice {
				t.Errorf("%s is given to %s and to %s", hadd, other, name)
			}
			given[hadd] = name
		}
		// In the middle of the next ones, of which nothing is known, it is killed.
		for range 5 {
			serial++
			fmt.Fprintf(in, `/dhcp/lease/new {"rep_uuid":"r%d","add_ctrl":-1,"options":{"name":"lost","location":""}}`+"\n", serial)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		given = known(t, path, given)
	}
}

// known checks that what was given is there, and returns all that is.
func known(t *testing.T, path string, given map[string]string) map[string]string {
	t.Helper()
	tab, stored, err := table.Open(path, "leases", Check, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tab.Close(); err != nil {
			t.Error(err)
		}
	}()
	s, err := New(tab, stored, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, l := range s.Leases() {
		all[string(l.Hadd())] = l.Name
	}
	for _, hadd := range slices.Sorted(maps.Keys(given)) {
		if all[hadd] != given[hadd] {
			t.Errorf("%s was given to %s, and is now %q's", hadd, given[hadd], all[hadd])
		}
	}
	return all
}
