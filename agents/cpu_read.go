package agents

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rollcall/reports"
)

// cpuPolicy is a group of cores that share a clock (Documentation/admin-guide/pm/cpufreq.rst, "Policy Interface in sysfs"). All
// cores of a Raspberry Pi are policy0.
type cpuPolicy struct {
	name, dir string
	governors []string // that there are; none: the kernel has no governor for it
	least     *float64 // MHz
	most      *float64
}

// cpuPolicies returns the policies below root.
func cpuPolicies(root string) []cpuPolicy {
	var out []cpuPolicy
	for _, dir := range hostsensorNumbered(filepath.Join(root, "sys/devices/system/cpu/cpufreq/policy*")) {
		p := cpuPolicy{name: filepath.Base(dir), dir: dir}
		if text, err := sensorFile(filepath.Join(dir, "scaling_available_governors")); err == nil {
			p.governors = strings.Fields(text)
		}
		for file, bound := range map[string]**float64{"cpuinfo_min_freq": &p.least, "cpuinfo_max_freq": &p.most} {
			if mhz, err := cpuMegahertz(sensorFile(filepath.Join(dir, file))); err == nil {
				*bound = reports.Ptr(float64(mhz.(int64)))
			}
		}
		out = append(out, p)
	}
	return out
}

func (p cpuPolicy) frequencyPoint() reports.Point {
	help := "Clock of the cores of " + p.name
	if p.least != nil && p.most != nil {
		help += fmt.Sprintf(", from %v to %v MHz", *p.least, *p.most)
	}
	return reports.Point{Path: "frequency/" + p.name, Label: "Clock", Help: help, Type: reports.Int, Unit: "MHz", Class: "frequency", Min: reports.Ptr(0), Genre: reports.Basic,
		Janitoo: p.janitoo("frequency")}
}

func (p cpuPolicy) governorPoint() reports.Point {
	return reports.Point{Path: "governor/" + p.name, Label: "Governor", Help: "What decides on the clock of " + p.name, Type: reports.Enum, Options: p.governors,
		Genre: reports.Config, Janitoo: p.janitoo("cpu_governor")}
}

// janitoo returns what Janitoo calls a value of the policy. It knows one group of cores.
func (p cpuPolicy) janitoo(value string) string {
	if p.name != "policy0" {
		return ""
	}
	return "hostsensor.picpu/" + value
}

// governor reads which governor there is.
func (p cpuPolicy) governor() (any, error) {
	is, err := sensorFile(filepath.Join(p.dir, "scaling_governor"))
	if err == nil && !slices.Contains(p.governors, is) {
		return nil, fmt.Errorf("the kernel has the governor %.40q, which was not there at the start", is)
	}
	return is, err
}

// cpuGoverned is the agent with a governor that can be set.
type cpuGoverned struct{ *cpu }

// Apply sets a governor and reads it back.
func (a *cpuGoverned) Apply(ctx context.Context, c reports.Command) (reports.Reading, error) {
	if err := ctx.Err(); err != nil {
		return reports.Reading{}, err
	}
	p, ok := a.set[c.Path]
	want, isText := c.Value.(string)
	switch {
	case c.Verb != "set" || !isText:
		return reports.Reading{}, reports.Errorf(reports.CodeUnsupported, "cpu: %s with a %T is not known", c.Verb, c.Value)
	case !ok:
		return reports.Reading{}, reports.Errorf(reports.CodeUnknown, "%.140q is no governor", c.Path)
	}
	if err := cpuWrite(filepath.Join(p.dir, "scaling_governor"), want); err != nil {
		return reports.Reading{}, fmt.Errorf("%s: %w", c.Path, err)
	}
	r, err := a.Sample(ctx, c.Path)
	if err == nil && r.Value != want {
		return r, reports.Errorf(reports.CodeDevice, "%s: the kernel took %s for an answer, but has %v", c.Path, want, r.Value)
	}
	return r, err
}

// cpuWrite writes a file of cpufreq.
func cpuWrite(name, text string) error {
	err := sensorWrite(name, text)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w (the user needs the right to write this file: a line in /etc/tmpfiles.d gives it to a group)", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w (the service's unit must not set ProtectKernelTunables)", err)
	}
	return err
}

// cpuMegahertz reads a clock of cpufreq, which is in kHz (cpufreq.rst).
func cpuMegahertz(text string, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(text, 10, 40)
	if err != nil {
		return nil, fmt.Errorf("%.40q is no clock in kHz", text)
	}
	return int64(math.Round(float64(n) / 1000)), nil
}

// cpuUnderVoltage reads the alarm of the driver raspberrypi-hwmon (Documentation/hwmon/raspberrypi-hwmon.rst): on since the supply
// was last seen below its limit, until it has looked again, every 2 s.
func cpuUnderVoltage(root string) (any, error) {
	for _, dir := range hostsensorNumbered(filepath.Join(root, "sys/class/hwmon/hwmon*")) {
		if name, err := sensorFile(filepath.Join(dir, "name")); err == nil && name == "rpi_volt" {
			text, err := sensorFile(filepath.Join(dir, "in0_lcrit_alarm"))
			if err != nil {
				return nil, err
			}
			if text != "0" && text != "1" {
				return nil, fmt.Errorf("%.40q is no alarm", text)
			}
			return text == "1", nil
		}
	}
	return nil, fmt.Errorf("there is no hwmon device rpi_volt: %w", fs.ErrNotExist)
}

// cpuVcgencmds is where vcgencmd is installed: by Raspberry Pi OS 12 and 11, and before.
var cpuVcgencmds = [...]string{"/usr/bin/vcgencmd", "/opt/vc/bin/vcgencmd"}

// findVcgencmd finds vcgencmd. One that is named must be there.
func (a *cpu) findVcgencmd(d Deps) error {
	paths := cpuVcgencmds[:]
	switch a.o.Vcgencmd {
	case cpuNoVcgencmd:
		return nil
	case "":
	default:
		paths = []string{a.o.Vcgencmd}
	}
	for _, p := range paths {
		file := filepath.Join(a.root, p)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			a.vcgencmd = file
			return nil
		}
	}
	if a.o.Vcgencmd != "" {
		return iioAt(d, "vcgencmd", "%.100q is no program: install raspi-utils, or say none", a.o.Vcgencmd)
	}
	return nil
}

const (
	// cpuPatience is how long vcgencmd may run; it takes some milliseconds.
	cpuPatience = 2 * time.Second
	cpuMostSaid = 1024
)

// ask runs vcgencmd.
func (a *cpu) ask(ctx context.Context, words ...string) (string, error) {
	ran, err := execRun(ctx, execOptions{Command: append([]string{a.vcgencmd}, words...), Timeout: reports.Duration(cpuPatience), MaxOutput: cpuMostSaid})
	said := strings.TrimSpace(string(ran.stdout))
	switch {
	case err != nil:
		return "", fmt.Errorf("vcgencmd %s: %w", words[0], err)
	case ran.status != 0:
		return "", fmt.Errorf("vcgencmd %s has ended with %d: %.100q (the user must be in the group video, which may open /dev/vcio)", words[0], ran.status,
			strings.TrimSpace(said+" "+string(ran.stderr)))
	case strings.HasPrefix(said, "error="):
		return "", fmt.Errorf("vcgencmd %s: the firmware says %.100q", words[0], said)
	}
	return said, nil
}

// cpuMostVolts is more than any core can bear.
const cpuMostVolts = 5

// cpuVolts reads what vcgencmd measure_volts prints: volt=0.8563V.
func cpuVolts(text string, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	number, ok := strings.CutPrefix(text, "volt=")
	number, unit := strings.CutSuffix(number, "V")
	v, err := strconv.ParseFloat(number, 64)
	if !ok || !unit || err != nil || !(v >= 0 && v <= cpuMostVolts) {
		return nil, fmt.Errorf("%.100q is no voltage as volt=0.8563V", text)
	}
	return v, nil
}
