package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rollcall/internal/discover"
	"rollcall/reports"
)

func heardFrom(h discover.Host, from string) discover.Answer {
	return discover.Answer{Host: h, From: netip.MustParseAddrPort(from)}
}

func reportOf(t *testing.T, doc string) reports.Report {
	t.Helper()
	r, err := reports.ParseReport([]byte(doc))
	if err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	return r
}

// line says a host in short.
func line(h *host) string {
	s := fmt.Sprintf("%.2s %s %s %s:", h.ID, h.Hostname, h.IPAddr, strings.Join(h.Via, "+"))
	for _, f := range h.Services {
		s += fmt.Sprintf(" %s/%s", f.Name, f.Status)
	}
	return s
}

func lines(r *roll) (out []string) {
	for _, h := range r.sorted() {
		out = append(out, line(h))
	}
	return out
}

const (
	gpioReport   = `{"cmd":"status","topic":"/t","id":1,"hostname":"pi1","ipaddr":"10.0.0.1","function":"gpio","outputs":"/pi1/gpio"}`
	coffeeReport = `{"cmd":"status","topic":"/t","id":1,"hostname":"pi1","ipaddr":"10.0.0.1","extaddr":"8.8.8.8","function":"coffee"}`
	otherReport  = `{"cmd":"status","topic":"/t","id":1,"hostname":"pi1","ipaddr":"10.0.0.9","function":"gpio"}`
	wlanReport   = `{"cmd":"status","topic":"/t","id":1,"hostname":"pi1","ipaddr":"10.1.0.1","function":"wlan"}`
)

func TestMerge(t *testing.T) {
	t.Parallel()
	sealed := heardFrom(discover.Host{ID: discover.ID{0xaa}, Hostname: "pi1", Addrs: []netip.Addr{netip.MustParseAddr("10.1.0.1")},
		Services: []discover.Service{{Name: "gpio", Function: "gpio", Status: reports.Online, Points: 4}}}, "10.0.0.1:37030")
	twin := heardFrom(discover.Host{ID: discover.ID{0xbb}, Hostname: "pi1"}, "10.0.0.2:37030")
	merged := []string{"aa pi1 10.0.0.1 udp+mqtt: coffee/ gpio/online wlan/", " pi1 10.0.0.9 mqtt: gpio/", "bb pi1 10.0.0.2 udp:"}
	slices.Sort(merged)

	// Whatever comes first, the outcome is the same, and every service is news exactly once.
	take := []func(*roll) int{
		func(r *roll) int { _, n, _ := r.answer(sealed); return len(n) },
		func(r *roll) int { _, n, _ := r.report(reportOf(t, gpioReport)); return len(n) },
		func(r *roll) int { _, n, _ := r.report(reportOf(t, coffeeReport)); return len(n) },
		func(r *roll) int { _, n, _ := r.report(reportOf(t, otherReport)); return len(n) },
		func(r *roll) int { _, n, _ := r.answer(twin); return len(n) },
		func(r *roll) int { _, n, _ := r.report(reportOf(t, gpioReport)); return len(n) },
	}
	for start := range take {
		r, news := newRoll(), 0
		for i := range take {
			news += take[(start+i)%len(take)](r)
		}
		// By its second address the host is known only once it has answered by UDP.
		_, n, _ := r.report(reportOf(t, wlanReport))
		got := lines(r)
		slices.Sort(got)
		if diff := cmp.Diff(merged, got); diff != "" {
			t.Errorf("starting with %d (-want +got):\n%s", start, diff)
		}
		if news+len(n) != 4 {
			t.Errorf("starting with %d: %d news, want 4", start, news+len(n))
		}
		if got := r.twins(); !slices.Equal(got, []string{"pi1"}) {
			t.Errorf("twins = %v", got)
		}
	}
}

// What UDP says of a service is not overwritten by who claims to be its host.
func TestReportDoesNotOverwrite(t *testing.T) {
	t.Parallel()
	r := newRoll()
	r.answer(heardFrom(hostNamed("pi1", 1), "10.0.0.1:37030"))
	want := slices.Clone(r.hosts[0].Services)
	r.report(reportOf(t, `{"cmd":"status","topic":"/t","hostname":"pi1","ipaddr":"10.0.0.1","service":"gpio","function":"evil","inputs":"/evil"}`))
	if diff := cmp.Diff(want, r.hosts[0].Services); diff != "" {
		t.Errorf("services changed:\n%s", diff)
	}
}

// A program of the original form may give its host's full domain name: the host is known under the first label, as our own are.
func TestDomainNames(t *testing.T) {
	t.Parallel()
	r := newRoll()
	for _, doc := range []string{
		`{"cmd":"status","topic":"/t","hostname":"pi.example.org","ipaddr":"10.0.0.1","function":"gpio","outputs":"/pi.example.org/gpio"}`,
		`{"cmd":"status","topic":"/t","hostname":"pi.example.org.","ipaddr":"10.0.0.1","function":"coffee"}`,
		`{"cmd":"status","topic":"/t","hostname":"pi.other.org","ipaddr":"10.0.0.2","function":"tea"}`,
	} {
		if h, news, _ := r.report(reportOf(t, doc)); h == nil || len(news) != 1 {
			t.Errorf("%s was not taken in", doc)
		}
	}
	r.answer(heardFrom(discover.Host{ID: discover.ID{0xaa}, Hostname: "pi", Services: []discover.Service{{Name: "wlan", Status: reports.Online}}}, "10.0.0.1:1"))
	want := []string{" pi 10.0.0.2 mqtt: tea/", "aa pi 10.0.0.1 udp+mqtt: coffee/ gpio/ wlan/online"}
	if diff := cmp.Diff(want, lines(r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if i := serviceIndex(r.hosts[0], "gpio"); i < 0 || r.hosts[0].Services[i].Outputs != "/pi.example.org/gpio" {
		t.Errorf("the program's own topics became %+v", r.hosts[0].Services)
	}
	for _, name := range []string{"10.0.0.1", "fe80::1", ".example.org", "pi..org", "pi.exa mple.org", "pi.a/b", "..", "pi." + strings.Repeat("a.", 126)} {
		if h, _, _ := r.report(reports.Report{Request: reports.Request{Monitor: reports.Monitor{Hostname: name}}, Function: "f"}); h != nil {
			t.Errorf("hostname %q was taken in as %s", name, line(h))
		}
	}
}

func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	for _, doc := range []string{
		`{"cmd":"status","topic":"/t","hostname":"a\u001b[2J","function":"x"}`,
		`{"cmd":"status","topic":"/t","hostname":"a/b","function":"x"}`,
		`{"cmd":"status","topic":"/t","hostname":"` + long + `","function":"x"}`,
		`{"cmd":"status","topic":"/t","hostname":"a","ipaddr":"not an address","function":"x"}`,
		`{"cmd":"status","topic":"/t","hostname":"a","extaddr":"\u001b","function":"x"}`,
		`{"cmd":"status","topic":"/t","hostname":"a"}`,
		`{"cmd":"status","topic":"/t","hostname":"a","service":"#","function":"+"}`,
		`{"cmd":"status","topic":"/t","hostname":"a","service":"s","function":"` + long + `"}`,
		`{"cmd":"status","topic":"/t","hostname":"a","service":"s","inputs":"` + long + `"}`,
	} {
		r := newRoll()
		report, err := reports.ParseReport([]byte(doc))
		if err != nil {
			continue // stopped at the door
		}
		if h, news, fresh := r.report(report); h != nil || news != nil || fresh || r.refused != 1 || len(r.hosts) != 0 {
			t.Errorf("report %s was taken in", doc)
		}
	}
	for _, report := range []reports.Report{
		{Request: reports.Request{Monitor: reports.Monitor{Hostname: "a\x1b"}}, Function: "f"},
		{Request: reports.Request{Monitor: reports.Monitor{Hostname: "a", IPAddr: "\x1b"}}, Function: "f"},
		{Request: reports.Request{Monitor: reports.Monitor{Hostname: "a"}}, Service: "s", Function: "\xff"},
	} {
		r := newRoll()
		if h, _, _ := r.report(report); h != nil || r.refused != 1 {
			t.Errorf("%+v was taken in", report)
		}
	}
	r := newRoll()
	for _, name := range []string{"", "a b", "a\x1b", long} {
		if h, _, _ := r.answer(heardFrom(discover.Host{Hostname: name}, "10.0.0.1:1")); h != nil {
			t.Errorf("answer of %q was taken in", name)
		}
	}
	h, news, _ := r.answer(heardFrom(discover.Host{Hostname: "a", ExtAddr: "x", Services: []discover.Service{
		{Name: "a/b"}, {Name: "ok", Status: "on\x1b"}, {Name: "p", Points: -1}, {Name: "f", Function: long}}}, "10.0.0.1:1"))
	if len(news) != 1 || h.Services[0].Status != reports.Unknown || h.ExtAddr != "" || r.refused != 7 {
		t.Errorf("got %v with %d refused", line(h), r.refused)
	}
}

func TestFloodIsBounded(t *testing.T) {
	t.Parallel()
	r := newRoll()
	for i := range maxHosts + 100 {
		r.report(reportOf(t, fmt.Sprintf(`{"cmd":"status","topic":"/t","hostname":"h%d","function":"x"}`, i)))
	}
	for i := range maxServices + 100 {
		r.report(reportOf(t, fmt.Sprintf(`{"cmd":"status","topic":"/t","hostname":"h1","service":"s%d","function":"f"}`, i)))
	}
	if len(r.hosts) != maxHosts || len(r.byName["h1"][0].Services) != maxServices || r.refused != 100+101 {
		t.Errorf("%d hosts, %d services, %d refused", len(r.hosts), len(r.byName["h1"][0].Services), r.refused)
	}
}

// One neighbour can't fill a sweep with hosts that it made up.
func TestCrowdAtOneAddress(t *testing.T) {
	t.Parallel()
	r := newRoll()
	for i := range maxAtAddress + 44 {
		r.answer(heardFrom(discover.Host{ID: discover.ID{byte(i), byte(i >> 8)}, Hostname: fmt.Sprintf("fake%d", i)}, fmt.Sprintf("10.0.0.9:%d", i+1)))
	}
	if h, _, fresh := r.answer(heardFrom(hostNamed("pi1", 1), "10.0.0.1:37030")); h == nil || !fresh {
		t.Error("a host at another address is left out")
	}
	if len(r.hosts) != maxAtAddress+1 || r.refused != 0 {
		t.Errorf("%d hosts with %d refused, want %d and 0", len(r.hosts), r.refused, maxAtAddress+1)
	}
	var errs strings.Builder
	(&app{err: &output{w: &errs}}).summary(&round{roll: r})
	want := "udpsrv: warning: 10.0.0.9 answered as more than 256 hosts; 44 answers left out\n"
	if !strings.Contains(errs.String(), want) {
		t.Errorf("stderr %q, want %q in it", errs.String(), want)
	}
}
