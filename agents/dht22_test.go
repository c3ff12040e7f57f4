package agents

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
)

// dht22Read reads a point of an agent as a number.
func dht22Read(t *testing.T, a Agent, path string) float64 {
	t.Helper()
	r, err := a.(Sampler).Sample(t.Context(), path)
	v, ok := r.Value.(float64)
	if n, isInt := r.Value.(int64); isInt {
		v, ok = float64(n), true
	}
	if err != nil || !ok || r.Stale {
		t.Fatalf("%s is %+v, %v, want a number", path, r, err)
	}
	return v
}

// dht22Warm has the first value read, which another read must confirm, and lets the sensor be read again at once.
func dht22Warm(t *testing.T, a Agent) *dht22 {
	t.Helper()
	d := a.(*dht22)
	if r, err := d.Sample(t.Context(), "temperature"); err != nil || !r.Stale || r.Value != nil {
		t.Errorf("the first read: %+v, %v, want no value yet", r, err)
	}
	d.triedAt = time.Time{}
	return d
}

func TestDHT22IIO(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "dht22/two")
	a, err := tree.start(dht22Factory(), "device: dht11@11")
	if err != nil {
		t.Fatal(err)
	}
	dht22Warm(t, a)
	for path, want := range map[string]float64{"temperature": -7.3, "humidity": 91.2, "dew_point": -8.5, "reads/good": 2, "reads/bad": 0} {
		if path == "reads/good" { // it counts what the others read, in whatever order this is
			dht22Read(t, a, "temperature")
		}
		if got := dht22Read(t, a, path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	// Where the kernel has but one, it need not be named.
	const other = "sys/bus/iio/devices/iio:device1"
	const bme = "sys/bus/iio/devices/iio:device2"
	if _, err := tree.start(dht22Factory(), "{}"); err == nil || !strings.Contains(err.Error(), "3 IIO devices fit") {
		t.Errorf("three devices that fit: error %v, want them listed", err)
	}
	tree.rename(other, "gone/1")
	tree.rename(bme, "gone/2")
	if a, err = tree.start(dht22Factory(), "{}"); err != nil {
		t.Fatal(err)
	}
	dht22Warm(t, a)
	if got := dht22Read(t, a, "temperature"); got != 23.4 {
		t.Errorf("temperature = %v, want 23.4", got)
	}
	tree.rename("sys/bus/iio/devices/iio:device0", "gone/0")
	if _, err := tree.start(dht22Factory(), "{}"); err == nil || !strings.Contains(err.Error(), "dtoverlay=dht11,gpiopin=4") {
		t.Errorf("no device: error %v, want what to do", err)
	}
	tree.rename("gone/2", bme)
	if _, err := tree.start(dht22Factory(), "{}"); err == nil || !strings.Contains(err.Error(), "bme280") || !strings.Contains(err.Error(), "device:") {
		t.Errorf("another sensor only: error %v, want it not taken in silence", err)
	}
}

// TestDHT22IIOUnplugged takes the device away between two reads, and brings it back under another number.
func TestDHT22IIOUnplugged(t *testing.T) {
	t.Parallel()
	tree := newIIOTree(t, "dht22/two")
	agent, err := tree.start(dht22Factory(), "device: dht11@4")
	if err != nil {
		t.Fatal(err)
	}
	a := dht22Warm(t, agent)
	now := time.Now()
	a.now = func() time.Time { return now }
	if got := dht22Read(t, a, "temperature"); got != 23.4 {
		t.Errorf("temperature = %v, want 23.4", got)
	}
	tree.rename("sys/bus/iio/devices/iio:device0", "gone/0")
	now = now.Add(time.Minute)
	if r, err := a.Sample(t.Context(), "temperature"); err == nil {
		t.Errorf("unplugged: %+v, want an error", r)
	}
	tree.rename("gone/0", "sys/bus/iio/devices/iio:device7")
	now = now.Add(time.Minute)
	dht22Warm(t, a) // after so long nothing is known any more
	if got := dht22Read(t, a, "temperature"); got != 23.4 {
		t.Errorf("temperature after it is back = %v, want 23.4", got)
	}
	if got := dht22Read(t, a, "reads/bad"); got != 1 {
		t.Errorf("bad reads = %v, want 1", got)
	}
}

func TestDHT22Errno(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{syscall.EIO: true, syscall.ETIMEDOUT: true, syscall.EAGAIN: true, syscall.ENODEV: false, os.ErrPermission: false} {
		got := dht22Errno(fmt.Errorf("read: %w", &os.PathError{Op: "read", Path: "in_temp_input", Err: err}))
		if errors.Is(got, errDHT22Read) != want || !errors.Is(got, err) {
			t.Errorf("%v becomes %v, want one that may not come again: %t", err, got, want)
		}
	}
	for name, want := range map[string]bool{"dht11": true, "dht11@4": true, "dht11@1b": true, "4.dht11": true, "bme280": false, "dht11x": false, "": false} {
		if got := dht22Name(name); got != want {
			t.Errorf("dht22Name(%q) = %t, want %t", name, got, want)
		}
	}
}

func TestDHT22Refused(t *testing.T) {
	t.Parallel()
	chip := gpiotest.New("pinctrl-bcm2835", 28)
	chip.Hog(17, "w1")
	lacking := gpiotest.New("old", 4)
	lacking.Lack(gpio.FeatureEdges)
	d := Deps{Service: "dht22", Root: t.TempDir(), OpenChip: func(name string) (gpio.Chip, error) {
		if name == "old" {
			return lacking.Open(), nil
		}
		return chip.Open(), nil
	}}
	for options, want := range map[string]string{
		"driver: IIO":                 `options.yaml:1: driver: "IIO" is none of iio, edges, go-dht`,
		"model: dht33":                `"dht33" is none of dht22, am2302, dht11`,
		"poll: 1s":                    "poll: 1s is too often: a dht22 must be left alone for 2s",
		"{model: dht11, poll: 999ms}": "must be left alone for 1s",
		"{model: dht11, driver: edges, pin: 4, poll: 999ms}": "must be left alone for 1s",
		"pin: 4":          "say driver: edges",
		"{driver: edges}": "pin: is missing",
		"{driver: edges, pin: 4, device: dht11@4}":    "only iio has devices",
		"{driver: edges, pin: 4, pull: down}":         `"down" is neither up nor none`,
		"{driver: go-dht, pin: 4, chip: gpiochip0}":   "go-dht knows only the first one",
		"{driver: edges, pin: 4, sims: true}":         "sims",
		"{driver: edges, pin: GPIO99}":                "GPIO99",
		"{driver: edges, pin: GPIO17}":                `held by "w1"`,
		"{}":                                          "dtoverlay=dht11",
		"{driver: go-dht, pin: 4}":                    "driver: go-dht",
		"{driver: go-dht, pin: 4, model: x, poll: 1}": "options.yaml:1",
	} {
		_, err := iioStart(t, dht22Factory(), options, d)
		ok := false
		for _, w := range strings.Split(want, "|") {
			ok = ok || err != nil && strings.Contains(err.Error(), w)
		}
		if !ok {
			t.Errorf("%s: error %v, want %q in it", options, err, want)
		}
	}
	a, err := iioStart(t, dht22Factory(), "{driver: edges, chip: old, pin: 3}", d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.(Sampler).Sample(t.Context(), "temperature"); gpio.Missing(err) != gpio.FeatureEdges {
		t.Errorf("a chip without edges: error %v, want it named", err)
	}
}

func TestDHT22Simulated(t *testing.T) {
	t.Parallel()
	a, err := iioStart(t, dht22Factory(), "{sim: true, model: dht11}", Deps{})
	if err != nil {
		t.Fatal(err)
	}
	c, p, dew := dht22Read(t, a, "temperature"), dht22Read(t, a, "humidity"), dht22Read(t, a, "dew_point")
	if !a.Describe().Simulated || c < 18 || c > 26 || p < 40 || p > 60 || dew >= c {
		t.Errorf("%v °C, %v %%, dew point %v °C, simulated %t", c, p, dew, a.Describe().Simulated)
	}
}
