package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"rollcall/internal/bus/bustest"
)

// unformatted are the commands that print nothing that a program would read as JSON, and why.
var unformatted = map[string]string{
	"udpsrv completion bash":       "a script",
	"udpsrv completion fish":       "a script",
	"udpsrv completion powershell": "a script",
	"udpsrv completion zsh":        "a script",
	"udpsrv docs":                  "documents have formats of their own: --format",
	"udpsrv export":                "it serves HTTP",
	"udpsrv trust mosquitto":       "it writes files",
}

// commandsOf returns the commands below cmd that do something.
func commandsOf(cmd *cobra.Command) (out []*cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.Runnable() && !c.HasSubCommands() || c.Name() == "trust" {
			out = append(out, c)
		}
		out = append(out, commandsOf(c)...)
	}
	return out
}

// TestEveryCommandHasFormats: what prints data prints it as JSON and as YAML too.
func TestEveryCommandHasFormats(t *testing.T) {
	t.Parallel()
	a := &app{in: strings.NewReader(""), out: &output{}, err: &output{}}
	seen := 0
	for _, c := range commandsOf(newRoot(a)) {
		_, excused := unformatted[c.CommandPath()]
		if excused {
			seen++
		}
		if has := c.Flags().Lookup("json") != nil && c.Flags().Lookup("yaml") != nil; has == excused && !c.Hidden {
			t.Errorf("%s: --json and --yaml are there: %t, want %t", c.CommandPath(), has, !excused)
		}
	}
	if seen != len(unformatted) {
		t.Errorf("%d of the %d commands in the table are there", seen, len(unformatted))
	}
}

// TestFormats: JSON and YAML of a command say the same, errors stand on stderr, and both at once are refused.
func TestFormats(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	serve(t, url, (&device{}).answer)
	r, l := boot(t, hostNamed("pizero2", 0xab, url), nil), newLaptop(t)
	for _, args := range [][]string{
		{"version"}, {"key", "show"}, {"key", "show", "--certificate"}, {"enroll", "--print"},
		{"get", "--to", r.addr, "pizero2/gpio/input/door"}, {"get", "--to", r.addr, "pizero2/gpio/description"}, {"setup", "--to", r.addr, "pizero2/gpio"},
		{"spy", "--broker", url, "-n", "1", "/pizero2/status"},
	} {
		asJSON, _ := l.want(exitOK, append(args, "--json")...)
		asYAML, _ := l.want(exitOK, append(args, "--yaml")...)
		var j, y any
		if json.Unmarshal([]byte(asJSON), &j) != nil || yaml.Unmarshal([]byte(asYAML), &y) != nil || j == nil || strings.HasPrefix(asYAML, "{") {
			t.Errorf("%q: JSON %q, YAML %q", args, asJSON, asYAML)
		}
		if jm, ok := j.(map[string]any); ok {
			delete(jm, "time")
			delete(y.(map[string]any), "time")
		}
		back, _ := json.Marshal(y)
		if err := json.Unmarshal(back, &y); err != nil || !reflect.DeepEqual(j, y) {
			t.Errorf("%q: JSON %q, YAML %q, %v", args, asJSON, asYAML, err)
		}
	}
	if stdout, stderr := l.want(exitUsage, "version", "--json", "--yaml"); stdout != "" || stderr != "udpsrv: --json and --yaml: only one of them can be (see udpsrv version --help)\n" {
		t.Errorf("got %q, %q", stdout, stderr)
	}
	if stdout, stderr := l.want(exitFail, "get", "--yaml", "--to", r.addr, "pizero2/none"); stdout != "" || !strings.HasPrefix(stderr, "udpsrv: ") {
		t.Errorf("got %q, %q", stdout, stderr)
	}
}

// TestSweepYAML: the same document as --json has.
func TestSweepYAML(t *testing.T) {
	t.Parallel()
	stdout, _ := newLaptop(t).want(exitOK, "sweep", "--yaml", "--to", three(t))
	var d struct {
		Complete bool
		Hosts    []struct {
			ID, Hostname string
			Via          []string
			Services     []struct{ Name, Status string }
		}
	}
	if err := yaml.Unmarshal([]byte(stdout), &d); err != nil || !d.Complete || len(d.Hosts) != 3 || d.Hosts[1].Services[0].Status != "online" || d.Hosts[1].ID != "bb01020304050607" {
		t.Errorf("got %s, %v", stdout, err)
	}
}
