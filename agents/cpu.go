package agents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

// The cpu agent reports on the processor: its temperature, the clock and the governor of each group of cores that share them,
// the core's voltage, and whether the firmware holds it down. It reads what the kernel has in thermal, cpufreq and hwmon;
// vcgencmd of the Raspberry Pi is run only where it is installed, for what the kernel does not tell.

func cpuFactory() Factory {
	return Factory{
		Name:    "cpu",
		Doc:     "The processor: temperature, clock, governor, core voltage and throttling.",
		Wiring:  cpuWiring,
		Example: "sim: true\npoll: 10s\n",
		Defaults: func() Options {
			return &cpuOptions{Poll: reports.Duration(10 * time.Second)}
		},
		New: func(o Options, d Deps) (Agent, error) {
			opts, ok := o.(*cpuOptions)
			if !ok {
				return nil, fmt.Errorf("cpu: options are a %T", o)
			}
			return newCPU(*opts, d, time.Now)
		},
	}
}

// cpuWiring is Factory.Wiring.
const cpuWiring = `Nothing is connected. Reading temperature, clock, governor and the kernel's throttling bits needs no rights.

The core's voltage comes from ` + "`vcgencmd`" + ` alone (package raspi-utils, before Debian 12 libraspberrypi-bin), which needs the device
/dev/vcio: the user must be in the group video. ` + "`vcgencmd: none`" + ` does without it.

With ` + "`set_governor: true`" + ` the governor can be set. The user needs the right to write it: a line such as
` + "`z /sys/devices/system/cpu/cpufreq/policy0/scaling_governor 0664 root gpio - -`" + ` in /etc/tmpfiles.d/cpufreq.conf gives it to a group, and the unit of
the service must not have ProtectKernelTunables.`

// cpuOptions are the options of the cpu agent.
type cpuOptions struct {
	Poll        reports.Duration `yaml:"poll" doc:"how often everything is read"`
	Zone        string           `yaml:"zone" doc:"type of the thermal zone whose temperature is reported (/sys/class/thermal/thermal_zone*/type); default: that of the processor"`
	Vcgencmd    string           `yaml:"vcgencmd" doc:"absolute path of vcgencmd, or none; default: /usr/bin/vcgencmd or /opt/vc/bin/vcgencmd where it is installed"`
	SetGovernor bool             `yaml:"set_governor" doc:"whether the governor can be set over MQTT"`
	Sim         bool             `yaml:"sim" doc:"made-up values instead of hardware; only when asked for"`
}

// cpuNoVcgencmd is the option vcgencmd that does without it.
const cpuNoVcgencmd = "none"

// Validate checks the options without the hardware.
func (o *cpuOptions) Validate() error {
	switch {
	case time.Duration(o.Poll) < hostsensorLeastPoll:
		return config.At("poll", "%s is too often, at least %s is needed", o.Poll, hostsensorLeastPoll)
	case o.Vcgencmd != "" && o.Vcgencmd != cpuNoVcgencmd && !filepath.IsAbs(o.Vcgencmd):
		return config.At("vcgencmd", "%.100q is neither an absolute path nor none", o.Vcgencmd)
	}
	return nil
}

// cpu is the agent. Its seam is the files below root, of which one, vcgencmd, is run.
type cpu struct {
	*snapshot[cpuLook]
	o        cpuOptions
	root     string
	vcgencmd string               // "": there is none
	set      map[string]cpuPolicy // by the path of a governor that can be set
}

// cpuLook is one look at the firmware, which is asked once for all bits, and only if a point needs them.
type cpuLook struct {
	ctx  context.Context
	bits func() (uint64, error)
}

func newCPU(o cpuOptions, d Deps, now func() time.Time) (Agent, error) {
	a := &cpu{o: o, root: iioRoot(d), set: map[string]cpuPolicy{}}
	a.snapshot = newSnapshot(newSensor("cpu", o.Sim), a.lookAt)
	a.least = hostsensorLeastPoll
	if o.Sim {
		a.simulate(now)
		return a.agent(), nil
	}
	before := len(a.service.Points)
	if err := a.findVcgencmd(d); err != nil {
		return nil, err
	}
	if err := a.findZone(d); err != nil {
		return nil, err
	}
	for _, p := range cpuPolicies(a.root) {
		a.describePolicy(p)
	}
	if a.vcgencmd != "" {
		a.take(cpuVoltagePoint(), func(l cpuLook) (any, error) { return cpuVolts(a.ask(l.ctx, "measure_volts", "core")) })
	}
	a.findThrottling()
	if len(a.service.Points) == before {
		return nil, errors.New("the kernel tells nothing of the processor: there is no thermal zone of it, no cpufreq and no throttling; a virtual machine has none of them")
	}
	return a.agent(), nil
}

// agent returns the agent with what it can do: without a governor to be set it is no Actuator.
func (a *cpu) agent() Agent {
	if len(a.set) == 0 {
		return a
	}
	return &cpuGoverned{a}
}

// take adds a point that is polled.
func (a *cpu) take(p reports.Point, pick func(cpuLook) (any, error)) {
	p.Poll = a.o.Poll
	a.snapshot.take(p, pick)
}

// cpuZones are what the thermal zone of the processor is called: by the device trees of the Raspberry Pis (bcm283x.dtsi, bcm2711.dtsi,
// bcm2712.dtsi: cpu-thermal), by those of other boards, and on PCs.
var cpuZones = [...]string{"cpu-thermal", "cpu_thermal", "soc-thermal", "soc_thermal", "bcm2835_thermal", "x86_pkg_temp"}

// findZone adds the temperature. The zones are numbered as their drivers were loaded, so the type is what counts.
func (a *cpu) findZone(d Deps) error {
	want := cpuZones[:]
	if a.o.Zone != "" {
		want = []string{a.o.Zone}
	}
	var there []string
	for _, dir := range hostsensorNumbered(filepath.Join(a.root, "sys/class/thermal/thermal_zone*")) {
		zone, err := sensorFile(filepath.Join(dir, "type"))
		if err == nil {
			there = append(there, zone)
		}
	}
	i := slices.IndexFunc(want, func(zone string) bool { return slices.Contains(there, zone) })
	switch {
	case i >= 0:
	case a.o.Zone != "" && len(there) == 0:
		return iioAt(d, "zone", "there is no thermal zone at all")
	case a.o.Zone != "":
		return iioAt(d, "zone", "there is no thermal zone %.40q, but %s", a.o.Zone, strings.Join(there, ", "))
	default:
		return nil
	}
	a.take(cpuTemperaturePoint("Thermal zone "+want[i]), func(cpuLook) (any, error) { return cpuTemperature(a.root, want[i]) })
	return nil
}

// cpuTemperature reads the zone of the type, under whatever number it is now.
func cpuTemperature(root, zone string) (any, error) {
	why := fmt.Errorf("thermal zone %s is gone", zone)
	for _, dir := range hostsensorNumbered(filepath.Join(root, "sys/class/thermal/thermal_zone*")) {
		is, err := sensorFile(filepath.Join(dir, "type"))
		switch {
		case err == nil && is == zone:
			return hostsensorMilli(sensorFile(filepath.Join(dir, "temp")))
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			why = fmt.Errorf("thermal zone %s: %w", zone, err) // it may be that one
		}
	}
	return nil, why
}

func cpuTemperaturePoint(help string) reports.Point {
	return reports.Point{Path: "temperature", Label: "Temperature", Help: help, Type: reports.Float, Unit: "°C", Class: "temperature", Genre: reports.Basic, Janitoo: "hostsensor.picpu/temperature"}
}

func cpuVoltagePoint() reports.Point {
	return reports.Point{Path: "voltage", Label: "Core voltage", Help: "As vcgencmd measure_volts core has it", Type: reports.Float, Unit: "V", Class: "voltage",
		Min: reports.Ptr(0), Genre: reports.User, Janitoo: "hostsensor.picpu/voltage"}
}

// describePolicy adds the points of a cpufreq policy.
func (a *cpu) describePolicy(p cpuPolicy) {
	a.take(p.frequencyPoint(), func(cpuLook) (any, error) {
		return cpuMegahertz(sensorFile(filepath.Join(p.dir, "scaling_cur_freq")))
	})
	if len(p.governors) == 0 {
		return
	}
	point := p.governorPoint()
	if a.o.SetGovernor {
		point.Access = reports.Get | reports.Set
		a.set[point.Path] = p
	}
	a.take(point, func(cpuLook) (any, error) { return p.governor() })
}

// findThrottling adds the bits of the firmware: from the kernel's file, or vcgencmd; or, where only the driver raspberrypi-hwmon tells
// of them, whether the supply is too low.
func (a *cpu) findThrottling() {
	if hostsensorThrottleFile(a.root) != "" || a.vcgencmd != "" {
		hostsensorThrottlePoints(func(p reports.Point, bit uint64) {
			a.take(p, func(l cpuLook) (any, error) {
				bits, err := l.bits()
				return bits&bit != 0, err
			})
		})
		return
	}
	if _, err := cpuUnderVoltage(a.root); !errors.Is(err, fs.ErrNotExist) {
		hostsensorThrottlePoints(func(p reports.Point, bit uint64) {
			if bit == 1 {
				a.take(p, func(cpuLook) (any, error) { return cpuUnderVoltage(a.root) })
			}
		})
	}
}

// lookAt begins a look.
func (a *cpu) lookAt(ctx context.Context, _ []string) (cpuLook, error) {
	return cpuLook{ctx: ctx, bits: sync.OnceValues(func() (uint64, error) {
		if file := hostsensorThrottleFile(a.root); file != "" || a.vcgencmd == "" {
			return hostsensorThrottled(sensorFile(cmp.Or(file, filepath.Join(a.root, "sys/devices/platform/soc/soc:firmware/get_throttled"))))
		}
		text, err := a.ask(ctx, "get_throttled")
		return hostsensorThrottled(strings.TrimPrefix(text, "throttled="), err)
	})}, nil
}

// simulate adds made-up points.
func (a *cpu) simulate(now func() time.Time) {
	wave := func(p reports.Point, lo, hi float64) {
		p.Poll = a.o.Poll
		read := simulatedWave(lo, hi, 10*time.Minute, now)
		a.sensor.add(p, func(ctx context.Context) (any, error) {
			v, err := read(ctx)
			if f, ok := v.(float64); ok && p.Type == reports.Int {
				return int64(f), err
			}
			return v, err
		})
	}
	wave(cpuTemperaturePoint("Made up"), 40, 70)
	wave(cpuPolicy{name: "policy0"}.frequencyPoint(), 600, 1800)
	wave(cpuVoltagePoint(), 0.8, 0.9)
}
