//go:build linux

package agents

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/reports"
)

// iioDummies is where the kernel makes devices of iio_simple_dummy, whose numbers are in drivers/iio/dummy/iio_simple_dummy.c.
const iioDummies = "/sys/kernel/config/iio/devices/dummy"

// iioDummy makes a dummy device of the kernel with the name.
func iioDummy(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat(iioDummies); err != nil || os.Geteuid() != 0 {
		if os.Getenv("ROLLCALL_GUEST") == "1" {
			t.Fatalf("no iio_simple_dummy in a guest of the lab: %v", err)
		}
		t.Skip("needs root and the kernel's iio_simple_dummy; run by make lab")
	}
	dir := filepath.Join(iioDummies, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	})
}

func TestKernelAIN(t *testing.T) {
	iioDummy(t, "ain")
	a, err := iioStart(t, ainFactory(), `
device: ain
channels:
  level: {channel: voltage3-voltage4, scale: 2, unit: "%", table: [{at: -0.1, is: 0}, {at: 0.1, is: 100}]}
`, Deps{Service: "ain"})
	if err != nil {
		t.Fatal(err)
	}
	// 73 counts of 0.001333 mV and offset 7 of the first; 33 and -34 of the differential ones, whose shared scale is 0.000001344 mV.
	got := map[string]any{}
	for _, p := range a.Describe().Points {
		r, err := a.(Sampler).Sample(t.Context(), p.Path)
		if err != nil {
			t.Errorf("%s: %v", p.Path, err)
		}
		got[p.Path] = r.Value
	}
	want := map[string]float64{"voltage0/raw": 73, "voltage0/volts": 80 * 0.001333e-3, "voltage1-voltage2/raw": 33,
		"voltage1-voltage2/volts": 33 * 1.344e-9, "level/raw": -34, "level/volts": -0.068, "level/value": 16}
	for path, v := range want {
		n, isInt := got[path].(int64)
		f, isFloat := got[path].(float64)
		if isInt {
			f = float64(n)
		}
		if !isInt && !isFloat || math.Abs(f-v) > 1e-9*math.Abs(v) {
			t.Errorf("%s is %v, want %v", path, got[path], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("points %v, want %v", got, want)
	}
}

// A device that is removed while it is read fails, and is read again when it is back, whatever its number.
func TestKernelAINUnplugged(t *testing.T) {
	iioDummy(t, "pulled")
	a, err := iioStart(t, ainFactory(), "device: pulled", Deps{Service: "ain"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(iioDummies, "pulled")); err != nil {
		t.Fatal(err)
	}
	iioDummy(t, "other") // takes the number that has become free
	if r, err := a.(Sampler).Sample(t.Context(), "voltage0/raw"); err == nil {
		t.Errorf("unplugged, and reads %v", r.Value)
	}
	iioDummy(t, "pulled")
	if r, err := a.(Sampler).Sample(t.Context(), "voltage0/raw"); err != nil || r.Value != int64(73) {
		t.Errorf("back, and reads %v, %v", r.Value, err)
	}
}

func TestKernelDAC(t *testing.T) {
	iioDummy(t, "dac")
	a, err := iioStart(t, dacFactory(), "device: dac\noutputs: {voltage0: {scale: 1, max: 4, initial: 0.5, safe: 0.25}}", Deps{Service: "dac"})
	if err != nil {
		t.Fatal(err)
	}
	found, err := iioSearch{root: "/", want: "dac", fits: func([]string) bool { return true }, hint: dacHint}.find()
	if err != nil {
		t.Fatal(err)
	}
	raw := func() string {
		text, err := iioRead(found.dir, "out_voltage0_raw")
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if raw() != "500" {
		t.Errorf("at the start raw is %s", raw())
	}
	for _, v := range []float64{1.234, 4, 0} {
		if got, err := dacSet(a, "voltage0/volts", v); err != nil || got != v || raw() != strconv.Itoa(int(v*1000)) {
			t.Errorf("%v V: reads back %v, %v, raw %s", v, got, err, raw())
		}
	}
	if got, err := dacSet(a, "voltage0/percent", 75); err != nil || got != 75 || raw() != "3000" {
		t.Errorf("75 %%: reads back %v, %v, raw %s", got, err, raw())
	}
	if err := a.Close(); err != nil || raw() != "250" {
		t.Errorf("Close: %v, raw %s", err, raw())
	}
	t.Run("slew", func(t *testing.T) { testKernelDACSlew(t, raw) })
}

func testKernelDACSlew(t *testing.T, raw func() string) {
	a, err := iioStart(t, dacFactory(), "device: dac\noutputs: {voltage0: {scale: 1, max: 4, slew: 4}}", Deps{Service: "dac"})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := dacSet(a, "voltage0/volts", 1.25); err != nil { // 1 V at 4 V/s
		t.Fatal(err)
	}
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for v := any(0.0); v != 1.25; {
		select {
		case r := <-a.(Notifier).Events():
			if r.Path == "voltage0/volts" {
				v = r.Value
			}
		case <-deadline.C:
			t.Fatalf("it is at %s mV after 10 s", raw())
		}
	}
	took := time.Since(start)
	if raw() != "1250" || took < 250*time.Millisecond {
		t.Errorf("1 V at 4 V/s took %v, raw %s", took, raw())
	}
	t.Logf("1 V at 4 V/s took %v", took)
}

// TestKernelAINBuffer samples at 1 kHz by a timer of the kernel. The driver fills the buffer with numbers of its own: 7, -33, -2.
func TestKernelAINBuffer(t *testing.T) {
	iioDummy(t, "fast")
	t.Run("1 kHz", func(t *testing.T) {
		const triggers = "/sys/kernel/config/iio/triggers/hrtimer"
		if _, err := os.Stat(triggers); err != nil {
			t.Skipf("this kernel has no IIO_HRTIMER_TRIGGER: %v", err)
		}
		const options = "device: fast\nbuffer: {rate: 1000, every: 500ms}\nchannels: {pair: {channel: voltage1-voltage2, scale: 1000}}"
		if _, err := iioStart(t, ainFactory(), options, Deps{Service: "ain"}); err == nil || !strings.Contains(err.Error(), "no IIO trigger with the name fast-dev") {
			t.Errorf("without a trigger: %v", err)
		}
		if err := os.Mkdir(triggers+"/rollcall", 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Remove(triggers + "/rollcall"); err != nil {
				t.Error(err)
			}
		})
		testKernelBuffer(t, options)
	})
}

// iioCPU returns how long this process has used the processor.
func iioCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func testKernelBuffer(t *testing.T, options string) {
	a, err := iioStart(t, ainFactory(), options, Deps{Service: "ain"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := iioStart(t, ainFactory(), options, Deps{Service: "ain"}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second one: %v", err)
	}
	events := a.(Notifier).Events()
	next := func() (reports.Reading, bool) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		select {
		case r, ok := <-events:
			return r, ok
		case <-ctx.Done():
			t.Fatal("no event for 10 s")
		}
		return reports.Reading{}, false
	}
	got, rates := map[string]any{}, []float64(nil)
	start, used := time.Now(), iioCPU(t)
	for len(rates) < 4 || len(rates) < 60 && slices.Max(rates[1:]) < 300 { // a busy host may be late with all of a second
		r, ok := next()
		if !ok {
			t.Fatalf("the buffer has ended: %v", a.(Failer).Err())
		}
		got[r.Path] = r.Value
		if r.Path == "buffer/rate" {
			rates = append(rates, r.Value.(float64))
		}
	}
	t.Logf("rates %.1f, %.1f %% of a processor", rates, 100*(iioCPU(t)-used).Seconds()/time.Since(start).Seconds())
	if most := slices.Max(rates[1:]); most < 300 || most > 1500 { // late they may be, but none may be made up
		t.Errorf("rates %v, want about 1000", rates)
	}
	zero := 14 * 0.001333e-3 // (7 + offset 7) * scale
	for path, want := range map[string]float64{"pair/min": -33, "pair/max": -33, "pair/mean": -33, "pair/rms": 33, "voltage0/mean": zero, "voltage0/max": zero} {
		if v, ok := got[path].(float64); !ok || math.Abs(v-want) > 1e-9*math.Abs(want) {
			t.Errorf("%s is %v, want %v", path, got[path], want)
		}
	}
	for path, want := range map[string]any{"pair/raw": int64(-33), "pair/volts": -33.0, "pair/mean": -33.0, "voltage3-voltage4/raw": int64(-2)} {
		if r, err := a.(Sampler).Sample(t.Context(), path); err != nil || r.Value != want {
			t.Errorf("%s is %v, %v, want %v", path, r.Value, err, want)
		}
	}
	if err := os.Remove(filepath.Join(iioDummies, "fast")); err != nil { // unplugged while it is read
		t.Fatal(err)
	}
	for ok := true; ok; {
		_, ok = next()
	}
	if err := a.(Failer).Err(); err == nil || !strings.Contains(err.Error(), "gone") && !strings.Contains(err.Error(), "unplugged") && !errors.Is(err, syscall.ENODEV) {
		t.Errorf("unplugged: %v", err)
	}
	if _, err := a.(Sampler).Sample(t.Context(), "pair/mean"); err == nil {
		t.Error("unplugged, and has a mean")
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
