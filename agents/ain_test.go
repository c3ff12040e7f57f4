package agents

import (
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rollcall/reports"
)

// ainValues returns the points of an agent with the values that they have now, one a line.
func ainValues(t *testing.T, a Agent) []string {
	t.Helper()
	service := a.Describe()
	service.Name = "ain"
	if err := service.Validate(); err != nil {
		t.Errorf("describe: %v", err)
	}
	var paths []string
	for _, p := range service.Points {
		paths = append(paths, p.Path)
	}
	readings, err := a.(BatchSampler).SampleAll(t.Context(), paths)
	if err != nil {
		t.Error(err)
	}
	var got []string
	for _, r := range readings {
		p, _ := service.Point(r.Path)
		got = append(got, strings.Join(strings.Fields(strings.Join([]string{p.Path, reports.FormatValue(r.Value), p.Unit, p.Class, p.Label}, " ")), " "))
	}
	return got
}

func TestAINDevices(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, tree, options string
		want                []string
	}{
		{"own scales", "ain/ads1015", "device: 1-0048", []string{
			"voltage0/raw 1100 voltage0, count", "voltage0/volts 3.3 V voltage voltage0, voltage",
			"voltage1/raw 2 voltage1, count", "voltage1/volts 0.004 V voltage voltage1, voltage",
			"voltage0-voltage1/raw -500 voltage0-voltage1, count", "voltage0-voltage1/volts -0.5 V voltage voltage0-voltage1, voltage",
		}},
		{"shared scale", "ain/mcp3008", "device: mcp3008", []string{
			"voltage0/raw 512 voltage0, count", "voltage0/volts 1.65 V voltage voltage0, voltage",
			"voltage1/raw 1023 voltage1, count", "voltage1/volts 3.29677734375 V voltage voltage1, voltage",
			"voltage0-voltage1/raw -511 voltage0-voltage1, count", "voltage0-voltage1/volts -1.64677734375 V voltage voltage0-voltage1, voltage",
			"voltage1-voltage0/raw 511 voltage1-voltage0, count", "voltage1-voltage0/volts 1.64677734375 V voltage voltage1-voltage0, voltage",
		}},
		{"what the ABI has beside", "ain/mcp3008", "device: board", []string{
			"temp0/raw 2000 temp0, count", "temp0/celsius 25 °C temperature temp0, temperature",
			"current0/raw 12 current0, count", // no scale: nobody knows what it is
			"voltage3_supply/raw 2048 battery, count", "voltage3_supply/volts 5 V voltage battery, voltage",
			"voltage9/volts 4.9875 V voltage voltage9, voltage",
		}},
		{"scaled", "ain/mcp3008", `
device: spi0.0
only: true
channels:
  tank: {channel: voltage0, label: Water tank, unit: "%", class: moisture, clamp: true, table: [{at: 0.5, is: 0}, {at: 1.5, is: 100}]}
  wind: {channel: voltage1-voltage0, from: raw, unit: m/s, table: [{at: 0, is: 0}, {at: 500, is: 10}, {at: 600, is: 30}]}
  voltage1: {scale: 4}
`, []string{
			"tank/raw 512 Water tank, count", "tank/volts 1.65 V voltage Water tank, voltage", "tank/value 100 % moisture Water tank",
			"voltage1/raw 1023 voltage1, count", "voltage1/volts 4.092 V voltage voltage1, voltage",
			"wind/raw 511 wind, count", "wind/volts 1.64677734375 V voltage wind, voltage", "wind/value 12.2 m/s wind",
		}},
		{"one channel, two quantities", "ain/mcp3008", `
device: board
only: true
channels:
  a: {channel: current0, scale: 1000}
  b: {channel: current0, from: raw, table: [{at: 10, is: 1}, {at: 20, is: 2}]}
`, []string{"a/raw 12 a, count", "a/amperes 12 A current a, current", "b/raw 12 b, count", "b/value 1.2 b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, err := newIIOTree(t, tt.tree).start(ainFactory(), tt.options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, ainValues(t, a)); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAINRefused(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "ain/mcp3008")
	for options, want := range map[string]string{
		"device: mcp3008\nchannels: {a: {channel: voltage7}}":                                     `2: channels.a: the device has no channel "voltage7"; it has voltage0, voltage1, voltage0-voltage1, voltage1-voltage0`,
		"device: board\nchannels: {current0: {unit: A, table: [{at: 1, is: 2}, {at: 2, is: 3}]}}": "2: channels.current0.table: the driver gives current0 no scale",
		"poll: 1ms": "poll: 1ms is too often",
		"channels: {a: {table: [{at: 1, is: 1}]}}":                                    "channels.a.table: one row makes no line",
		"channels: {a: {table: [{at: 1, is: 1}, {at: 1, is: 2}]}}":                    "channels.a.table[1].at: 1 is not more than 1",
		"channels: {a: {table: [{at: .nan, is: 1}, {at: 1, is: 2}]}}":                 "channels.a.table[0]",
		"channels: {a: {table: [{at: 1e308, is: -1e308}, {at: 1.1e308, is: 1e308}]}}": "channels.a.table[0]: at and is must be numbers of at most 1e+12",
		"channels: {a: {table: [{at: 0, is: 0}, {at: 1, is: -1e13}]}}":                "channels.a.table[1]: at and is must be numbers of at most 1e+12",
		"channels: {a: {table: [{at: 0, is: 0}, {at: 1e-320, is: 1}]}}":               "channels.a.table[1].at: 1e-320 is too near to 0",
		"channels: {a: {scale: 1e308}}":                                               "channels.a.scale: 1e+308 is not a number of at most 1e+12",
		"channels: {a: {scale: -1e999}}":                                              "channels.a.scale",
		"channels: {a: {unit: V}}":                                                    "needs a table",
		"channels: {a: {from: amps, table: [{at: 0, is: 1}, {at: 1, is: 2}]}}":        `"amps" is not volts or raw`,
		"channels: {buffer: {channel: voltage0}}":                                     "is the name of other points",
		"channels: {a/b: {channel: voltage0}}":                                        "channels.a/b",
		"only: true":                                                                  "there are no channels to report",
		"sim: true\nbuffer: {rate: 1000}":                                             "sim: no device and no buffer can be made up",
		"buffer: {rate: -1}":                                                          "buffer.rate: -1 is not from 0",
		"buffer: {trigger: x}":                                                        "buffer.rate: is missing",
		"buffer: {rate: 1000, every: 10ms}":                                           "buffer.every: 10ms is not from 100ms",
		"buffer: {rate: 1}":                                                           "fewer than two samples",
		"device: mcp3008\nbuffer: {rate: 1000}":                                       "iio:device0 (mcp3008, at spi0.0) has no buffer",
		"device: mcp3008\nbuffer: {rate: 1000, channels: [voltage5]}":                 `2: buffer.channels[0]: there is no channel with the name "voltage5"`,
		"device: mcp3008\nbuffer: {rate: 1000, channels: [voltage0]}":                 "voltage0 can't be sampled through the buffer",
		"chanels: {}": "chanels",
		"device: mcp3008\nchannels: {a: {channel: voltage0, table: [{at: 0.1, is: 1}, {at: x, is: 2}]}}": "table[1].at",
	} {
		if _, err := tree.start(ainFactory(), options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", options, err, want)
		}
	}
}

// A channel that fails fails alone; a device that is unplugged fails with what to do, and works again under another number.
func TestAINUnplugged(t *testing.T) {
	t.Parallel()
	const bus, i2c = "sys/bus/iio/devices/", "sys/devices/platform/soc/fe804000.i2c/i2c-1/"
	tree := newIIOTree(t, "ain/ads1015")
	a, err := tree.start(ainFactory(), "device: 1-0048")
	if err != nil {
		t.Fatal(err)
	}
	sampler := a.(BatchSampler)
	tree.write(i2c+"1-0048/iio:device0/in_voltage0_raw", "garbage\n")
	readings, err := sampler.SampleAll(t.Context(), []string{"voltage0/raw", "voltage0/volts", "voltage1/raw"})
	if len(readings) != 1 || readings[0].Value != int64(2) || err == nil || !strings.Contains(err.Error(), `voltage0/volts: in_voltage0_raw has "garbage"`) {
		t.Errorf("with one bad channel: %+v, %v", readings, err)
	}
	tree.write(i2c+"1-0048/iio:device0/in_voltage0_raw", "8\n")

	// Both are unplugged, and the other one comes back first, under the number that this one had.
	tree.rename(bus+"iio:device0", "away0")
	tree.rename(bus+"iio:device1", "away1")
	if _, err := sampler.SampleAll(t.Context(), []string{"voltage0/raw"}); err == nil || !strings.Contains(err.Error(), "there is no IIO device") {
		t.Errorf("unplugged: %v", err)
	}
	tree.link(bus+"iio:device0", "../../../devices/platform/soc/fe804000.i2c/i2c-1/1-0049/iio:device1")
	if r, err := sampler.Sample(t.Context(), "voltage0/raw"); err == nil || !strings.Contains(err.Error(), `no IIO device "1-0048"`) {
		t.Errorf("with another device under its number: %+v, %v", r, err)
	}
	tree.link(bus+"iio:device5", "../../../devices/platform/soc/fe804000.i2c/i2c-1/1-0048/iio:device0")
	if r, err := sampler.Sample(t.Context(), "voltage0/raw"); err != nil || r.Value != int64(8) {
		t.Errorf("back: %+v, %v", r, err)
	}
	if err := (&iioDevice{iioIdentity: iioIdentity{dir: filepath.Join(tree.root, "nothing")}}).write("x", "1"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "unplugged") {
		t.Errorf("write to nothing: %v", err)
	}
}

func TestAINSimulated(t *testing.T) {
	t.Parallel()
	a, err := iioStart(t, ainFactory(), ainFactory().Example, Deps{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if d := a.Describe(); !d.Simulated || len(d.Points) != 4 {
		t.Errorf("description %+v", d)
	}
	r, err := a.(Sampler).Sample(t.Context(), "tank/value")
	if v, ok := r.Value.(float64); err != nil || !ok || v < 0 || v > 100 {
		t.Errorf("tank/value is %+v, %v", r, err)
	}
	if a, err = iioStart(t, ainFactory(), "sim: true", Deps{}); err != nil || len(a.Describe().Points) != 5 {
		t.Errorf("two channels are %+v, %v", a, err)
	}
}

func TestAINInterpolate(t *testing.T) {
	t.Parallel()
	two := []ainRow{{0.5, 0}, {4.5, 100}}
	falling := []ainRow{{0, 100}, {1, 50}, {3, 0}}
	for _, tt := range []struct {
		table []ainRow
		v     float64
		clamp bool
		want  float64
	}{
		{two, 0.5, false, 0}, {two, 4.5, false, 100}, {two, 2.5, false, 50}, {two, 0, false, -12.5}, {two, 5, false, 112.5},
		{two, 0, true, 0}, {two, 5, true, 100}, {two, 1.5, true, 25},
		{falling, -1, false, 150}, {falling, 0.5, false, 75}, {falling, 1, false, 50}, {falling, 2, false, 25}, {falling, 4, false, -25},
		{falling, -1, true, 100}, {falling, 4, true, 0},
	} {
		if got := ainInterpolate(tt.table, tt.v, tt.clamp); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("%v at %v (clamp %v) = %v, want %v", tt.table, tt.v, tt.clamp, got, tt.want)
		}
	}
	if lo, hi := ainRange(falling); lo != 0 || hi != 100 {
		t.Errorf("range %v to %v", lo, hi)
	}
}

func FuzzAINInterpolate(f *testing.F) {
	f.Add(0.5, 0.0, 1.0, 10.0, 2.0, 5.0)
	f.Fuzz(func(t *testing.T, v, a, x, b, y, gap float64) {
		for _, n := range []float64{v, a, x, b, y, gap} {
			if math.IsNaN(n) || math.Abs(n) > 1e9 {
				return
			}
		}
		table := []ainRow{{a, x}, {a + 1 + math.Abs(b), y}, {a + 2 + math.Abs(b) + math.Abs(gap), x}}
		lo, hi := ainRange(table)
		if got := ainInterpolate(table, v, true); !(got >= lo-1e-6 && got <= hi+1e-6) {
			t.Errorf("%v at %v = %v, not from %v to %v", table, v, got, lo, hi)
		}
		for _, r := range table {
			if got := ainInterpolate(table, r.At, false); math.Abs(got-r.Is) > 1e-6*(1+math.Abs(r.Is)) {
				t.Errorf("%v at its row %v = %v, want %v", table, r.At, got, r.Is)
			}
		}
	})
}

func TestAINStatistics(t *testing.T) {
	t.Parallel()
	var s ainStatistics
	for _, v := range []float64{-3, 1, 5, 1} {
		s.add(v)
	}
	for name, want := range map[string]float64{"min": -3, "max": 5, "mean": 1, "rms": 3} {
		if got := s.of(name); got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
}
