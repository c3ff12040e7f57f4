package gpio_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"rollcall/gpio"
)

func TestNormal(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		o, want gpio.LineOptions
	}{
		{"input", gpio.LineOptions{}, gpio.LineOptions{Consumer: "rollcall"}},
		{"output", gpio.LineOptions{Output: true}, gpio.LineOptions{Consumer: "rollcall", Output: true, Drive: gpio.PushPull}},
		{"all of an output", gpio.LineOptions{Consumer: "x", Output: true, Value: 1, ActiveLow: true, Bias: gpio.PullUp, Drive: gpio.OpenDrain},
			gpio.LineOptions{Consumer: "x", Output: true, Value: 1, ActiveLow: true, Bias: gpio.PullUp, Drive: gpio.OpenDrain}},
		{"debounce below the kernel's unit", gpio.LineOptions{Debounce: 1}, gpio.LineOptions{Consumer: "rollcall", Debounce: time.Microsecond}},
		{"longest debounce", gpio.LineOptions{Debounce: 4294967295 * time.Microsecond}, gpio.LineOptions{Consumer: "rollcall", Debounce: 4294967295 * time.Microsecond}},
		{"consumer cut inside of a letter", gpio.LineOptions{Consumer: strings.Repeat("é", 20)}, gpio.LineOptions{Consumer: strings.Repeat("é", 15)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := test.o.Normal()
			if err != nil {
				t.Fatal(err)
			}
			if got.Events != nil || test.o.Events != nil {
				t.Fatal("no row has events")
			}
			if g, w := got, test.want; g.Consumer != w.Consumer || g.Output != w.Output || g.Value != w.Value || g.ActiveLow != w.ActiveLow ||
				g.Bias != w.Bias || g.Drive != w.Drive || g.Debounce != w.Debounce {
				t.Errorf("Normal() = %+v, want %+v", got, test.want)
			}
			if len(got.Consumer) > 31 || !utf8.ValidString(got.Consumer) {
				t.Errorf("consumer %q does not fit in the kernel's 31 bytes", got.Consumer)
			}
		})
	}
}

func TestRequestError(t *testing.T) {
	t.Parallel()
	line := gpio.LineInfo{Offset: 17, Name: "GPIO17", Consumer: "lirc"}
	for _, test := range []struct {
		err  gpio.RequestError
		want string
	}{
		{gpio.RequestError{Chip: "gpiochip0", Line: line, Err: syscall.EBUSY}, `request line 17 (GPIO17) of gpiochip0: held by "lirc": device or resource busy`},
		{gpio.RequestError{Chip: "gpiochip0", Line: gpio.LineInfo{Offset: 4}, Err: syscall.EBUSY}, `request line 4 of gpiochip0: held by a program or driver that gives no name: device or resource busy`},
		{gpio.RequestError{Chip: "gpiochip0", Line: line, Reason: "bias needs Linux 5.5 or later", Err: syscall.EINVAL}, `request line 17 (GPIO17) of gpiochip0: bias needs Linux 5.5 or later: invalid argument`},
		{gpio.RequestError{Chip: "gpiochip0", Line: line, Err: syscall.ENODEV}, `request line 17 (GPIO17) of gpiochip0: no such device`},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("Error() = %q, want %q", got, test.want)
		}
		if !errors.Is(&test.err, test.err.Err) {
			t.Errorf("%v is not %v", &test.err, test.err.Err)
		}
	}
}
