package agents

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"rollcall/config"
	"rollcall/gpio"
)

// gpioPinAndPull checks what outputs and inputs have in common.
func gpioPinAndPull(at, pin string, pull gpio.Bias, label string) error {
	if !slices.Contains([]gpio.Bias{gpio.BiasAsIs, gpio.PullUp, gpio.PullDown, gpio.PullNone}, pull) {
		return config.At(at+".pull", "%.40q is not up, down or none", pull)
	}
	return gpioPinAndLabel(at, pin, label)
}

// gpioMostLabel is how long a label may be, in bytes.
const gpioMostLabel = 80

func gpioPinAndLabel(at, pin, label string) error {
	if pin == "" {
		return config.At(at, "pin is missing")
	}
	if why := gpioPinForm(pin); why != "" {
		return config.At(at+".pin", "pin %.80q: %s", pin, why)
	}
	switch {
	case len(label) > gpioMostLabel:
		return config.At(at+".label", "has %d bytes, at most %d are allowed", len(label), gpioMostLabel)
	case strings.ContainsFunc(label, unicode.IsControl):
		return config.At(at+".label", "%q has a control character", label)
	}
	return nil
}

// gpioPinForm returns what is wrong with the form of a pin, or "": a number as no chip writes it, which is no line's name either.
func gpioPinForm(pin string) string {
	number := strings.TrimLeft(pin, "+-")
	line, err := strconv.ParseUint(number, 10, 32)
	switch {
	case strings.TrimSpace(pin) != pin:
		return "has blanks around it; say " + cmp.Or(strings.TrimSpace(pin), "25")
	case err != nil:
		return ""
	case pin[0] == '-':
		return "is a number with a sign; lines count from 0"
	case number != pin:
		return fmt.Sprintf("is a number with a sign; say %d", line)
	case number != strconv.FormatUint(line, 10):
		return fmt.Sprintf("begins with a 0; say %d", line)
	}
	return ""
}

// checkPins refuses pins that are no lines and a pin that stands twice, as far as that can be seen without the chip, so that a start with
// it is refused before anything runs.
func (o *gpioOptions) checkPins() error {
	var pins []sensorPin
	add := func(section, kind, name, pin string) {
		pins = append(pins, sensorPin{section + "." + name + ".pin", pin, kind + "/" + name})
	}
	for _, name := range slices.Sorted(maps.Keys(o.Outputs)) {
		add("outputs", "output", name, o.Outputs[name].Pin)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Inputs)) {
		add("inputs", "input", name, o.Inputs[name].Pin)
	}
	for _, name := range slices.Sorted(maps.Keys(o.PWM)) {
		add("pwm", "pwm", name, o.PWM[name].Pin)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Servos)) {
		add("servos", "servo", name, o.Servos[name].Pin)
	}
	return checkPins(o.Chip, pins...)
}
