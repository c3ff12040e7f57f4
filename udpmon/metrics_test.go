package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/agents"
	"rollcall/config"
)

// scrape returns what Prometheus gets.
func (b *bed) scrape() string {
	b.t.Helper()
	req, err := http.NewRequestWithContext(within(b.t), http.MethodGet, "http://"+b.m.metrics.listener.Addr().String()+"/metrics", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		b.t.Errorf("%s, %q, %v", r.Status, r.Header.Get("Content-Type"), err)
	}
	return string(body)
}

// TestMetrics scrapes a host with a real service: its points, and the daemon's own health; and stops following the values when nobody
// scrapes any more.
func TestMetrics(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	b.gpio()
	if got := len(b.m.viewers.all); got != 0 {
		t.Errorf("values are followed although nobody has scraped")
	}
	ask(t, "127.0.0.1", b.port, `{"cmd":"status","replyto":"127.0.0.1:1","topic":"/x","id":1}`)
	for _, want := range []string{`rollcall_state{host="pi1",service="gpio",point="output/led",class=""} 0`, `rollcall_service_up{host="pi1",service="gpio",function="gpio"} 1`,
		`rollcall_datagrams_total{outcome="published"} 1`, "rollcall_mqtt_connected 1", "rollcall_mqtt_connects_total 1", `rollcall_host_up{host="pi1"} 1`, `rollcall_service_command_errors_total{host="pi1",service="gpio"} 0`} {
		eventually(t, want, true, func() bool { return strings.Contains(b.scrape(), want+"\n") })
	}
	b.publish("/pi1/gpio/set/output/none", "ON")
	b.publish("/pi1/gpio/get/status/health", "")
	eventually(t, "health of a service", true, func() bool {
		return strings.Contains(b.scrape(), `rollcall_service_command_errors_total{host="pi1",service="gpio"} 1`+"\n")
	})
	b.publish("/pi1/gpio/set/output/led", "ON")
	eventually(t, "value after a set", true, func() bool {
		return strings.Contains(b.scrape(), `rollcall_state{host="pi1",service="gpio",point="output/led",class=""} 1`)
	})
	if path, err := exec.LookPath("promtool"); err == nil {
		cmd := exec.CommandContext(within(t), path, "check", "metrics")
		cmd.Stdin = strings.NewReader(b.scrape())
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("promtool: %v\n%s", err, out)
		}
	} else if os.Getenv("ROLLCALL_LAB") == "1" {
		t.Error(err)
	}
	b.m.metrics.rest(time.Now().Add(watched + time.Second))
	if got := len(b.m.viewers.all); got != 0 {
		t.Errorf("values are followed although nobody scrapes any more")
	}
	if !strings.Contains(b.scrape(), `point="output/led",class=""} 1`) {
		t.Error("the first scrape after a while has no values")
	}
}

// TestMetricsAddress has an address that is taken: it matters where somebody has asked for it.
func TestMetricsAddress(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := testConfig(t)
	cfg.Metrics.Listen = taken.Addr().String()
	if _, err := newMonitor(cfg, time.Now, quiet()); err == nil || !strings.Contains(err.Error(), "metrics.listen") {
		t.Errorf("error %v, want one of metrics.listen", err)
	}
	b := startBed(t, func(c *config.Config) { c.Metrics.Listen = config.Off })
	if b.m.metrics != nil {
		t.Error("metrics are served although they are off")
	}
}

// TestDashboard holds docs/grafana.json against what a host really serves: it names no metric that is not there.
func TestDashboard(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Query string }
		}
	}
	if err := json.Unmarshal(doc, &d); err != nil || len(d.Panels) == 0 {
		t.Fatalf("%d panels, %v", len(d.Panels), err)
	}
	b := startBed(t, nil)
	b.gpio()
	b.retain("/pi1/climate/description", `{"name":"climate","function":"dht22","points":[{"path":"temperature","type":"float","access":["get"],"unit":"°C","class":"temperature"},
		{"path":"humidity","type":"float","access":["get"],"unit":"%","class":"humidity"}]}`)
	b.retain("/pi1/climate/temperature", "20.5")
	b.retain("/pi1/climate/humidity", "50")
	describe := agents.All()[slices.IndexFunc(agents.All(), func(f agents.Factory) bool { return f.Name == "hostsensor" })]
	a, err := describe.New(describe.Defaults(), agents.Deps{Service: "hostsensor", Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	s := a.Describe()
	s.Name, s.Function = "hostsensor", "hostsensor"
	payload, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	b.retain("/pi1/hostsensor/description", string(payload))
	for _, p := range s.Points {
		b.retain("/pi1/hostsensor/"+p.Path, "1")
	}
	name := regexp.MustCompile(`\b(?:rollcall|node)_[a-zA-Z0-9_]+`)
	var wanted []string
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			wanted = append(wanted, name.FindAllString(target.Expr, -1)...)
		}
	}
	for _, v := range d.Templating.List {
		wanted = append(wanted, name.FindAllString(v.Query, -1)...)
	}
	ask(t, "127.0.0.1", b.port, `{"cmd":"status","replyto":"127.0.0.1:1","topic":"/x","id":1}`)
	eventually(t, "metrics of the dashboard that are not served", "", func() string {
		got := b.scrape()
		return strings.Join(slices.DeleteFunc(slices.Clone(wanted), func(m string) bool { return strings.Contains(got, "\n"+m+"{") || strings.Contains(got, "\n"+m+" ") }), " ")
	})
}
