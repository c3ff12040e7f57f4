package prometheus_test

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/reports"
	"rollcall/reports/prometheus"
	"rollcall/reports/reportstest"
)

// written returns the metrics of one host with the points and values, without those of the host itself.
func written(values map[string]string, points ...reports.Point) string {
	h := reports.Host{Name: "pi", ID: "00000000000000a1", Services: []reports.HostService{{Described: true, Values: values,
		Service: reports.Service{Name: "gpio", Function: "gpio", Points: points}}}}
	var out []string
	for line := range strings.Lines(string(prometheus.Write(prometheus.Points(reports.NewCluster([]reports.Host{h}))))) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "_info") && !strings.Contains(line, "_service_") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return strings.Join(out, "; ")
}

// TestNames is the name, the unit and the labels that a point gets.
func TestNames(t *testing.T) {
	t.Parallel()
	const at = `{host="pi",service="gpio",point="a/x"`
	for _, test := range []struct {
		p           reports.Point
		value, want string
	}{
		{reports.Point{Type: reports.Float, Class: "temperature", Unit: "°C"}, "21.5", "rollcall_temperature_celsius" + at + "} 21.5"},
		{reports.Point{Type: reports.Float, Class: "humidity", Unit: "%"}, "48.3", "rollcall_humidity_ratio" + at + "} 0.483"},
		{reports.Point{Type: reports.Float, Unit: "%"}, "7", "rollcall_value_ratio" + at + "} 0.07"},
		{reports.Point{Type: reports.Int, Class: "frequency", Unit: "MHz"}, "1500", "rollcall_frequency_hertz" + at + "} 1.5e+09"},
		{reports.Point{Type: reports.Float, Class: "duration", Unit: "ms"}, "2.5", "rollcall_duration_seconds" + at + "} 0.0025"},
		{reports.Point{Type: reports.Float, Class: "energy", Unit: "kWh", StateClass: reports.TotalIncreasing}, "2", "rollcall_energy_joules_total" + at + "} 7.2e+06"},
		{reports.Point{Type: reports.Int, StateClass: reports.TotalIncreasing}, "12", "rollcall_value_total" + at + "} 12"},
		{reports.Point{Type: reports.Int, StateClass: reports.Total}, "12", "rollcall_value" + at + "} 12"},
		{reports.Point{Type: reports.Float, Unit: "furlong", Class: "odd Class!"}, "1", "rollcall_odd_class" + at + `,unit="furlong"} 1`},
		{reports.Point{Type: reports.Float, Metric: `node_filesystem_size_bytes{mountpoint="/",x="y z"}`, Unit: "B"}, "1e6", `node_filesystem_size_bytes{host="pi",mountpoint="/",x="y z"} 1e+06`},
		{reports.Point{Type: reports.Float, Metric: "node_load1"}, "0.5", `node_load1{host="pi"} 0.5`},
		{reports.Point{Type: reports.Bool, Class: "door"}, "ON", "rollcall_state" + at + `,class="door"} 1`},
		{reports.Point{Type: reports.Bool}, "OFF", "rollcall_state" + at + `,class=""} 0`},
		{reports.Point{Type: reports.Bool}, "", ""},
		{reports.Point{Type: reports.Enum, Options: []string{"a", "b"}}, "b", "rollcall_option" + at + `,option="a"} 0; rollcall_option` + at + `,option="b"} 1`},
		{reports.Point{Type: reports.String}, "text", ""},
		{reports.Point{Type: reports.JSON}, "1", ""},
		{reports.Point{Type: reports.Float}, "garbage", ""},
	} {
		test.p.Path, test.p.Access = "a/x", reports.Get
		if err := test.p.Validate(); err != nil {
			t.Errorf("%+v: %v", test.p, err)
		}
		if got := written(map[string]string{"a/x": test.value}, test.p); got != test.want {
			t.Errorf("%+v\n got %s\nwant %s", test.p, got, test.want)
		}
	}
	if got := written(nil, reports.Point{Path: "a/x", Type: reports.Float, Access: reports.Get}); got != "" {
		t.Errorf("a point without a value is %s", got)
	}
}

// TestOffline has a service that is offline: its last values are not told as if they held.
func TestOffline(t *testing.T) {
	t.Parallel()
	h := reportstest.Host(0, 4)
	got := string(prometheus.Write(prometheus.Points(reports.NewCluster([]reports.Host{h}))))
	if strings.Contains(got, `service="service3",point=`) {
		t.Error("values of a service that is offline")
	}
	for _, want := range []string{`rollcall_service_up{host="pi000",service="service3",function="test"} 0`, `rollcall_service_up{host="pi000",service="service0",function="test"} 1`,
		`rollcall_service_error{host="pi000",service="service3"} 1`, `rollcall_host_up{host="pi000"} 1`,
		`rollcall_host_info{host="pi000",id="0000000000000001",model="Raspberry Pi Zero 2 W",os="Debian GNU/Linux 12 (bookworm)",arch="arm64",version="1.2.3"} 1`} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}

// TestWrite has metrics that don't fit each other: one name has one type, and a sample stands once.
func TestWrite(t *testing.T) {
	t.Parallel()
	sample := func(v float64, l ...prometheus.Label) []prometheus.Sample {
		return []prometheus.Sample{{Labels: l, Value: v}}
	}
	got := string(prometheus.Write([]prometheus.Metric{
		{Name: "b", Type: prometheus.Gauge, Help: "a\nb\\", Samples: sample(1, prometheus.Label{Name: "l", Value: "q\"\n\\\xff"})},
		{Name: "a", Type: prometheus.Counter, Help: "x", Samples: sample(2)},
		{Name: "b", Type: prometheus.Counter, Help: "other", Samples: sample(3)},
		{Name: "a", Type: prometheus.Counter, Help: "y", Samples: sample(4)},
	}))
	want := "# HELP a x\n# TYPE a counter\na 2\n# HELP b a\\nb\\\\\n# TYPE b gauge\nb{l=\"q\\\"\\n\\\\\ufffd\"} 1\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Promtool checks an exposition with Prometheus's own tool, where it is installed.
func promtool(t *testing.T, exposition string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("ROLLCALL_LAB") == "1" {
			t.Fatal(err)
		}
		t.Skip("promtool is not installed: apt-get install prometheus")
	}
	cmd := exec.CommandContext(t.Context(), path, "check", "metrics")
	cmd.Stdin = strings.NewReader(exposition)
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !nodeExporters.MatchString(line) {
			t.Errorf("promtool: %v\n%s\n%s", err, out, exposition)
			return
		}
	}
}

// nodeExporters are the only complaints that stand: of names that are node_exporter's own.
var nodeExporters = regexp.MustCompile(`^node_memory_(MemTotal|MemAvailable|SwapTotal|SwapFree)_bytes metric names should be written in 'snake_case' not 'camelCase'\n?$`)

// TestPromtool holds clusters of all kinds against promtool, which refuses what it can't read and complains about names.
func TestPromtool(t *testing.T) {
	t.Parallel()
	standard := reportstest.Cluster(1, 1)
	s := &standard.Hosts[0].Services[0] // which is described, and has no values yet
	s.Values = map[string]string{}
	for i, name := range []string{"node_load1", "node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes", "node_memory_SwapFree_bytes", `node_filesystem_avail_bytes{mountpoint="/"}`} {
		path := "standard/" + strconv.Itoa(i)
		s.Points = append(s.Points, reports.Point{Path: path, Type: reports.Float, Access: reports.Get, Metric: name})
		s.Values[path] = "1"
	}
	for _, c := range []reports.Cluster{reportstest.Cluster(2, 4), reportstest.Hostile(), standard} {
		promtool(t, string(prometheus.Write(prometheus.Points(c))))
	}
}

// TestFormat holds every line against the grammar of the format, where no promtool is.
func TestFormat(t *testing.T) {
	t.Parallel()
	line := regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-z_]+="([^"\\\n]|\\.)*"(,[a-z_]+="([^"\\\n]|\\.)*")*\})? \S+$`)
	for _, c := range []reports.Cluster{reportstest.Cluster(2, 4), reportstest.Hostile()} {
		for text := range strings.Lines(string(prometheus.Write(prometheus.Points(c)))) {
			if text = strings.TrimSuffix(text, "\n"); !strings.HasPrefix(text, "# ") && !line.MatchString(text) {
				t.Errorf("line %q", text)
			}
		}
	}
}

// TestHealth tells what a service has done, as long as it is online.
func TestHealth(t *testing.T) {
	t.Parallel()
	h := reportstest.Host(0, 4)
	for i := range h.Services {
		h.Services[i].Health = &reports.Health{Since: time.Unix(1_800_000_000, 0), Reads: 7, Dropped: 2}
	}
	got := string(prometheus.Write(prometheus.Points(reports.NewCluster([]reports.Host{h}))))
	for _, want := range []string{`rollcall_service_reads_total{host="pi000",service="service0"} 7`, `rollcall_service_dropped_total{host="pi000",service="service0"} 2`,
		`rollcall_service_start_time_seconds{host="pi000",service="service0"} 1.8e+09`, "# TYPE rollcall_service_reads_total counter"} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if strings.Contains(got, `rollcall_service_reads_total{host="pi000",service="service3"}`) {
		t.Error("the health of a service that is offline is told")
	}
}
