//go:build linux

package agents

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKernelThermal reads a thermal zone of a real kernel: that of the battery which the driver test_power makes up (26 tenths of
// a degree), and what its file emul_temp says instead (Documentation/driver-api/thermal/sysfs-api.rst).
func TestKernelThermal(t *testing.T) {
	if os.Getenv("ROLLCALL_GUEST") != "1" {
		t.Skip("needs the lab's kernel; run by make lab")
	}
	zones, _ := filepath.Glob("/sys/class/thermal/thermal_zone*") // the pattern is no bad one
	zone := ""
	for _, z := range zones {
		if is, err := sensorFile(filepath.Join(z, "type")); err == nil && is == "test_battery" {
			zone = z
		}
	}
	if zone == "" {
		t.Fatalf("no zone test_battery among %v", zones)
	}
	a, err := iioStart(t, cpuFactory(), "{zone: test_battery, vcgencmd: none}", Deps{})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		emulated string
		want     float64
	}{{"", 2.6}, {"85200", 85.2}, {"-7000", -7}, {"0", 2.6}} {
		if test.emulated != "" {
			if err := os.WriteFile(filepath.Join(zone, "emul_temp"), []byte(test.emulated), 0); err != nil {
				t.Fatal(err)
			}
		}
		r, err := a.(Sampler).Sample(t.Context(), "temperature")
		if err != nil || r.Value != test.want {
			t.Errorf("emulated %q: %v, %v, want %v", test.emulated, r.Value, err, test.want)
		}
	}
}

// TestKernelHwmon has hostsensor read the same temperature from the device that hwmon shows for the battery.
func TestKernelHwmon(t *testing.T) {
	if os.Getenv("ROLLCALL_GUEST") != "1" {
		t.Skip("needs the lab's kernel; run by make lab")
	}
	a, err := iioStart(t, hostsensorFactory(), "{}", Deps{})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, p := range a.Describe().Points {
		if !strings.HasPrefix(p.Path, "temperature/") {
			continue
		}
		r, err := a.(Sampler).Sample(t.Context(), p.Path)
		t.Logf("%s (%s): %v, %v", p.Path, p.Help, r.Value, err)
		if err == nil && r.Value == 2.6 {
			found++
		}
	}
	if found == 0 {
		t.Error("no temperature of 2.6 °C")
	}
}
