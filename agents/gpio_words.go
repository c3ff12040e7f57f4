package agents

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"rollcall/reports"
)

// gpioPreset names what an output or input is for.
type gpioPreset string

// What outputs and inputs are for.
const (
	gpioRelay  gpioPreset = "relay"
	gpioLED    gpioPreset = "led"
	gpioValve  gpioPreset = "valve"
	gpioButton gpioPreset = "button"
	gpioPIR    gpioPreset = "pir"
	gpioDoor   gpioPreset = "door"
	gpioLeak   gpioPreset = "leak"
	gpioMeter  gpioPreset = "meter"
)

// The words of on and off. YAML says off and on as false and true, and people say 0 and 1.
const (
	gpioWordOff = "off"
	gpioWordOn  = "on"
)

// gpioSwitch returns the word for a value that is on or off however it is spelt, and any other in small letters.
func gpioSwitch(b []byte) string {
	switch word := strings.ToLower(string(b)); word {
	case "off", "false", "0", "no":
		return gpioWordOff
	case "on", "true", "1", "yes":
		return gpioWordOn
	default:
		return word
	}
}

// gpioInitial is what an output is when it is taken.
type gpioInitial string

const (
	gpioOff     gpioInitial = gpioWordOff
	gpioOn      gpioInitial = gpioWordOn
	gpioKeep    gpioInitial = "keep"
	gpioRestore gpioInitial = "restore"
)

// UnmarshalText takes off, on, keep and restore.
func (i *gpioInitial) UnmarshalText(b []byte) error {
	*i = gpioInitial(gpioSwitch(b))
	switch *i {
	case gpioOff, gpioOn, gpioKeep, gpioRestore:
		return nil
	}
	return fmt.Errorf("%.40q is not off, on, keep or restore", b)
}

// gpioSafe is what an output is left as.
type gpioSafe string

const (
	gpioSafeOff  gpioSafe = gpioWordOff
	gpioSafeOn   gpioSafe = gpioWordOn
	gpioSafeKeep gpioSafe = "keep"
)

// UnmarshalText takes off, on and keep.
func (s *gpioSafe) UnmarshalText(b []byte) error {
	*s = gpioSafe(gpioSwitch(b))
	switch *s {
	case gpioSafeOff, gpioSafeOn, gpioSafeKeep:
		return nil
	}
	return fmt.Errorf("%.40q is not off, on or keep", b)
}

// gpioSafeValue is what a failsafe makes of an output.
type gpioSafeValue string

const gpioStay gpioSafeValue = "hold"

// UnmarshalText takes off, on and hold.
func (s *gpioSafeValue) UnmarshalText(b []byte) error {
	*s = gpioSafeValue(gpioSwitch(b))
	switch *s {
	case gpioWordOff, gpioWordOn, gpioStay:
		return nil
	}
	return fmt.Errorf("%.40q is not off, on or hold", b)
}

// gpioOnChange is true, false or a topic; "" is the default.
type gpioOnChange string

const (
	gpioTell  gpioOnChange = "true"
	gpioQuiet gpioOnChange = "false"
)

// UnmarshalText takes true, false or a topic. A topic has a / somewhere, so that a slip of the keyboard is none.
func (o *gpioOnChange) UnmarshalText(b []byte) error {
	switch gpioSwitch(b) {
	case gpioWordOn:
		*o = gpioTell
	case gpioWordOff:
		*o = gpioQuiet
	default:
		*o = gpioOnChange(b)
		return o.check()
	}
	return nil
}

func (o gpioOnChange) check() error {
	topic := o.topic()
	if topic == "" {
		return nil
	}
	if err := reports.ValidTopic(topic); err != nil {
		return err
	}
	if !strings.Contains(topic, "/") {
		return fmt.Errorf("%.40q is not true, false or a topic, which has a / somewhere", topic)
	}
	return nil
}

// topic returns the topic that edges are published on as well, or "".
func (o gpioOnChange) topic() string {
	if o == gpioTell || o == gpioQuiet {
		return ""
	}
	return string(o)
}

// gpioEdge says which edges of an input are told of.
type gpioEdge string

const (
	gpioBoth    gpioEdge = "both"
	gpioRising  gpioEdge = "rising"
	gpioFalling gpioEdge = "falling"
)

func (e gpioEdge) wants(rising bool) bool {
	return e == gpioBoth || rising == (e == gpioRising)
}

// gpioPolarity is normal or inverted.
type gpioPolarity string

const (
	gpioNormal   gpioPolarity = "normal"
	gpioInverted gpioPolarity = "inverted"
)

// gpioPWMDriver is hardware, software or pwmchipN/M.
type gpioPWMDriver string

const (
	gpioHardware gpioPWMDriver = "hardware"
	gpioSoftware gpioPWMDriver = "software"
)

// gpioChannelName matches the name of a channel of the kernel.
var gpioChannelName = regexp.MustCompile(`^pwmchip(\d{1,4})/(\d{1,4})$`)

// channel returns the channel that is meant by name.
func (d gpioPWMDriver) channel() (chip, channel int, ok bool) {
	m := gpioChannelName.FindStringSubmatch(string(d))
	if m == nil {
		return 0, 0, false
	}
	chip, _ = strconv.Atoi(m[1])    // digits, and few of them
	channel, _ = strconv.Atoi(m[2]) // as well
	return chip, channel, true
}

// gpioMostTime is how long a command may have a timer run.
const gpioMostTime = 366 * 24 * time.Hour

// gpioFor is how long something is to last, in a command: a duration like 500ms, or a number of seconds.
type gpioFor time.Duration

// UnmarshalText takes a duration or a number.
func (f *gpioFor) UnmarshalText(b []byte) error {
	d, err := gpioLasting(string(b))
	switch {
	case err != nil:
		return err
	case d <= 0 || d > gpioMostTime:
		return fmt.Errorf("%.40q is not more than 0 and at most a year", b)
	}
	*f = gpioFor(d)
	return nil
}

// gpioLasting reads a duration, or a number of seconds. What is beyond all bounds remains beyond gpioMostTime.
func gpioLasting(text string) (time.Duration, error) {
	trimmed := strings.TrimSpace(text)
	if seconds, err := strconv.ParseFloat(trimmed, 64); err == nil && strings.Trim(trimmed, "+-.0123456789eE") == "" {
		const most = 2 * float64(gpioMostTime)
		return time.Duration(math.Round(max(-most, min(seconds*float64(time.Second), most)))), nil
	}
	d, err := time.ParseDuration(trimmed)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a duration like 500ms, 10s or 1h30m, and no number of seconds", text)
	}
	return d, nil
}
