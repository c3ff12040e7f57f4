package agents

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
	"rollcall/reports"
)

const (
	dacMCP = "sys/devices/platform/soc/fe804000.i2c/i2c-1/1-0060/iio:device0/"
	dacPot = "sys/devices/platform/dac/iio:device1/"
)

// dacSet sets a point and returns what is read back.
func dacSet(a Agent, path string, v float64) (float64, error) {
	r, err := a.(Actuator).Apply(context.Background(), reports.Command{Verb: "set", Path: path, Value: v})
	got, _ := r.Value.(float64)
	return got, err
}

func dacGet(t *testing.T, a Agent, path string) float64 {
	t.Helper()
	r, err := a.(Sampler).Sample(context.Background(), path)
	v, ok := r.Value.(float64)
	if err != nil || !ok {
		t.Fatalf("%s is %+v, %v", path, r, err)
	}
	return v
}

func TestDACConverter(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "dac/mcp4725")
	a, err := tree.start(dacFactory(), "device: mcp4725\noutputs: {valve: {channel: voltage0, max: 3.3, safe: 0.5}}")
	if err != nil {
		t.Fatal(err)
	}
	if got := dacGet(t, a, "valve/volts"); tree.read(dacMCP+"out_voltage0_raw") != "2048" || math.Abs(got-1.65) > 1e-6 {
		t.Errorf("without initial it starts at %v V", got)
	}
	p, ok := a.Describe().Point("valve/volts")
	if !ok || *p.Min != 0 || *p.Max != 3.3 || math.Abs(*p.Step-0.000805664) > 1e-9 || p.Unit != "V" || p.Access != reports.Get|reports.Set {
		t.Errorf("point %+v", p)
	}
	for _, tt := range []struct {
		path string
		v    float64
		raw  string
	}{
		{"valve/volts", 1, "1241"}, {"valve/volts", 3.3, "4096"}, {"valve/volts", 0, "0"}, {"valve/percent", 50, "2048"}, {"valve/percent", 0, "0"},
	} {
		got, err := dacSet(a, tt.path, tt.v)
		if raw := tree.read(dacMCP + "out_voltage0_raw"); err != nil || raw != tt.raw || math.Abs(got-tt.v) > 0.05 {
			t.Errorf("%s = %v: raw %s, read back %v, %v, want raw %s", tt.path, tt.v, raw, got, err, tt.raw)
		}
	}
	if down := tree.read(dacMCP + "out_voltage0_powerdown"); down != "0" {
		t.Errorf("after a set powerdown is %s", down)
	}
	for path, v := range map[string]float64{"valve/volts": 3.31, "valve/percent": 101, "nothing": 1, "valve/target": 1} {
		if got, err := dacSet(a, path, v); err == nil {
			t.Errorf("%s = %v reads back %v, want an error", path, v, got)
		}
	}
	if _, err := dacSet(a, "valve/volts", math.NaN()); reports.CodeOf(err) != reports.CodeOutOfRange {
		t.Errorf("NaN: %v", err)
	}
	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Error(err)
	}
	if raw := tree.read(dacMCP + "out_voltage0_raw"); raw != "621" { // 0.5 V
		t.Errorf("after Close raw is %s, want the safe 621", raw)
	}
}

// What a set changes beside its own point comes as events before Apply returns.
func TestDACEvents(t *testing.T) {
	t.Parallel()
	a, err := newIIOTree(t, "dac/mcp4725").start(dacFactory(), "device: pot\noutputs: {voltage0: {}, voltage1: {initial: 2, min: 1, max: 3}}")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dacSet(a, "voltage1/percent", 50); err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	for len(a.(Notifier).Events()) > 0 {
		r := <-a.(Notifier).Events()
		got[r.Path] = r.Value
	}
	if len(got) != 2 || got["voltage1/volts"] != 2.0 || got["voltage1/percent"] != 50.0 {
		t.Errorf("events %v", got)
	}
	if v, err := dacSet(a, "voltage0/volts", 5.1); err != nil || v != 5.1 { // 255 counts of 20 mV
		t.Errorf("the most that raw_available allows: %v, %v", v, err)
	}
}

func TestDACRefused(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "dac/mcp4725")
	for options, want := range map[string]string{
		"outputs: {a: {}}":                                          "2 IIO devices fit",
		"device: mcp4725\noutputs: {a: {}}":                         `2: outputs.a.channel: the device has no output "a"; it has voltage0`,
		"device: mcp4725\noutputs: {voltage0: {}}":                  "2: outputs.voltage0: the driver does not tell how far its counts go",
		"device: pot\noutputs: {voltage0: {max: 12}}":               "the hardware makes 0 V to 5.1 V",
		"driver: magic":                                             `driver: "magic" is not iio or pwm`,
		"outputs: {a: {max: 1, min: 1}}":                            "outputs.a.max: 1 is not more than min",
		"outputs: {a: {max: 1, initial: 2}}":                        "outputs.a.initial: 2 is not from min to max",
		"outputs: {a: {slew: -1}}":                                  "outputs.a.slew",
		"device: mcp4725":                                           "outputs: there are none",
		"sim: true\noutputs: {}":                                    "outputs: there are none",
		"outputs: {a: {max: 3.3, safe: 99}}":                        "outputs.a.safe: 99 is not from min or 0 to max",
		"outputs: {a: {max: 3.3, safe: -1}}":                        "outputs.a.safe: -1 is not from min or 0 to max",
		"device: pot\noutputs: {voltage0: {safe: 5.2}}":             "2: outputs.voltage0.safe: the hardware makes 0 V to 5.1 V",
		"sim: true\noutputs: {a: {safe: 99}}":                       "2: outputs.a.safe: the hardware makes 0 V to 3.3 V",
		"outputs: {a: {max: 1, slew: 1e-300}}":                      "outputs.a.slew: 1e-300 is out of all bounds",
		"outputs: {a: {max: 1, scale: 1e-300}}":                     "outputs.a.scale: 1e-300 is out of all bounds",
		"outputs: {a: {max: 1e9}}":                                  "outputs.a.max",
		"outputs: {a: {pin: 18}}":                                   "are of driver pwm",
		"outputs: {a: {channel: voltage0}, b: {channel: voltage0}}": `outputs.b: "voltage0" is what a has already`,
		"driver: pwm\noutputs: {a: {}}":                             "either channel (pwmchip0/1) or pin is needed",
		"driver: pwm\noutputs: {a: {channel: pwmchip0/0, pin: 1}}":  "either channel",
		"driver: pwm\noutputs: {a: {channel: software}}":            "is no channel as pwmchip0/1",
		"driver: pwm\noutputs: {a: {pin: 1, safe: 1}}":              "outputs.a.safe: must be 0",
		"driver: pwm\noutputs: {a: {pin: 1, max: 5}}":               "outputs.a.max: 5 is more than high, which is 3.3",
		"driver: pwm\noutputs: {a: {pin: 1, period: 1us}}":          "outputs.a.period",
		"driver: pwm\ndevice: x":                                    "device: is of driver iio",
		"chip: x":                                                   "chip: is of driver pwm",
		"driver: pwm\nchip: sim\noutputs: {a: {pin: 99}}":           "3: outputs.a.pin",
		"driver: pwm\noutputs: {a: {channel: pwmchip0/0}}":          "there is no such chip",
		"outputs: {simulated: {}}":                                  "is the name of another point",
	} {
		if _, err := tree.start(dacFactory(), options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", options, err, want)
		}
	}
	tree.write(dacPot+"out_voltage0_raw_available", "[5 1 5]\n")
	if _, err := tree.start(dacFactory(), "device: pot\noutputs: {voltage0: {}}"); err == nil || !strings.Contains(err.Error(), "no range as [0 1 4095]") {
		t.Errorf("a range of nothing: %v", err)
	}
}

func TestDACUnplugged(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "dac/mcp4725")
	a, err := tree.start(dacFactory(), "device: mcp4725\noutputs: {voltage0: {max: 3}}")
	if err != nil {
		t.Fatal(err)
	}
	const link = "sys/bus/iio/devices/iio:device0"
	tree.rename(link, "away")
	if _, err := a.(Sampler).Sample(t.Context(), "voltage0/volts"); err == nil {
		t.Error("unplugged, and has a value")
	}
	if _, err := dacSet(a, "voltage0/volts", 1); err == nil {
		t.Error("unplugged, and was set")
	}
	tree.link("sys/bus/iio/devices/iio:device4", "../../../devices/platform/soc/fe804000.i2c/i2c-1/1-0060/iio:device0")
	if v, err := dacSet(a, "voltage0/volts", 1); err != nil || math.Abs(v-1) > 0.001 {
		t.Errorf("back: %v, %v", v, err)
	}
}

// dacWrites is hardware that notes what is written, and when.
type dacWrites struct {
	dacSim
	start time.Time
	raws  []int64
	at    []time.Duration
	fail  error
}

func (w *dacWrites) write(raw int64) error {
	if w.fail != nil {
		return w.fail
	}
	w.raws, w.at = append(w.raws, raw), append(w.at, time.Since(w.start))
	return w.dacSim.write(raw)
}

func newDACWrites(t *testing.T) *dacWrites {
	t.Helper()
	rng, err := newDACRange(1, 0, 0, 10, 0, 10000)
	if err != nil {
		t.Fatal(err)
	}
	return &dacWrites{dacSim: dacSim{rng: rng}, start: time.Now()}
}

// The way to a voltage keeps to its limit, comes at absolute times, ends exactly there, and is given up for another.
func TestDACSlew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hw := newDACWrites(t)
		var ends []time.Duration
		var mu sync.Mutex
		o := newDACRamp(hw, dacOutput{Slew: 2}, func(time.Time) { mu.Lock(); ends = append(ends, time.Since(hw.start)); mu.Unlock() }, nil)
		if err := o.set(5); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second + 10*time.Millisecond) // of the bubble
		synctest.Wait()
		if v, _ := o.volts(); v != 2 {
			t.Errorf("after a second at 2 V/s it is at %v V", v)
		}
		if v, err := o.target(); v != 5 || err != nil {
			t.Errorf("target %v, %v", v, err)
		}
		before := len(hw.raws)
		if err := o.set(1.5); err != nil { // half way back
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if v, _ := o.volts(); v != 1.5 {
			t.Errorf("at the end it is at %v V", v)
		}
		for i, raw := range hw.raws {
			want := 2 * hw.at[i].Seconds() * 1000
			if i >= before {
				want = 2000 - 2*(hw.at[i].Seconds()-1.01)*1000
			}
			if math.Abs(float64(raw)-want) > 0.51 {
				t.Errorf("write %d: count %d after %v, want %v", i, raw, hw.at[i], want)
			}
		}
		if len(ends) != 1 || ends[0] != 1260*time.Millisecond {
			t.Errorf("ends %v, want one after 1.26 s", ends)
		}
		if err := o.set(4); err != nil {
			t.Fatal(err)
		}
		if err := o.close(); err != nil { // ends the goroutine, or the bubble fails
			t.Error(err)
		}
	})
}

func TestDACSlewFails(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "dac/mcp4725")
	a, err := tree.start(dacFactory(), "device: mcp4725\noutputs: {voltage0: {max: 3, slew: 0.1}}")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dacSet(a, "voltage0/volts", 3); err != nil {
		t.Fatal(err)
	}
	tree.rename("sys/bus/iio/devices/iio:device0", "away")
	<-a.(*dac).outputs["voltage0"].done // at the next step
	if _, err := a.(Sampler).Sample(t.Context(), "voltage0/target"); err == nil {
		t.Error("the way has ended, and the target is told as if it were reached")
	}
}

func TestDACLine(t *testing.T) {
	t.Parallel()
	chip := gpiotest.Sim()
	o := "driver: pwm\noutputs: {heat: {pin: 18, initial: 3.3}}"
	a, err := iioStart(t, dacFactory(), o, Deps{Service: "dac", OpenChip: func(string) (gpio.Chip, error) { return chip, nil }})
	if err != nil {
		t.Fatal(err)
	}
	level := func() bool {
		info, err := chip.Info()
		if err != nil {
			t.Fatal(err)
		}
		return info.Lines[18].Used && info.Lines[18].Output
	}
	if v := dacGet(t, a, "heat/volts"); v != 3.3 || !level() {
		t.Errorf("at the start %v V, line taken %v", v, level())
	}
	for _, v := range []float64{0, 1.65, 3.3} {
		if got, err := dacSet(a, "heat/volts", v); err != nil || math.Abs(got-v) > 1e-6 || math.Abs(dacGet(t, a, "heat/percent")-v/0.033) > 1e-3 {
			t.Errorf("set %v V: %v, %v", v, got, err)
		}
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func TestDACPulses(t *testing.T) {
	t.Parallel()
	tree := iioTree{t, t.TempDir()}
	const chip = "sys/class/pwm/pwmchip0/"
	for name, data := range map[string]string{"npwm": "2", "export": "", "unexport": "", "pwm1/period": "2000000", "pwm1/duty_cycle": "1000000",
		"pwm1/enable": "1", "pwm1/polarity": "normal"} {
		tree.write(chip+name, data+"\n")
	}
	a, err := tree.start(dacFactory(), "driver: pwm\noutputs: {fan: {channel: pwmchip0/1, slew: 0.01, initial: 3.3}}")
	if err != nil {
		t.Fatal(err)
	}
	// It was left running at half of 2 ms, and goes on from half of 1 ms.
	if v := dacGet(t, a, "fan/volts"); math.Abs(v-1.65) > 0.01 || tree.read(chip+"pwm1/period") != "1000000" || dacGet(t, a, "fan/target") != 3.3 {
		t.Errorf("it goes on from %v V, period %s", v, tree.read(chip+"pwm1/period"))
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if got := tree.read(chip+"pwm1/duty_cycle") + tree.read(chip+"pwm1/enable"); got != "00" {
		t.Errorf("after Close duty and enable are %s", got)
	}
	if a, err = tree.start(dacFactory(), "driver: pwm\noutputs: {fan: {channel: pwmchip0/1}}"); err != nil {
		t.Fatal(err)
	}
	if v, err := dacSet(a, "fan/percent", 25); err != nil || v != 25 || tree.read(chip+"pwm1/duty_cycle") != "250000" {
		t.Errorf("25 %% reads back %v, %v, duty %s", v, err, tree.read(chip+"pwm1/duty_cycle"))
	}
	tree.write(chip+"pwm1/duty_cycle", "x")
	if _, err := a.(Sampler).Sample(t.Context(), "fan/volts"); err == nil {
		t.Error("a duty that is no number has a value")
	}
}

func TestDACRange(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		scale, offset, least, most float64
		floor, ceil                int64
		volts                      float64
		raw                        int64
		fails                      string
	}{
		{1, 0, 0, 4.095, 0, 4095, 1.2344, 1234, ""},
		{1, 0, 0, 4.095, 0, 4095, 9, 4095, ""},
		{1, 0, 1, 2, 0, 4095, 0.5, 1000, ""},
		{1, -2048, -2.048, 2.047, 0, 4095, -1, 1048, ""},
		{3300.0 / 4096, 0, 0, 3.3, 0, 4095, 3.3, 4095, ""}, // VREF itself, as people write it
		{1, 0, 0, 1.2345, 0, 4095, 1.2345, 1234, ""},       // never more than the most
		{1, 0, 0, math.Pi, 0, 4095, math.NaN(), 0, ""},
		{1, 0, 0, 5, 0, 4095, 0, 0, "hardware makes 0 V to 4.095 V"},
		{1, 0, -1, 4, 0, 4095, 0, 0, "hardware makes"},
		{1000, 0, 0.1, 0.2, 0, 4095, 0, 0, "no two steps"},
	} {
		r, err := newDACRange(tt.scale, tt.offset, tt.least, tt.most, tt.floor, tt.ceil)
		if err != nil || tt.fails != "" {
			if err == nil || tt.fails == "" || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%+v: %v", tt, err)
			}
			continue
		}
		if got := r.raw(tt.volts); got != tt.raw || r.of(got) > tt.most+1e-9 {
			t.Errorf("%+v: count %d", tt, got)
		}
		for raw := r.lo; raw <= r.hi; raw++ {
			if got, again := r.raw(r.of(raw)), r.raw(r.volts(r.percent(r.of(raw)))); got != raw || again != raw {
				t.Fatalf("%+v: count %d goes over volts to %d, over percent to %d", tt, raw, got, again)
			}
		}
	}
}

func FuzzDACAvailable(f *testing.F) {
	for _, s := range []string{"[0 1 4095]", "[-128 1 127]", "[5 1 5]", "0 1 2", "[0 1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if floor, ceil, err := parseDACAvailable(s); err == nil && (floor >= ceil || !strings.HasPrefix(s, "[")) {
			t.Errorf("%q is %d to %d", s, floor, ceil)
		}
	})
}
