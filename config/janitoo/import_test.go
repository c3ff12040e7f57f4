package janitoo_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rollcall/agents"
	"rollcall/config"
	"rollcall/config/janitoo"
	"rollcall/reports"
	"rollcall/reports/live"
)

var update = flag.Bool("update", false, "write the golden files anew")

func source(t testing.TB, name string) janitoo.Source {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("testdata", name+".conf"))
	if err != nil {
		t.Fatal(err)
	}
	return janitoo.Source{Name: name + ".conf", Data: doc}
}

// checked fails unless agentd and udpmon would take the configuration: their --check does the same.
func checked(t testing.TB, doc []byte) config.Config {
	t.Helper()
	c, err := config.Parse("rollcall.yaml", doc)
	if err != nil {
		t.Fatalf("%v in\n%s", err, doc)
	}
	if _, err := agents.NewRunner(agents.RunnerConfig{File: "rollcall.yaml", Config: c, Factories: agents.All()}); err != nil {
		t.Fatalf("%v in\n%s", err, doc)
	}
	for _, f := range c.Faces {
		i := slices.IndexFunc(live.All(), func(l reports.Live) bool { return l.Name == f.Name })
		if i < 0 {
			t.Fatalf("there is no face %s", f.Name)
		}
		options := live.All()[i].Defaults()
		if err := f.Options.Decode(options); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if _, err := live.All()[i].New(options, reports.Host{Name: c.Host, Key: c.Host}); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
	}
	return c
}

// What Janitoo's servers wrote (JANITOO.md §6), and a file with all that the importer knows.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name, files := range map[string][]string{
		"jnt_hostsensor": {"jnt_hostsensor"}, "jnt_nut": {"jnt_nut"}, "jnt_tutorial": {"jnt_tutorial"}, "jnt_roomba": {"jnt_roomba"}, "jnt_fake": {"jnt_fake"},
		"everything": {"everything"}, "host": {"jnt_hostsensor", "jnt_nut", "jnt_tutorial", "jnt_fake"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sources []janitoo.Source
			for _, f := range files {
				sources = append(sources, source(t, f))
			}
			r, err := janitoo.Import(sources, janitoo.Options{})
			if err != nil {
				t.Fatal(err)
			}
			checked(t, r.YAML)
			var b strings.Builder
			b.Write(r.YAML)
			for _, n := range r.Notes {
				fmt.Fprintf(&b, "# %s\n", n)
			}
			path := filepath.Join("testdata", name+".golden.yaml")
			if *update {
				if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || b.String() != string(want) {
				t.Errorf("%s: got\n%s\nwant\n%s\n%v (go test ./config/janitoo -update)", name, &b, want, err)
			}
		})
	}
}

// No line of a file is lost in silence: each key is in the configuration, or in a note with its line.
func TestEveryLineIsToldOf(t *testing.T) {
	t.Parallel()
	s := source(t, "everything")
	r, err := janitoo.Import([]janitoo.Source{s}, janitoo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	noted := map[int]bool{}
	for _, n := range r.Notes {
		noted[n.Line] = true
	}
	carried := map[string]string{ // what a line became
		"location = Attic": "", "hostname = attic": "host: attic", "broker_ip = broker.example": "mqtt://broker.example:1884", "broker_port = 1884": ":1884",
		"broker_user = pi": "username: pi", "pin_0 = 11": "GPIO17", "pin_0 = 12": "GPIO18", "pin_0 = 32": "GPIO12", "pin_0 = 13": "GPIO27", "pin_0 = 15": "GPIO22",
		"pin_0 = 16": "GPIO23", "pinr_0 = 18": "GPIO24", "ping_0 = 22": "GPIO25", "pinb_0 = 36": "GPIO16", "pin_trig_0 = 38": "GPIO20", "pin_echo_0 = 40": "GPIO21",
		"timer_delay_0 = 5": `poll: "5s"`, "state_poll_0 = 10": `poll: "10s"`, "pullupdown_0 = PUD_UP": "pull: up", "edge_0 = BOTH": "edge: both",
		"bouncetime_0 = 300": `debounce: "300ms"`, "state_poll_0 = 60": `scan: "1m0s"`, "sensor_0 = 22": "model: dht22", "pin_0 = 4": "pin: GPIO4",
		"temperature_poll_0 = 60.0": `poll: "1m0s"`, "hexadd_0 = 28-00000463B745": "28-00000463b745", "temperature_poll_0 = 0": `poll: "0s"`,
		"frequency_poll_0 = 30": "frequency/*", "memory_rss_config_0 = /var/run/mosquitto.pid": "pid_file: /var/run/mosquitto.pid",
		"cpu_percent_config_0 = /var/run/mosquitto.pid": "mosquitto:", "cpu_percent_poll_0 = 300": "processes/*/cpu_percent", "lamp": "The lamp",
		"rpigpio_boardmode_0 = BOARD": "", "rpi1wire_sensors_dir_0 = /sys/bus/w1/devices/": "", "auto_start = True": "", "name = The": "The lamp",
		"is_primary = True": "", "name: House ; with a remark": "", "heartbeat = 2.5": "",
	}
	n, skip := 0, false
	for line := range strings.Lines(string(s.Data)) {
		n++
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			skip = line == "[off]" || line == "[alembic]" || line == "[house__orphan]" // told of as a whole
			continue
		}
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "hadd = ") || strings.HasPrefix(line, "components.") || skip || noted[n] {
			continue
		}
		if part, ok := carried[line]; !ok || !strings.Contains(string(r.YAML), part) {
			t.Errorf("line %d, %q, is neither in the configuration nor in a note", n, line)
		}
	}
	for _, secret := range []string{"secret"} {
		if strings.Contains(string(r.YAML), secret) || strings.Contains(fmt.Sprint(r.Notes), secret) {
			t.Errorf("%q was repeated", secret)
		}
	}
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("a%d = 1\n", 1)
	var keys, sections, spread strings.Builder
	keys.WriteString("[bus]\nhadd = 1/0\n")
	for i := range 6000 {
		fmt.Fprintf(&keys, many, i)
	}
	for i := range 600 {
		fmt.Fprintf(&sections, "[s%d]\n", i)
	}
	spread.WriteString("[DEFAULT]\n")
	for i := range 100 {
		fmt.Fprintf(&spread, "k%d = 1\n[s%d]\n[DEFAULT]\n", i, i)
	}
	for doc, want := range map[string]string{
		"":                        "x.conf: has no section with hadd or components.NAME: this is no file of a Janitoo server",
		"[system]\nservice = x\n": "x.conf: has no section with hadd or components.NAME: this is no file of a Janitoo server",
		"hadd = 1/0\n":            "x.conf:1: a line before any [section]: this is no file of Janitoo",
		"[bus\nhadd = 1/0\n":      "x.conf:1: no [section] with a name of at most 128 bytes",
		"[]\n":                    "x.conf:1: no [section] with a name of at most 128 bytes",
		"[bus]\nhadd\n":           "x.conf:2: neither a comment nor key = value",
		"[bus]\n= 5\n":            "x.conf:2: neither a comment nor key = value",
		"[bus]\n\x00\n":           "x.conf:2: has a NUL: this is no file of Janitoo",
		"[bus]\nname = \xff\n":    "x.conf: is not UTF-8",
		"[bus]\nx = " + strings.Repeat("x", 1025):     "x.conf:2: the value of x has more than 1024 bytes",
		"[bus]\nx = y\n " + strings.Repeat("x", 1025): "x.conf:3: the value of x has more than 1024 bytes",
		strings.Repeat("# x\n", 20_000):               "x.conf: has more than 65536 bytes",
		keys.String():                                 "x.conf:5002: there are more than 5000 keys",
		sections.String():                             "x.conf:501: there are more than 500 sections",
		spread.String():                               "x.conf:",
	} {
		_, err := janitoo.Import([]janitoo.Source{{Name: "x.conf", Data: []byte(doc)}}, janitoo.Options{})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Import(%.40q) = %v, want %s", doc, err, want)
		}
	}
	if _, err := janitoo.Import(make([]janitoo.Source, janitoo.MaxFiles+1), janitoo.Options{}); err == nil {
		t.Error("more files than allowed were read")
	}
}

// What Python's parser does with odd lines (Lib/ConfigParser.py), and what is said of what Janitoo would refuse.
func TestOddLines(t *testing.T) {
	t.Parallel()
	const bus = "[h]\nhadd = 1/0\ncomponents.load = hostsensor.load\ncomponents.ds = rpi1wire.ds18b20\n[h__load]\nhadd = 1/1\n[h__ds]\nhadd = 1/2\n"
	for more, want := range map[string]string{
		"[h__load]\nHADD: 1/3\n":                         "x.conf:6: [h__load] hadd stands in line 10 as well, which counts",
		"[h__load]\n":                                    "x.conf:9: [h__load] stands in line 5 as well; they count as one",
		"[h__ds]\nhexadd_0 = zz\n":                       "x.conf:10: [h__ds] hexadd_0: it is no address of a probe such as 28-000005e2fdc3",
		"[h__load]\nload_poll_0 = soon\n":                "x.conf:10: [h__load] load_poll_0: it is no delay in seconds, or shorter than 1s",
		"[h__load]\nload_poll_0 = nan\n":                 "x.conf:10: [h__load] load_poll_0: it is no delay in seconds, or shorter than 1s",
		"[h__load]\nload_poll_1 = 5\n":                   "x.conf:10: [h__load] load_poll_1: no agent has this value",
		"[h__load]\npartition_poll_0 = 5\n":              "x.conf:10: [h__load] partition_poll_0: no point of the agent is this value",
		"[system]\nbroker_port = 70000\n":                "x.conf:10: [system] broker_port: it is no port; 1883 stands for it",
		"[system]\nbroker_ip = a b\n":                    "x.conf:10: [system] broker_ip: it is neither a name nor an address; the embedded broker stands for it",
		"[system]\nhostname = status\n":                  "x.conf:10: [system] hostname: it can't be a host's name in topics; the machine's own stands for it",
		"[h__load]\nheartbeat = -1\n":                    "x.conf:10: [h__load] heartbeat: it is no delay from 1 to 3000 seconds",
		"rem [x]\n#\n;\nREM x\n[h__load]\nname = \x1b\n": "x.conf:14: [h__load] name: it is too long, or has characters that can't be printed",
	} {
		r, err := janitoo.Import([]janitoo.Source{{Name: "x.conf", Data: []byte(bus + more)}}, janitoo.Options{})
		if err != nil {
			t.Errorf("Import(%q) = %v", more, err)
			continue
		}
		checked(t, r.YAML)
		found := false
		for _, n := range r.Notes {
			found = found || n.String() == want
		}
		if !found {
			t.Errorf("Import(%q) notes %v, want %s", more, r.Notes, want)
		}
	}
}

// Whatever a file says, what comes of it is a configuration that agentd takes, and a password is nowhere.
func FuzzImport(f *testing.F) {
	for _, name := range []string{"everything", "jnt_fake", "jnt_hostsensor", "jnt_nut", "jnt_roomba", "jnt_tutorial"} {
		f.Add(source(f, name).Data)
	}
	f.Add([]byte("[status]\nhadd=1/0\ncomponents.get=hostsensor.picpu\ncomponents.status=hostsensor.picpu\ncomponents.=rpigpio.led\n[status__get]\n[status__status]\n[status__]\npin_0=3"))
	f.Add([]byte("[a]\nhadd=0/0\ncomponents.x=rpigpio.rgb\n[a__x]\npinr_0=1\nping_0=1\npinb_0=2\n"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		r, err := janitoo.Import([]janitoo.Source{{Name: "x.conf", Data: doc}}, janitoo.Options{})
		if err != nil {
			return
		}
		checked(t, r.YAML)
	})
}
