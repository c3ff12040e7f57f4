// Package layers holds the test of who may import whom (../../shared/ARCHITECTURE.md: a package imports lower levels only; one
// owner for each outside library).
package layers

import (
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// list returns the packages of the module as `go list` sees them for this platform, tests left out.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	d := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// level of each package; what is not here (lab, docs: tests and tools) may import anything.
var level = map[string]int{
	"rollcall/internal/table":       0,
	"rollcall/internal/census":      0,
	"rollcall/reports":              0,
	"rollcall/reports/faces":        2,
	"rollcall/reports/janitoo/wire": 0,
	"rollcall/reports/live":         2,
	"rollcall/config":               1,
	"rollcall/config/janitoo":       2,
	"rollcall/internal/bus":         1,
	"rollcall/internal/broker":      1,
	"rollcall/internal/discover":    1,
	"rollcall/internal/man":         1,
	"rollcall/internal/run":         1,
	"rollcall/internal/trust":       1,
	"rollcall/gpio":                 2,
	"rollcall/gpio/gpiotest":        2,
	"rollcall/gpio/input":           2,
	"rollcall/gpio/original":        2,
	"rollcall/gpio/output":          2,
	"rollcall/gpio/pinout":          1,
	"rollcall/gpio/pwm":             2,
	"rollcall/agents":               3,
	"rollcall/agents/agentd":        4,
	"rollcall/udpmon":               4,
	"rollcall/udpsrv":               4,
}

// levelOf returns the level of a package. Every package below reports/ is a face, at L1: adding one needs no line here.
func levelOf(path string) (int, bool) {
	if l, ok := level[path]; ok {
		return l, true
	}
	return 1, strings.HasPrefix(path, "rollcall/reports/")
}

// allowed are imports of the same or a higher level that have a reason.
var allowed = map[string]string{
	"rollcall/reports/janitoo/wire rollcall/reports": "the words of a foreign protocol: bounds are those of all that comes from outside",
	"rollcall/gpio/gpiotest rollcall/gpio":           "the in-memory chip is a gpio.Chip",
	"rollcall/gpio/original rollcall/gpio":           "it says pulls and drives in the words of gpio",
	"rollcall/gpio/pwm rollcall/gpio":                "pulses are made on a gpio.Line",
}

func TestImportsGoDown(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		mine, ok := levelOf(p.ImportPath)
		if !ok {
			continue
		}
		for _, i := range p.Imports {
			theirs, ours := levelOf(i)
			if _, excused := allowed[p.ImportPath+" "+i]; ours && theirs >= mine && !excused {
				t.Errorf("%s (L%d) imports %s (L%d): only lower levels may be imported", p.ImportPath, mine, i, theirs)
			}
		}
	}
}

func TestEveryPackageHasALevel(t *testing.T) {
	t.Parallel()
	tools := []string{ // tests and what serves them
		"rollcall/lab", "rollcall/docs", "rollcall/internal/layers", "rollcall/agents/agentstest", "rollcall/gpio/chiptest", "rollcall/internal/bus/bustest",
		"rollcall/reports/reportstest", "rollcall/reports/janitoo/janitootest",
	}
	for _, p := range list(t, "./...") {
		if _, ok := levelOf(p.ImportPath); ok {
			continue
		}
		if !slices.ContainsFunc(tools, func(tool string) bool { return p.ImportPath == tool || strings.HasPrefix(p.ImportPath, tool+"/") }) {
			t.Errorf("%s has no level: add it to the table", p.ImportPath)
		}
	}
}

// owner says which packages alone may import an outside library, and why.
var owner = []struct {
	library string
	owners  []string
	why     string
}{
	{"github.com/eclipse/paho.mqtt.golang", []string{"rollcall/internal/bus"}, "its traps (BROKERS.md P1-P4) are handled once"},
	{"github.com/mochi-mqtt/server/v2", []string{"rollcall/internal/broker"}, "its traps (BROKERS.md M1-M8) are handled once"},
	{"filippo.io/edwards25519", []string{"rollcall/internal/trust"}, "keys are made and checked there"},
	{"go.etcd.io/bbolt", []string{"rollcall/internal/broker", "rollcall/internal/table"}, "table opens its files, whatever is in them"},
	{"github.com/warthog618/gpiod", []string{"rollcall/gpio"}, "it can be changed for go-gpiocdev in one file"},
	{"golang.org/x/net", []string{"rollcall/internal/discover", "rollcall/agents"}, "discover owns the socket of discovery, agents (ping) those of echo requests"},
	{"github.com/fxamacker/cbor/v2", []string{"rollcall/internal/discover"}, "one wire format"},
	{"gopkg.in/yaml.v3", []string{"rollcall/config"}, "strict keys and lines in every error"},
	{"github.com/spf13/cobra", []string{"rollcall/udpsrv", "rollcall/udpmon", "rollcall/agents/agentd", "rollcall/internal/man"}, "flags belong to the mains; man writes what they say"},
	{"github.com/spf13/pflag", []string{"rollcall/internal/man"}, "as cobra"},
	{"golang.org/x/term", []string{"rollcall/udpsrv"}, "the terminal is the laptop's"},
	{"golang.org/x/text", []string{"rollcall/udpsrv"}, "cells of a terminal are the laptop's"},
	{"github.com/coreos/go-systemd/v22", []string{"rollcall/internal/run"}, "one place that talks to systemd"},
	{"github.com/d2r2", []string{"rollcall/agents"}, "one driver of one agent, behind its build tag"},
	{"github.com/prometheus/procfs", []string{"rollcall/agents"}, "host facts are hostsensor's"},
}

func TestOutsideLibrariesHaveOneOwner(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		for _, i := range p.Imports {
			for _, o := range owner {
				if (i == o.library || strings.HasPrefix(i, o.library+"/")) && !slices.Contains(o.owners, p.ImportPath) {
					t.Errorf("%s imports %s, which belongs to %s: %s", p.ImportPath, i, strings.Join(o.owners, ", "), o.why)
				}
			}
		}
	}
}

// never are packages that may not be reached, even through others.
var never = []struct{ from, to, why string }{
	{"rollcall/udpsrv", "rollcall/agents", "udpsrv builds for any laptop"},
	{"rollcall/udpsrv", "rollcall/gpio", "udpsrv builds for any laptop"},
	{"rollcall/udpmon", "rollcall/agents", "the monitor knows services by what they publish"},
	{"rollcall/udpmon", "rollcall/gpio", "the monitor touches no hardware"},
	{"rollcall/agents/agentd", "github.com/mochi-mqtt/server/v2", "the broker is the monitor's"},
	{"rollcall/reports", "net", "the words of the system do no I/O"},
	{"rollcall/reports/faces", "net", "faces are pure functions of descriptions"},
	{"rollcall/reports/faces", "rollcall/config", "faces know descriptions alone"},
	{"rollcall/udpsrv", "testing", "no test code in a program"},
	{"rollcall/udpmon", "testing", "no test code in a program"},
	{"rollcall/agents/agentd", "testing", "no test code in a program"},
	{"rollcall/udpsrv", "C", "the default build is without cgo"},
	{"rollcall/udpmon", "C", "the default build is without cgo"},
	{"rollcall/agents/agentd", "github.com/d2r2/go-dht", "the default build is without the drivers that need cgo"},
	{"rollcall/agents/agentd", "C", "the default build is without cgo"},
}

func TestForbiddenReach(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		for _, n := range never {
			if p.ImportPath == n.from && slices.Contains(p.Deps, n.to) {
				t.Errorf("%s reaches %s: %s", n.from, n.to, n.why)
			}
		}
	}
}

func TestReportsIsStandardLibraryOnly(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./reports/...") {
		for _, d := range p.Deps {
			if strings.Contains(strings.SplitN(d, "/", 2)[0], ".") && !strings.HasPrefix(d, "vendor/") {
				t.Errorf("reports reaches %s: it imports the standard library only", d)
			}
		}
	}
}
