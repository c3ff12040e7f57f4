package agents

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"rollcall/reports"
)

const (
	cpuPolicy0  = "sys/devices/system/cpu/cpufreq/policy0/"
	cpuFirmware = "sys/devices/platform/soc/soc:firmware/"
)

// cpuValues returns the points of the agent with what they are, and what is wrong.
func cpuValues(t *testing.T, a Agent) (values []string, wrong error) {
	t.Helper()
	service := a.Describe()
	service.Name = "cpu"
	if err := service.Validate(); err != nil {
		t.Errorf("describe: %v", err)
	}
	var paths []string
	for _, p := range service.Points {
		paths = append(paths, p.Path)
	}
	readings, err := a.(BatchSampler).SampleAll(t.Context(), paths)
	for _, r := range readings {
		p, _ := service.Point(r.Path)
		values = append(values, strings.TrimSpace(r.Path+" "+reports.FormatValue(r.Value)+" "+p.Unit))
	}
	return values, err
}

// cpuVcgencmd installs a program in the tree that answers as the firmware does; what it is asked for is a line of the file asked.
func cpuVcgencmd(x iioTree, at, script string) {
	x.t.Helper()
	x.write(at, "#!/bin/sh\necho \"$*\" >>"+filepath.Join(x.root, "asked")+"\n"+script)
	if err := os.Chmod(filepath.Join(x.root, at), 0o755); err != nil {
		x.t.Fatal(err)
	}
}

const cpuAnswers = "case \"$*\" in\n'measure_volts core') echo volt=0.8563V ;;\nget_throttled) echo throttled=0x50000 ;;\n*) echo 'error=1 error_msg=\"Command not registered\"'; exit 255 ;;\nesac\n"

func cpuBits(on ...string) []string {
	var out []string
	for _, b := range []string{"under_voltage", "frequency_capped", "throttled", "soft_temp_limit"} {
		for _, tail := range []string{"", "_since_boot"} {
			state := "OFF"
			if slices.Contains(on, b+tail) {
				state = "ON"
			}
			out = append(out, "throttling/"+b+tail+" "+state)
		}
	}
	return out
}

func TestCPUBoards(t *testing.T) {
	t.Parallel()
	pi4 := []string{"temperature 48.7 °C", "frequency/policy0 1500 MHz", "governor/policy0 ondemand"}
	for _, tt := range []struct {
		name, tree, options string
		change              func(iioTree)
		want                []string
	}{
		{"Pi 4", "pi4", "", nil, append(slices.Clone(pi4), cpuBits("under_voltage", "throttled", "under_voltage_since_boot", "throttled_since_boot")...)},
		{"Pi 5", "pi5", "", nil, append([]string{"temperature 55.6 °C", "frequency/policy0 2400 MHz", "governor/policy0 performance"},
			cpuBits("soft_temp_limit", "frequency_capped_since_boot", "soft_temp_limit_since_boot")...)},
		{"another zone", "pi5", "zone: pmic-thermal", nil, append([]string{"temperature 61.2 °C", "frequency/policy0 2400 MHz", "governor/policy0 performance"},
			cpuBits("soft_temp_limit", "frequency_capped_since_boot", "soft_temp_limit_since_boot")...)},
		{"vcgencmd for the voltage", "pi4", "", func(x iioTree) { cpuVcgencmd(x, "usr/bin/vcgencmd", cpuAnswers) },
			append(append(slices.Clone(pi4), "voltage 0.8563 V"), cpuBits("under_voltage", "throttled", "under_voltage_since_boot", "throttled_since_boot")...)},
		{"vcgencmd for the bits", "pi4", "", func(x iioTree) {
			cpuVcgencmd(x, "opt/vc/bin/vcgencmd", cpuAnswers)
			x.rename(cpuFirmware+"get_throttled", "away")
		}, append(append(slices.Clone(pi4), "voltage 0.8563 V"), cpuBits("under_voltage_since_boot", "throttled_since_boot")...)},
		{"hwmon alone, vcgencmd not wanted", "pi4", "vcgencmd: none", func(x iioTree) {
			cpuVcgencmd(x, "usr/bin/vcgencmd", cpuAnswers)
			x.rename(cpuFirmware+"get_throttled", "away")
		}, append(slices.Clone(pi4), "throttling/under_voltage ON")},
		{"no firmware", "pi5", "", func(x iioTree) { x.rename("sys/devices/platform/soc@107c000000", "away") },
			[]string{"temperature 55.6 °C", "frequency/policy0 2400 MHz", "governor/policy0 performance"}},
		{"no program", "pi4", "", func(x iioTree) { x.write("usr/bin/vcgencmd", "text") }, // not executable
			append(slices.Clone(pi4), cpuBits("under_voltage", "throttled", "under_voltage_since_boot", "throttled_since_boot")...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tree := newIIOTree(t, "cpu/"+tt.tree)
			if tt.change != nil {
				tt.change(tree)
			}
			a, err := tree.start(cpuFactory(), tt.options)
			if err != nil {
				t.Fatal(err)
			}
			got, err := cpuValues(t, a)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%v\n%s\nwant\n%s", err, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if _, ok := a.(Actuator); ok {
				t.Error("it can be set")
			}
		})
	}
}

// All bits of a look are of one run of vcgencmd.
func TestCPUAsksOnce(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "cpu/pi4")
	cpuVcgencmd(tree, "usr/bin/vcgencmd", cpuAnswers)
	tree.rename(cpuFirmware+"get_throttled", "away")
	a, err := tree.start(cpuFactory(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cpuValues(t, a); err != nil {
		t.Error(err)
	}
	if got := tree.read("asked"); got != "measure_volts core\nget_throttled" && got != "get_throttled\nmeasure_volts core" {
		t.Errorf("vcgencmd was asked %q", got)
	}
}

// A vcgencmd that fails, hangs or raves takes nothing but its own points with it.
func TestCPUVcgencmdFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ script, want string }{
		"no rights": {"echo \"Can't open device file: /dev/vcio\" >&2; exit 255", "vcgencmd measure_volts has ended with 255: \"Can't open device file: /dev/vcio\" (the user must be in the group video"},
		"error":     {"echo 'error=1 error_msg=\"Command not registered\"'", "the firmware says"},
		"nonsense":  {"echo volt=hot", `"volt=hot" is no voltage`},
		"too much":  {"while :; do echo 0123456789012345678901234567890123456789; done", "1024 bytes"},
		"hangs":     {"exec sleep 60", "runs for more than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := newIIOTree(t, "cpu/pi4")
			cpuVcgencmd(tree, "usr/bin/vcgencmd", tt.script)
			a, err := tree.start(cpuFactory(), "")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			readings, err := a.(BatchSampler).SampleAll(ctx, []string{"voltage", "temperature", "throttling/throttled"})
			if len(readings) != 2 || err == nil || !strings.HasPrefix(err.Error(), "voltage: vcgencmd") && !strings.HasPrefix(err.Error(), "voltage: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%d readings, %v, want %s", len(readings), err, tt.want)
			}
		})
	}
}

// What is unplugged fails alone, and is back by itself, whatever its number then.
func TestCPUUnplugged(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "cpu/pi4")
	a, err := tree.start(cpuFactory(), "")
	if err != nil {
		t.Fatal(err)
	}
	before, _ := cpuValues(t, a)
	tree.rename("sys/class/thermal/thermal_zone0", "sys/class/thermal/away")
	tree.rename(cpuPolicy0+"scaling_cur_freq", cpuPolicy0+"away")
	tree.rename(cpuPolicy0+"scaling_governor", cpuPolicy0+"governor")
	tree.rename(cpuFirmware+"get_throttled", "away")
	values, err := cpuValues(t, a)
	if len(values) != 0 || !strings.Contains(err.Error(), "temperature: thermal zone cpu-thermal is gone") || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, %v", values, err)
	}
	tree.write("sys/class/thermal/thermal_zone3/type/x", "") // it can't be read
	if _, err := cpuValues(t, a); err == nil || !strings.Contains(err.Error(), "temperature: thermal zone cpu-thermal: open") || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a zone that can't be looked at: %v", err)
	}
	tree.rename("sys/class/thermal/away", "sys/class/thermal/thermal_zone7")
	tree.rename(cpuPolicy0+"away", cpuPolicy0+"scaling_cur_freq")
	tree.rename(cpuPolicy0+"governor", cpuPolicy0+"scaling_governor")
	tree.rename("away", cpuFirmware+"get_throttled")
	if after, err := cpuValues(t, a); err != nil || !slices.Equal(before, after) {
		t.Errorf("back: %v, %v", after, err)
	}
	tree.write(cpuPolicy0+"scaling_governor", "mine\n")
	if _, err := cpuValues(t, a); err == nil || !strings.Contains(err.Error(), `governor/policy0: the kernel has the governor "mine"`) {
		t.Errorf("another governor: %v", err)
	}
}

func TestCPUGovernor(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "cpu/pi5")
	a, err := tree.start(cpuFactory(), "set_governor: true")
	if err != nil {
		t.Fatal(err)
	}
	p, _ := a.Describe().Point("governor/policy0")
	if p.Access != reports.Get|reports.Set || !slices.Equal(p.Options, []string{"conservative", "ondemand", "userspace", "powersave", "performance", "schedutil"}) {
		t.Errorf("point %+v", p)
	}
	set := func(path string, v any) error {
		r, err := a.(Actuator).Apply(t.Context(), reports.Command{Verb: "set", Path: path, Value: v})
		if err == nil && r.Value != v {
			t.Errorf("%s reads back %v, want %v", path, r.Value, v)
		}
		return err
	}
	if err := set("governor/policy0", "powersave"); err != nil || tree.read(cpuPolicy0+"scaling_governor") != "powersave" {
		t.Errorf("set: %v, the file has %q", err, tree.read(cpuPolicy0+"scaling_governor"))
	}
	for path, v := range map[string]any{"temperature": "performance", "governor/policy9": "performance", "governor/policy0": true} {
		if set(path, v) == nil {
			t.Errorf("%s can be set to %v", path, v)
		}
	}
	tree.rename(cpuPolicy0+"scaling_governor", "away")
	if err := set("governor/policy0", "performance"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file: %v", err)
	}
}

func TestCPUWriteForbidden(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		withoutOverride(t)
	}
	tree := newIIOTree(t, "cpu/pi5")
	name := filepath.Join(tree.root, cpuPolicy0+"scaling_governor")
	if err := os.Chmod(name, 0o444); err != nil {
		t.Fatal(err)
	}
	if err := cpuWrite(name, "powersave"); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "tmpfiles.d") {
		t.Errorf("cpuWrite = %v", err)
	}
}

// withoutOverride takes from root, on this thread, the right to write what its mode forbids; the thread ends with the test.
func withoutOverride(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		t.Fatal(err)
	}
	sets[0].Effective &^= 1 << unix.CAP_DAC_OVERRIDE
	if err := unix.Capset(&header, &sets[0]); err != nil {
		t.Fatal(err)
	}
}

func TestCPUNothing(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for options, want := range map[string]string{
		"":                             "the kernel tells nothing of the processor",
		"\nzone: cpu-thermal":          "options.yaml:2: zone: there is no thermal zone at all",
		"\nvcgencmd: /usr/bin/vcgencm": `options.yaml:2: vcgencmd: "/usr/bin/vcgencm" is no program`,
		"vcgencmd: vcgencmd":           `options.yaml:1: vcgencmd: "vcgencmd" is neither an absolute path nor none`,
		"poll: 1ms":                    "options.yaml:1: poll: 1ms is too often, at least 1s is needed",
		"volts: true":                  "options.yaml:1: volts: unknown key",
	} {
		if _, err := iioStart(t, cpuFactory(), options, Deps{Root: empty}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", options, err, want)
		}
	}
	if _, err := newIIOTree(t, "cpu/pi5").start(cpuFactory(), "zone: gpu-thermal"); err == nil || !strings.Contains(err.Error(), `no thermal zone "gpu-thermal", but pmic-thermal, cpu-thermal`) {
		t.Errorf("another zone: %v", err)
	}
	if _, err := cpuFactory().New(&gpioOptions{}, Deps{}); err == nil {
		t.Error("the options of another agent are taken")
	}
}

func TestCPUSimulated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []string
		for range 2 {
			a, err := iioStart(t, cpuFactory(), "sim: true", Deps{Root: "/nowhere"})
			if err != nil {
				t.Fatal(err)
			}
			values, err := cpuValues(t, a)
			if err != nil || !a.Describe().Simulated {
				t.Errorf("%v, simulated %v", err, a.Describe().Simulated)
			}
			got = append(got, strings.Join(values, ", "))
		}
		if got[0] != got[1] || !strings.HasPrefix(got[0], "simulated ON, temperature ") {
			t.Errorf("values %q", got)
		}
	})
}

func FuzzCPUTexts(f *testing.F) {
	for _, s := range []string{"1500000", "volt=0.8563V", "volt=NaNV", "volt=1e300V", "volt=V", "", "-1", "99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := cpuMegahertz(s, nil); err == nil && (v.(int64) < 0 || v.(int64) > 1<<31) {
			t.Errorf("clock %q = %v", s, v)
		}
		if v, err := cpuVolts(s, nil); err == nil && !(v.(float64) >= 0 && v.(float64) <= cpuMostVolts) {
			t.Errorf("voltage %q = %v", s, v)
		}
	})
}
