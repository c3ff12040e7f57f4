package reports_test

import (
	"os/exec"
	"slices"
	"testing"

	"rollcall/reports"
	"rollcall/reports/reportstest"
)

func TestCommands(t *testing.T) {
	t.Parallel()
	h := reports.NewCluster([]reports.Host{reportstest.Host(0, 1)}).Hosts[0]
	point := func(path string, change func(*reports.Point)) reports.Point {
		p, ok := h.Services[0].Point(path)
		if !ok {
			t.Fatalf("no point %s", path)
		}
		if change != nil {
			change(&p)
		}
		return p
	}
	for _, c := range []struct {
		name string
		host func(*reports.Host)
		p    reports.Point
		want []string
	}{
		{"bool", nil, point("output/pump", nil), []string{"udpsrv get pi000/service0/output/pump", "udpsrv set pi000/service0/output/pump ON",
			"mosquitto_sub -h 10.0.0.1 -t /pi000/service0/output/pump -C 1", "mosquitto_pub -h 10.0.0.1 -t /pi000/service0/set/output/pump -m ON"}},
		{"twin", func(h *reports.Host) { h.Key, h.Brokers = "pi000-1", []string{"mqtts://x"} }, point("input/door", nil), []string{"udpsrv get 0000000000000001/service0/input/door",
			"mosquitto_sub -t /pi000/service0/input/door -C 1"}},
		{"event", func(h *reports.Host) { h.Brokers = []string{"mqtt://[fe80::1]:99"} }, point("press", nil), []string{"udpsrv spy --host pi000 /pi000/service0/press",
			"mosquitto_sub -h fe80::1 -p 99 -t /pi000/service0/press -C 1"}},
		{"not to be read", nil, point("order", nil), []string{"udpsrv set pi000/service0/order text", "mosquitto_pub -h 10.0.0.1 -t /pi000/service0/set/order -m text"}},
		{"json", nil, point("map", nil), []string{"udpsrv get pi000/service0/map", `udpsrv set pi000/service0/map '{"a":[1,2]}'`,
			"mosquitto_sub -h 10.0.0.1 -t /pi000/service0/map -C 1", `mosquitto_pub -h 10.0.0.1 -t /pi000/service0/set/map -m '{"a":[1,2]}'`}},
		{"no option fits a line", nil, point("mode", func(p *reports.Point) { p.Options = []string{"a\nb"} }), []string{"udpsrv get pi000/service0/mode",
			"mosquitto_sub -h 10.0.0.1 -t /pi000/service0/mode -C 1"}},
		{"option like a flag", nil, point("mode", func(p *reports.Point) { p.Options, p.Access = []string{"-x'$(y)"}, reports.Set }), []string{`udpsrv set -- pi000/service0/mode '-x'\''$(y)'`,
			`mosquitto_pub -h 10.0.0.1 -t /pi000/service0/set/mode -m '-x'\''$(y)'`}},
		{"range without 0", nil, point("count", func(p *reports.Point) { p.Min, p.Max, p.Access = reports.Ptr(20), reports.Ptr(30), reports.Set }), []string{"udpsrv set pi000/service0/count 20",
			"mosquitto_pub -h 10.0.0.1 -t /pi000/service0/set/count -m 20"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := h
			if c.host != nil {
				c.host(&h)
			}
			if got := h.Commands(h.Services[0], c.p); !slices.Equal(got, c.want) {
				t.Errorf("got\n%q, want\n%q", got, c.want)
			}
		})
	}
}

// A real shell reads each word as what it was.
func TestShellWord(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "plain", "it's", "$(touch x)", "`x`", `\`, `"`, "a b", "*", "~", "#", "-n", "ä°", "!x", "a'b'c", "&", ";"} {
		out, err := exec.Command("sh", "-c", "printf %s "+reports.ShellWord(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("the shell read %q as %q (%v)", s, out, err)
		}
	}
}
