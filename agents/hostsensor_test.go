package agents

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rollcall/config"
	"rollcall/reports"
)

func TestHostsensorBoards(t *testing.T) {
	t.Parallel()
	for name, move := range map[string]func(*hostsensorBoard){
		"pi4": func(b *hostsensorBoard) { // 300 of 1,200 jiffies used; 15,000 bytes in, over the end of 32 bits
			b.edit("proc/812/net/dev", "4294960000", "7704", "90123400", "90125900")
			b.edit("proc/stat", "cpu  121040 312 60312 13453889", "cpu  121240 312 60412 13454789")
		},
		"pi5": func(b *hostsensorBoard) {
			b.edit("proc/977/net/dev", "9876543210", "9876558210", "90123400", "90125900")
			b.edit("proc/stat", "cpu  2104 0 1031 30155 120", "cpu  2304 0 1131 30955 220")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newHostsensorBoard(t, name)
			h := b.open("")
			b.at = b.at.Add(10 * time.Second)
			move(b)
			readings, err := h.SampleAll(t.Context(), hostsensorPaths(h))
			if err != nil {
				t.Fatal(err)
			}
			service := h.Describe()
			service.Name = "hostsensor"
			if err := service.Validate(); err != nil {
				t.Errorf("describe: %v", err)
			}
			var got []string
			for i, r := range readings {
				p := service.Points[i]
				if r.Path != p.Path || r.Unit != p.Unit || r.Time != b.at || r.Stale {
					t.Errorf("reading %+v of point %+v at %v", r, p, b.at)
				}
				if p.Label == "" || p.Access != reports.Get {
					t.Errorf("%s: label %q, access %v", p.Path, p.Label, p.Access)
				}
				dash := func(s string) string {
					if s == "" {
						return "-"
					}
					return s
				}
				got = append(got, strings.Join([]string{p.Path, reports.FormatValue(r.Value), dash(p.Unit), dash(p.Class),
					string(p.Genre), p.Poll.String()}, " "))
			}
			if diff := cmp.Diff(b.want, got); diff != "" {
				t.Errorf("points (-want +got):\n%s", diff)
			}
			if err := errors.Join(h.Close(), h.Close()); err != nil {
				t.Errorf("close twice: %v", err)
			}
		})
	}
}

func TestHostsensorLabels(t *testing.T) {
	t.Parallel()
	h := newHostsensorBoard(t, "pi5").open("")
	for path, want := range map[string]string{
		"temperature/nvme-sensor_1":           "Sensor 1",
		"temperature/rp1_adc":                 "rp1_adc",
		"disk/media-pi-USB_STICK/free":        "Free on /media/pi/USB STICK",
		"network/eth0.100/rx_rate":            "eth0.100 received",
		"throttling/throttled_since_boot":     "Throttled since boot",
		"disk/srv-a-b-2/used_percent":         "Used of /srv/a/b",
		"throttling/soft_temp_limit":          "Soft temperature limit",
		"temperature/nvme-composite-2":        "Composite",
		"disk/media-root-ro/total":            "Size of /media/root-ro",
		"memory/available":                    "Memory available",
		"temperature/pmic-thermal":            "pmic-thermal",
		"fan/pwmfan":                          "pwmfan",
		"throttling/frequency_capped":         "Frequency capped",
		"throttling/under_voltage":            "Under-voltage",
		"process/rss":                         "Memory of this program",
		"network/eth0.100/tx_rate":            "eth0.100 sent",
		"disk/media-pi-USB_STICK/total":       "Size of /media/pi/USB STICK",
		"load/15m":                            "Load, 15 minutes",
		"throttling/under_voltage_since_boot": "Under-voltage since boot",
	} {
		p, ok := h.Describe().Point(path)
		if !ok || p.Label != want {
			t.Errorf("label of %s = %q (there: %v), want %q", path, p.Label, ok, want)
		}
	}
}

func TestHostsensorRates(t *testing.T) {
	t.Parallel()
	b := newHostsensorBoard(t, "pi5")
	const dev, path = "proc/977/net/dev", "network/eth0/rx_rate"
	was := "9876543210"
	count := func(n string) { b.edit(dev, was, n); was = n }
	h := b.open("")
	for _, step := range []struct {
		name  string
		after time.Duration
		count string
		want  string
	}{
		{"at once, there is only one look", 0, "9876543210", "0 stale"},
		{"too soon", hostsensorWindow - 1, "9876543310", "0 stale"},
		{"a second after the start", 500*time.Millisecond + 1, "9876544210", "1000"},
		{"a get right after a poll gets its rate", time.Millisecond, "9876599999", "1000"},
		{"the poll after the get is not cut short", 9*time.Second + 999*time.Millisecond, "9876544310", "10"},
		{"reset: the last rate, stale", 10 * time.Second, "7000", "10 stale"},
		{"and still too soon", 100 * time.Millisecond, "8000", "10 stale"},
		{"a rate again", 900 * time.Millisecond, "9000", "2000"},
	} {
		b.at = b.at.Add(step.after)
		count(step.count)
		if got := hostsensorValue(t, h, path); got != step.want {
			t.Errorf("%s: rate %s, want %s", step.name, got, step.want)
		}
	}
	b.edit(dev, "eth0:", "gone:")
	if got := hostsensorValue(t, h, path); !strings.HasPrefix(got, "error: ") {
		t.Errorf("gone: rate %s", got)
	}
	b.edit(dev, "gone:", "eth0:")
	count("900000") // another interface of that name, for all that is known
	b.at = b.at.Add(time.Second)
	if got := hostsensorValue(t, h, path); got != "0 stale" {
		t.Errorf("back: rate %s, want none", got)
	}
}

func TestHostsensorDelta(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		was, is, want uint64
		ok            bool
	}{
		{0, 0, 0, true},
		{100, 250, 150, true},
		{1<<32 - 100, 50, 150, true},            // wrap at 32 bits
		{1<<40 + 5, 1<<40 + 7, 2, true},         // beyond them
		{1<<32 + 5, 50, 0, false},               // reset
		{1 << 20, 0, 0, false},                  // reset
		{1<<32 - 1, 1<<30 - 2, 1<<30 - 1, true}, // the most that counts as a wrap
		{1<<32 - 1, 1<<30 - 1, 0, false},        // more than that
		{1<<64 - 1, 0, 0, false},                // 64 bits do not wrap in our time
		{1<<64 - 10, 1<<64 - 1, 9, true},
	} {
		got, ok := hostsensorDelta(tt.was, tt.is)
		if ok != tt.ok || (ok && got != tt.want) {
			t.Errorf("hostsensorDelta(%d, %d) = %d, %v, want %d, %v", tt.was, tt.is, got, ok, tt.want, tt.ok)
		}
	}
}

func TestHostsensorCPU(t *testing.T) {
	t.Parallel()
	b := newHostsensorBoard(t, "pi5")
	h := b.open("")
	line := "cpu  2104 0 1031 30155 120 0 10 0 0 0"
	for _, step := range []struct{ name, line, want string }{
		{"no time has passed in the kernel", "cpu  2104 0 1031 30155 120 0 10 0 0 0", "0 stale"},
		{"idle", "cpu  2104 0 1031 30255 120 0 10 0 0 0", "0"},
		{"waiting for the disk is idle", "cpu  2104 0 1031 30255 220 0 10 0 0 0", "0"},
		{"guests are in user already", "cpu  2154 0 1031 30305 220 0 10 0 50 0", "50"},
		{"stolen time is used", "cpu  2154 0 1031 30380 220 0 10 25 50 0", "25"},
		{"iowait that went back", "cpu  2164 0 1031 30380 215 0 10 25 50 0", "100"},
		{"all of it", "cpu  2264 0 1031 30380 215 0 10 25 50 0", "100"},
		{"the counters went back", "cpu  1 0 1 1 1 0 1 1 1 0", "100 stale"},
	} {
		b.at = b.at.Add(time.Second)
		b.edit("proc/stat", line, step.line)
		line = step.line
		if got := hostsensorValue(t, h, "cpu/used"); got != step.want {
			t.Errorf("%s: %s %%, want %s", step.name, got, step.want)
		}
	}
}

// A mount, an interface or a sensor that goes away fails alone, and is there again once it is back.
func TestHostsensorVanished(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, file, is, gone string
		path, err            string
	}{
		{"mount", "proc/812/mountinfo", "/boot/firmware rw", "/boot/other rw", "disk/boot-firmware/free",
			"disk/boot-firmware/free: nothing is mounted on /boot/firmware any more"},
		{"interface", "proc/812/net/dev", "eth0:", "eth9:", "network/eth0/tx_rate", "network/eth0/tx_rate: interface eth0 is gone"},
		{"sensor", "sys/devices/virtual/thermal/thermal_zone0/hwmon0/temp1_input", "48686", "broken", "temperature/cpu_thermal",
			`temperature/cpu_thermal: "broken" is not a temperature in m°C`},
		{"throttling", "sys/devices/platform/soc/soc:firmware/get_throttled", "50005", "5000g", "throttling/throttled",
			`throttling/throttled: "5000g" is not a hexadecimal number`},
		{"uptime", "proc/uptime", "350735.47", "never", "uptime", `uptime: "never" is not a number of seconds`},
		{"memory", "proc/meminfo", "MemAvailable: ", "MemAvailible: ", "memory/available", "memory/available: the kernel does not tell it"},
		{"swap", "proc/meminfo", "SwapTotal: ", "SwopTotal: ", "swap/used_percent", "swap/used_percent: the kernel does not tell it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newHostsensorBoard(t, "pi4")
			h := b.open("")
			b.at = b.at.Add(10 * time.Second)
			b.edit(tt.file, tt.is, tt.gone)
			paths := hostsensorPaths(h)
			readings, err := h.SampleAll(t.Context(), paths)
			lines := strings.Split(fmt.Sprint(err), "\n")
			if len(readings) == 0 || len(readings)+len(lines) != len(paths) {
				t.Errorf("%d readings and %d errors of %d points: %v", len(readings), len(lines), len(paths), err)
			}
			for _, line := range lines {
				head, _, _ := strings.Cut(tt.err, "/")
				if !strings.HasPrefix(line, head) {
					t.Errorf("error of another point: %s", line)
				}
			}
			if got := hostsensorValue(t, h, tt.path); got != "error: "+tt.err {
				t.Errorf("sample = %s, want error: %s", got, tt.err)
			}
			b.edit(tt.file, tt.gone, tt.is)
			b.at = b.at.Add(10 * time.Second)
			if readings, err := h.SampleAll(t.Context(), paths); err != nil || len(readings) != len(paths) {
				t.Errorf("when it is back: %d readings of %d points, error %v", len(readings), len(paths), err)
			}
		})
	}
}

func TestHostsensorGoneFiles(t *testing.T) {
	t.Parallel()
	b := newHostsensorBoard(t, "pi4")
	h := b.open("")
	for _, f := range []string{"proc/loadavg", "proc/stat", "proc/meminfo", "proc/812/net/dev", "proc/812/mountinfo", "proc/812/stat"} {
		if err := os.Remove(filepath.Join(b.root, f)); err != nil {
			t.Fatal(err)
		}
	}
	readings, err := h.SampleAll(t.Context(), hostsensorPaths(h))
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want one that says that files are not there", err)
	}
	if len(readings) != 10 { // uptime, the temperature and eight bits
		t.Errorf("%d readings, want the 10 that need none of the files: %v", len(readings), readings)
	}
}

func TestHostsensorStatfsFails(t *testing.T) {
	t.Parallel()
	b := newHostsensorBoard(t, "pi4")
	h := b.open("")
	h.statfs = func(string, *unix.Statfs_t) error { return syscall.EIO }
	if got, want := hostsensorValue(t, h, "disk/root/free"), "error: disk/root/free: statfs /: input/output error"; got != want {
		t.Errorf("sample = %s, want %s", got, want)
	}
}

// Every option has an effect.
func TestHostsensorOptions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ options, gone, there string }{
		{`mounts: {exclude: ["/boot/*"]}`, "disk/boot-firmware/free", "disk/root/free"},
		{"mounts: {exclude: [/]}", "disk/root/free", "disk/boot-firmware/free"},
		{"mounts: {include: [/]}", "disk/boot-firmware/free", "disk/root/free"},
		{"mounts: {include: [/, /boot/firmware], exclude: [/]}", "disk/root/free", "disk/boot-firmware/free"},
		{`interfaces: {exclude: ["wlan*"]}`, "network/wlan0/rx_rate", "network/lo/rx_rate"},
		{"interfaces: {exclude: []}", "network/none/rx_rate", "network/docker0/rx_rate"},
		{`interfaces: {include: ["eth?"]}`, "network/wlan0/rx_rate", "network/eth0/rx_rate"},
		{"", "network/vethab12/rx_rate", "network/wlan0/rx_rate"},
	} {
		h := newHostsensorBoard(t, "pi4").open(tt.options)
		if _, ok := h.Describe().Point(tt.gone); ok {
			t.Errorf("%s: %s is there", tt.options, tt.gone)
		}
		if _, ok := h.Describe().Point(tt.there); !ok {
			t.Errorf("%s: %s is missing", tt.options, tt.there)
		}
	}
	h := newHostsensorBoard(t, "pi4").open("{poll: 3s, disk_poll: 5m}")
	for path, want := range map[string]string{"load/1m": "3s", "disk/root/free": "5m0s", "network/eth0/rx_rate": "3s", "throttling/throttled": "3s"} {
		if p, _ := h.Describe().Point(path); p.Poll.String() != want {
			t.Errorf("%s is polled every %s, want %s", path, p.Poll, want)
		}
	}
}

func TestHostsensorBadOptions(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		"poll: 100ms":                          "o:1: poll: 100ms is too often, at least 1s is needed",
		"\ndisk_poll: 0s":                      "o:2: disk_poll: 0s is too often, at least 1s is needed",
		"mounts: {include: [\"[\"]}":           `o:1: mounts.include: "[" is not a pattern: syntax error in pattern`,
		"mounts:\n  exclude: [\"a[\"]":         `o:2: mounts.exclude: "a[" is not a pattern: syntax error in pattern`,
		"interfaces: {include: [ok, \"[-]\"]}": `o:1: interfaces.include: "[-]" is not a pattern: syntax error in pattern`,
		"interfaces: {exclude: [\"[\"]}":       `o:1: interfaces.exclude: "[" is not a pattern: syntax error in pattern`,
		"mount: {}":                            `o:1: mount: unknown key; did you mean "mounts"?`,
		"poll: fast":                           `o:1: poll: "fast" is not a duration like 500ms, 10s or 1h30m`,
	} {
		node, err := config.ParseNode("o", []byte(options))
		if err == nil {
			err = node.Decode(hostsensorFactory().Defaults())
		}
		if err == nil || err.Error() != want {
			t.Errorf("options %q: error %v, want %s", options, err, want)
		}
	}
}

func TestHostsensorNoProc(t *testing.T) {
	t.Parallel()
	_, err := hostsensorFactory().New(hostsensorFactory().Defaults(), Deps{Root: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "/proc") {
		t.Errorf("without /proc: error %v, want one that names it", err)
	}
	if _, err := hostsensorFactory().New(&gpioOptions{}, Deps{}); err == nil {
		t.Error("the options of another agent are taken")
	}
}

// A host without sensors, throttling or network still has all else.
func TestHostsensorBareHost(t *testing.T) {
	t.Parallel()
	b := newHostsensorBoard(t, "pi4")
	if err := os.RemoveAll(filepath.Join(b.root, "sys")); err != nil {
		t.Fatal(err)
	}
	b.write("proc/812/net/dev", "Inter-|   Receive\n face |bytes\n")
	h := b.open("")
	for _, p := range h.Describe().Points {
		for _, none := range []string{"temperature/", "fan/", "throttling/", "network/"} {
			if strings.HasPrefix(p.Path, none) {
				t.Errorf("%s is there", p.Path)
			}
		}
	}
	if got := hostsensorValue(t, h, "load/1m"); got != "0.52" {
		t.Errorf("load/1m = %s, want 0.52", got)
	}
}

func TestHostsensorDeadSensorLeftOut(t *testing.T) {
	t.Parallel()
	b := newHostsensorBoard(t, "pi5")
	b.write("sys/devices/virtual/thermal/thermal_zone1/temp", "\n")
	h := b.open("")
	if _, ok := h.Describe().Point("temperature/pmic-thermal"); ok {
		t.Error("a sensor that can't be read is there")
	}
	if _, ok := h.Describe().Point("temperature/cpu_thermal"); !ok {
		t.Error("the others are not")
	}
}

// One look reads each file once: what changes during it is seen in the next one.
func TestHostsensorOneLook(t *testing.T) {
	t.Parallel()
	b := newHostsensorBoard(t, "pi4")
	h := b.open("")
	s := h.scan()
	if _, err := h.sample(s, "load/1m"); err != nil {
		t.Fatal(err)
	}
	b.edit("proc/loadavg", "0.58", "9.99")
	if r, err := h.sample(s, "load/5m"); err != nil || r.Value != 0.58 {
		t.Errorf("same look: %v, %v, want 0.58", r.Value, err)
	}
	if got := hostsensorValue(t, h, "load/5m"); got != "9.99" {
		t.Errorf("next look: %s, want 9.99", got)
	}
}

func TestHostsensorContext(t *testing.T) {
	t.Parallel()
	h := newHostsensorBoard(t, "pi4").open("")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Sample(ctx, "load/1m"); !errors.Is(err, context.Canceled) {
		t.Errorf("Sample: %v, want %v", err, context.Canceled)
	}
	if r, err := h.SampleAll(ctx, []string{"load/1m"}); len(r) != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("SampleAll: %v, %v, want %v", r, err, context.Canceled)
	}
	if _, err := h.Sample(t.Context(), "load/2m"); reports.CodeOf(err) != reports.CodeUnknown {
		t.Errorf("unknown point: %v, want code %s", err, reports.CodeUnknown)
	}
}

// The host that the test runs on.
func TestHostsensorThisHost(t *testing.T) {
	t.Parallel()
	f := hostsensorFactory()
	a, err := f.New(f.Defaults(), Deps{})
	if err != nil {
		t.Fatal(err)
	}
	h := a.(*hostsensor)
	service := h.Describe()
	service.Name = "hostsensor"
	if err := service.Validate(); err != nil {
		t.Error(err)
	}
	readings, err := h.SampleAll(t.Context(), hostsensorPaths(h))
	if err != nil {
		t.Error(err)
	}
	values := map[string]any{}
	for _, r := range readings {
		p, _ := service.Point(r.Path)
		if _, err := p.ParseValue(r.Value); err != nil {
			t.Errorf("%s = %v: %v", r.Path, r.Value, err)
		}
		values[r.Path] = r.Value
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	rss, _ := values["process/rss"].(int64)
	total, _ := values["memory/total"].(int64)
	if rss < 1<<20 || rss > total {
		t.Errorf("process/rss = %d of %d bytes", rss, total)
	}
	var st unix.Statfs_t
	if err := unix.Statfs("/", &st); err != nil {
		t.Fatal(err)
	}
	if want := int64(st.Blocks) * int64(st.Bsize); values["disk/root/total"] != want {
		t.Errorf("disk/root/total = %v, want %d", values["disk/root/total"], want)
	}
	if up, _ := values["uptime"].(int64); up <= 0 {
		t.Errorf("uptime = %v", values["uptime"])
	}
}

func FuzzHostsensorTexts(f *testing.F) {
	for _, s := range []string{"350735.47 1.0", "48686", "-5150", "50005", "0x50005", "", "nan", "1e308", "99999999999999999999", "\\040", "/boot/firmware",
		"/", "\\", "\\777", "Sensor 1", "°", "a\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := hostsensorUptime(s, nil); err == nil && v.(int64) < 0 {
			t.Errorf("uptime %q = %v", s, v)
		}
		if v, err := hostsensorMilli(s, nil); err == nil && (v.(float64) > 3e6 || v.(float64) < -3e6) {
			t.Errorf("temperature %q = %v", s, v)
		}
		if v, err := hostsensorRPM(s, nil); err == nil && v.(int64) < 0 {
			t.Errorf("fan %q = %v", s, v)
		}
		if v, err := hostsensorThrottled(s, nil); err == nil && v > 1<<32 {
			t.Errorf("throttled %q = %v", s, v)
		}
		if got := hostsensorUnescape(s); len(got) > len(s) {
			t.Errorf("unescape %q = %q", s, got)
		}
		seen := map[string]bool{}
		for range 2 {
			for _, segment := range []string{hostsensorSegment(s), hostsensorMountSegment(s)} {
				path := "disk/" + reports.Unique(seen, segment) + "/used_percent"
				if err := reports.ValidPath(path); err != nil {
					t.Errorf("path of %q: %v", s, err)
				}
			}
		}
		if len(seen) != 4 {
			t.Errorf("%q: %d of 4 paths are different", s, len(seen))
		}
	})
}

func BenchmarkHostsensorSampleAll(b *testing.B) {
	f := hostsensorFactory()
	a, err := f.New(f.Defaults(), Deps{})
	if err != nil {
		b.Fatal(err)
	}
	h := a.(*hostsensor)
	paths := hostsensorPaths(h)
	for b.Loop() {
		if _, err := h.SampleAll(b.Context(), paths); err != nil {
			b.Fatal(err)
		}
	}
}
