package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports/janitoo/wire"
)

// janitooScreen returns the rows that one of Janitoo's own clients has printed: of a client of 2016 all lines, of a later one those after the
// title.
func janitooScreen(t *testing.T, name string) (head string, rows []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/janitoo", name+".stdout.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, " \n")
		switch {
		case strings.HasPrefix(line, "hadd "):
			head = line
		case head != "" && line != "" && !strings.HasPrefix(line, "[rc"):
			rows = append(rows, line)
		}
	}
	slices.Sort(rows)
	return head, rows
}

// printed splits what udpsrv has printed into head and rows.
func printed(out string) (head string, rows []string) {
	for line := range strings.Lines(out) {
		if line = strings.TrimRight(line, " \n"); head == "" {
			head = line
		} else {
			rows = append(rows, line)
		}
	}
	slices.Sort(rows)
	return head, rows
}

var allControllers = []string{"0021", "0120", "0121", "0225", "1118"}

// A client of 2016 has printed these tables of these servers; ours are the same to the byte, but in the order of the addresses.
func TestNetworkTableOf2016(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	replay(t, url, allControllers...)
	l := newLaptop(t)
	l.knows(url, allControllers...)
	out, _ := l.want(exitOK, "--broker", url, "network", "--vuuid", "request_info_systems", "--timeout", slow)
	head, rows := printed(out)
	wantHead, wantRows := janitooScreen(t, "old_network_systems")
	if head != wantHead {
		t.Errorf("head\n%s\nwant\n%s", head, wantHead)
	}
	for _, want := range wantRows {
		if !slices.Contains(rows, want) {
			t.Errorf("no row\n%s\nin\n%s", want, out)
		}
	}
	if len(rows) < len(wantRows) {
		t.Errorf("%d rows, want at least %d", len(rows), len(wantRows))
	}
}

// fieldsOf returns rows with single blanks.
func fieldsOf(rows []string) (out []string) {
	for _, r := range rows {
		out = append(out, strings.Join(strings.Fields(r), " "))
	}
	return out
}

func TestNetworkNodes(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	replay(t, url, allControllers...)
	l := newLaptop(t)
	l.knows(url, allControllers...)
	out, errs := l.want(exitOK, "--broker", url, "network", "--timeout", slow)
	head, rows := printed(out)
	wantHead, wantRows := janitooScreen(t, "network_nodes")
	for i, row := range wantRows { // its location was set in between
		if strings.HasPrefix(row, "0121/0000 ") {
			wantRows[i] = strings.Replace(row, "Docker     ", "My computer", 1)
		}
	}
	if head != wantHead || !slices.Equal(rows, wantRows) {
		t.Errorf("network printed\n%s\nwant rows\n%s", out, strings.Join(wantRows, "\n"))
	}
	if !strings.HasPrefix(errs, "5 controllers, 17 nodes in ") {
		t.Errorf("network says %q", errs)
	}
	out, _ = l.want(exitOK, "--broker", url, "network", "--cmdclass", "switch-binary", "--timeout", slow)
	if _, rows := printed(out); len(rows) != 1 || !strings.HasPrefix(rows[0], "0225/0004 ") {
		t.Errorf("network --cmdclass switch-binary printed\n%s", out)
	}
}

// Where it is known who is there, all requests end with the last answer; who has gone is told of, once.
func TestNetworkKnows(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	r := replay(t, url, "0121")
	other := replay(t, url, "1118")
	l := newLaptop(t)
	type document struct {
		Controllers, Missing []wire.Hadd
		Nodes                []wire.Node
		Values               map[string][]json.RawMessage
	}
	network := func(timeout string) (doc document, errs string) {
		t.Helper()
		out, errs, _ := l.run("--broker", url, "network", "--vuuid", "all", "--timeout", timeout, "--json")
		if err := json.Unmarshal([]byte(out), &doc); err != nil || len(doc.Values) != 5 {
			t.Fatalf("network --json printed %s: %v", out, err)
		}
		return doc, errs
	}
	both := []wire.Hadd{"0121/0000", "1118/0000"}
	l.knows(url, "0121", "1118")
	for range 2 { // what the first has learnt is what the second knows
		if doc, _ := network(slow); !slices.Equal(doc.Controllers, both) || len(doc.Nodes) != 7 || doc.Missing != nil {
			t.Errorf("network found %+v", doc)
		}
	}
	stranger := newLaptop(t)
	for deadline := time.Now().Add(patience); ; { // who knows nobody ends when nobody answers any more, which a busy machine may be late for
		out, _, _ := stranger.run("--broker", url, "network", "--json")
		if strings.Contains(out, `"controllers":["0121/0000","1118/0000"]`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a stranger's network found %s", out)
		}
	}
	asked := 0
	for range len(r.heard) {
		if request := <-r.heard; request.IsDiscovery() && request.ReplyHadd == "9999/9990" {
			asked++
		}
	}
	if asked < 12 { // six requests, twice
		t.Errorf("%d requests were heard, want 12", asked)
	}
	other.gone.Store(true)
	deadline := time.Now().Add(patience)
	for { // until the other is not late for the timeout as well
		l.knows(url, "0121", "1118")
		doc, errs := network("2")
		if slices.Equal(doc.Missing, []wire.Hadd{"1118/0000"}) && strings.Contains(errs, "1118/0000, which answered the last time, is missing") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("network found %+v and said %q", doc, errs)
		}
	}
	if doc, _ := network(slow); doc.Missing != nil {
		t.Errorf("network misses %v again", doc.Missing)
	}
}

func TestNodeTables(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	replay(t, url, allControllers...)
	l := newLaptop(t)
	for name, args := range map[string][]string{
		"node_default":     {"--hadd", "0225/0000"},
		"old_node_configs": {"--hadd", "0225/0001", "--vuuid", "request_info_configs"},
	} {
		out, _ := l.want(exitOK, append([]string{"--broker", url, "node", "--timeout", slow}, args...)...)
		head, rows := printed(out)
		wantHead, wantRows := janitooScreen(t, name)
		if head != wantHead {
			t.Errorf("%s: head\n%s\nwant\n%s", name, head, wantHead)
		}
		for _, want := range wantRows {
			if strings.Contains(want, "tutorial3_timer_delay") {
				continue // it was set in between
			}
			if !slices.Contains(rows, want) {
				t.Errorf("%s: no row\n%s\nin\n%s", name, want, out)
			}
		}
	}
	out, _ := l.want(exitOK, "--broker", url, "node", "--hadd", "0121/0001", "--vuuid", "all", "--timeout", slow)
	if got := strings.Count(out, "\n----------\nhadd "); got != 6 || !strings.HasPrefix(out, "request_info_nodes\n") {
		t.Errorf("node --vuuid all printed %d tables:\n%s", got, out)
	}
	if _, errs := l.want(exitOK, "--broker", url, "node", "--hadd", "1118/0001", "--vuuid", "request_info_commands", "--timeout", slow); !strings.HasPrefix(errs, "1 controller, 1 value in ") {
		t.Errorf("node with one value said %q", errs)
	}
	out, errs := l.want(exitFail, "--broker", url, "node", "--hadd", "7777/0000", "--timeout", "0.2")
	if out != "" || !strings.HasSuffix(errs, "udpsrv: no answer from 7777/0000 within 200ms\n") {
		t.Errorf("node of nobody printed %q and %q", out, errs)
	}
}

func TestNetworkOutputs(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	replay(t, url, "0121")
	l := newLaptop(t)
	l.knows(url, "0121")
	out, _ := l.want(exitOK, "--broker", url, "network", "--timeout", slow, "--output", "raw")
	if want := "/broadcast/reply/9999/9990 " + string(captured("0121", wire.InfoNodes)) + "\n"; out != want {
		t.Errorf("--output raw printed %s, want %s", out, want)
	}
	jsonOut, _ := l.want(exitOK, "--broker", url, "network", "--timeout", slow, "--output", "json")
	var doc struct{ Nodes []wire.Node }
	if err := json.Unmarshal([]byte(jsonOut), &doc); err != nil || len(doc.Nodes) != 5 || doc.Nodes[1].Hadd != "0121/0001" {
		t.Errorf("--output json printed %s, %v", jsonOut, err)
	}
	yamlOut, _ := l.want(exitOK, "--broker", url, "network", "--timeout", slow, "--yaml")
	if !strings.Contains(yamlOut, "hadd: \"0121/0001\"\n") {
		t.Errorf("--yaml printed %s", yamlOut)
	}
	_, errs := l.want(exitFail, "--broker", bustest.Start(t), "network", "--timeout", "0.2")
	if !strings.HasSuffix(errs, "udpsrv: no Janitoo controller answered\n") {
		t.Errorf("network without anybody said %q", errs)
	}
	if _, errs := l.want(exitFail, "network", "--host", "127.0.0.1", "--port", strings.TrimPrefix(freePort(t), "127.0.0.1:")); !strings.Contains(errs, "refused") {
		t.Errorf("network without a broker said %q", errs)
	}
}

// What strangers say stays on its line, and does not stop the others' answers.
func TestNetworkHostile(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	evil := bustest.Dial(t, url)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	bad := []string{
		`{"uuid":"request_info_nodes","data":{"x":{"hadd":"../../x"}}}`, `{"uuid":"request_info_nodes","data":5}`, `{"uuid":"request_info_nodes"}`, `"x"`, `[`, "\xff\x00",
		`{"uuid":"request_info_users","data":{}}`, strings.Repeat(`{"data":`, 200), `{"uuid":"request_info_nodes","data":{"hadd":{}}}`,
		`{"uuid":"request_info_nodes","data":{"x":{"hadd":"0666/0001","uuid":"\u001b[2J\nevil","name":"\u202e\u0007","location":7,"product_name":[],"product_type":{}}}}`,
	}
	if err := evil.Subscribe(ctx, 0, func(bus.Message) {
		for _, b := range bad {
			evil.Send(bus.Message{Topic: "/broadcast/reply/9999/9990", Payload: []byte(b)})
		}
	}, wire.BroadcastRequest); err != nil {
		t.Fatal(err)
	}
	replay(t, url, "0121")
	for _, output := range []string{"txt", "raw", "json"} {
		l := newLaptop(t)
		l.knows(url, "0121", "0666")
		out, errs := l.want(exitOK, "--broker", url, "network", "--timeout", slow, "--output", output)
		if strings.ContainsAny(out+errs, "\x1b\x07\u202e") || !strings.Contains(out, "0666/0001") || !strings.Contains(out, "hostsensor__load") {
			t.Errorf("network printed %q", out)
		}
		if !strings.Contains(errs, "not understood or too large, and left out") {
			t.Errorf("network said %q", errs)
		}
		if output == "txt" && strings.Count(out, "\n") != 7 {
			t.Errorf("network printed\n%s", out)
		}
	}
}

func TestJanitooUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"network x":                                        `network takes no argument, got "x" (see udpsrv network --help)`,
		"network --vuuid x":                                `--vuuid: "x" is none of request_info_nodes, request_info_systems, request_info_commands, request_info_configs, request_info_basics, request_info_users, all (see udpsrv network --help)`,
		"network --timeout 0":                              `invalid argument "0" for "--timeout" flag: 0 is not more than 0 and at most 5m0s (see udpsrv network --help)`,
		"network --timeout x":                              `invalid argument "x" for "--timeout" flag: "x" is no number of seconds (see udpsrv network --help)`,
		"network --timeout -1s":                            `--timeout: -1s is not more than 0 and at most 5m0s (see udpsrv network --help)`,
		"network --myhadd 1/1":                             `--myhadd: "1/1" is no address CCCC/NNNN (see udpsrv network --help)`,
		"network --output xml":                             `--output: "xml" is none of txt, raw, json (see udpsrv network --help)`,
		"network --output raw --json":                      `--output raw goes with neither --json nor --yaml (see udpsrv network --help)`,
		"network --json --yaml":                            `--json and --yaml: only one of them can be (see udpsrv network --help)`,
		"network --port 0":                                 `--port: 0 is not from 1 to 65535 (see udpsrv network --help)`,
		"network --host a..b":                              `--host: "a..b" is neither a name nor an address (see udpsrv network --help)`,
		"network --cmdclass nonsense":                      `--cmdclass: "nonsense" is no number from 0 to 65535, and no class that Janitoo has (see udpsrv network --help)`,
		"--broker h network --host h":                      `--broker names the broker: --host and --port do as well (see udpsrv network --help)`,
		"node":                                             `required flag(s) "hadd" not set (see udpsrv node --help)`,
		"node --hadd 121/1":                                `--hadd: "121/1" is no address CCCC/NNNN (see udpsrv node --help)`,
		"node --hadd=":                                     `--hadd: "" is no address CCCC/NNNN (see udpsrv node --help)`,
		"query":                                            `required flag(s) "hadd", "uuid" not set (see udpsrv query --help)`,
		"query --hadd 1 --uuid x":                          `--hadd: "1" is no address CCCC/NNNN (see udpsrv query --help)`,
		"query --hadd 0121/0001 --uuid a/b":                `--uuid: "a/b" is no name of a value (see udpsrv query --help)`,
		"query --hadd 0121/0001 --uuid #":                  `--uuid: "#" is no name of a value (see udpsrv query --help)`,
		"query --hadd 0121/0001 --uuid x --genre y":        `--genre: "y" is none of basic, user, config, system, command (see udpsrv query --help)`,
		"query --hadd 0121/0001 --uuid x --index -5":       `--index: -5 is no number of an instance (see udpsrv query --help)`,
		"query --hadd 0121/0001 --uuid x --writeonly True": `--writeonly needs --data (see udpsrv query --help)`,
		"query --hadd 0121/0001 --uuid x --readonly False": `--readonly and --writeonly are false: there is nothing to do (see udpsrv query --help)`,
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			stdout, stderr := newLaptop(t).want(exitUsage, strings.Fields(args)...)
			if stderr != "udpsrv: "+want+"\n" || stdout != "" {
				t.Errorf("got %q and on stdout %q, want %q", stderr, stdout, want)
			}
		})
	}
}

// The rows of all values are those that jnt_query has printed of the same servers: address, uuid, index and what follows the data.
func TestNetworkValues(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	replay(t, url, allControllers...)
	l := newLaptop(t)
	l.knows(url, allControllers...)
	for _, what := range []string{"users", "basics", "configs", "commands"} {
		out, _ := l.want(exitOK, "--broker", url, "network", "--vuuid", "request_info_"+what, "--timeout", slow)
		_, rows := printed(out)
		_, wantRows := janitooScreen(t, "network_"+what)
		if len(rows) != len(wantRows) {
			t.Errorf("%s: %d rows, want %d", what, len(rows), len(wantRows))
		}
		got := fieldsOf(rows)
		for _, want := range fieldsOf(wantRows) {
			f := strings.Fields(want) // hadd uuid idx data…
			if !slices.ContainsFunc(got, func(row string) bool {
				g := strings.Fields(row) // hadd node_uuid uuid idx data…
				return g[0] == f[0] && g[2] == f[1] && g[3] == f[2] && g[len(g)-1] == f[len(f)-1]
			}) {
				t.Errorf("%s: no row like\n%s\nin\n%s", what, want, out)
			}
		}
	}
}
