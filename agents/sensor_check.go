package agents

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"rollcall/config"
	"rollcall/gpio"
)

// What can be said of pins and devices without the hardware, so that the check of a configuration says it with file and line.

// piHeader is a chip with the lines of a Raspberry Pi's header.
var piHeader = sync.OnceValue(func() gpio.ChipInfo {
	header := gpio.ChipInfo{Lines: make([]gpio.LineInfo, gpioHeaderLines)}
	for i := range header.Lines {
		header.Lines[i] = gpio.LineInfo{Offset: i, Name: fmt.Sprintf("GPIO%d", i)}
	}
	return header
})

// headerLine returns which line of a Raspberry Pi's header a pin of a chip means, or "" if only the chip can tell. A position of the
// header that is no line is an error.
func headerLine(chip, pin string) (line string, err error) {
	if chip != "" && chip != gpioSim && !slices.Contains(gpio.HeaderLabels(), chip) {
		return "", nil
	}
	offset, err := piHeader().Find(pin)
	switch digits, position := strings.CutPrefix(strings.ToLower(pin), "pin"); {
	case err == nil:
		return "line " + strconv.Itoa(offset), nil
	case position && digits != "" && strings.Trim(digits, "0123456789") == "":
		return "", err
	}
	return "", nil
}

// sensorPin is a pin in the options, where it stands there, and whose it is, "" if that says enough.
type sensorPin struct{ at, pin, path string }

// checkPins refuses pins that are no lines, and two that are one line, as far as that can be seen without the chip: the same word on any
// chip, and two words for one line on a chip with the lines of a Raspberry Pi. What is left out is passed over.
func checkPins(chip string, pins ...sensorPin) error {
	first := map[string]string{}
	for _, p := range pins {
		if p.pin == "" {
			continue
		}
		if why := gpioPinForm(p.pin); why != "" {
			return config.At(p.at, "pin %.80q: %s", p.pin, why)
		}
		word, err := headerLine(chip, p.pin)
		if err != nil {
			return config.At(p.at, "%w", err)
		}
		if word == "" {
			word = strings.ToLower(p.pin)
		}
		if other, twice := first[word]; twice {
			return config.At(p.at, "%q is %s, which %s has already", p.pin, word, other)
		}
		first[word] = cmp.Or(p.path, p.at)
	}
	return nil
}

// checkDevice refuses what can't be the path of an IIO device; a word without a slash is a name, a label or an address.
func checkDevice(device string) error {
	const like = "as /sys/bus/iio/devices/iio:device0"
	switch {
	case !strings.Contains(device, "/"):
		return nil
	case !strings.HasPrefix(device, "/"):
		return config.At("device", "%.80q is neither a name nor a path from the root, %s", device, like)
	case strings.HasPrefix(device, "/dev/"):
		return config.At("device", "%.80q is not where the kernel tells of a device: give its folder in sysfs, %s, or its name", device, like)
	case filepath.Clean(device) != device && filepath.Clean(device)+"/" != device:
		return config.At("device", "%.80q is a roundabout way to %s", device, filepath.Clean(device))
	}
	return nil
}
