package agents

import (
	"regexp"
	"slices"
	"strings"
)

// iioChannel is a channel: voltage0, voltage1-voltage2, voltage3_supply.
type iioChannel struct {
	direction    string // in or out
	id           string // voltage1-voltage2
	kind         string // voltage
	differential bool
}

// iioChannelName is the name of a channel in the name of its file: type, number, the same of what is subtracted, and a name that
// some drivers add.
func iioChannelName() *regexp.Regexp {
	return regexp.MustCompile(`^([a-z]+)[0-9]*(-[a-z]+[0-9]*)?(_[A-Za-z0-9][A-Za-z0-9_.-]*)?$`)
}

// iioLongest keeps the paths of points within reports.MaxPath.
const iioLongest = 64

// iioChannels returns the channels of a direction, of kinds that are wanted, that the files give: by what ends in _raw, or in
// _input where a driver measures in units and has no counts.
func iioChannels(files []string, direction string, wanted func(kind string) bool) []iioChannel {
	pattern := iioChannelName()
	var out []iioChannel
	for _, suffix := range []string{"_raw", "_input"} {
		for _, file := range files {
			id, ok := strings.CutPrefix(file, direction+"_")
			if ok {
				id, ok = strings.CutSuffix(id, suffix)
			}
			m := pattern.FindStringSubmatch(id)
			if !ok || m == nil || len(id) > iioLongest || !wanted(m[1]) {
				continue
			}
			if slices.ContainsFunc(out, func(c iioChannel) bool { return c.id == id }) {
				continue
			}
			out = append(out, iioChannel{direction, id, m[1], m[2] != ""})
		}
	}
	return out
}

// file returns the name of the channel's own file of that kind: in_voltage0_raw.
func (c iioChannel) file(what string) string { return c.direction + "_" + c.id + "_" + what }

// attribute returns which of the files has an attribute of the channel: its own, that of all channels of its type, of its
// direction, or of the device, in this order; "" if none has. See __iio_device_attr_init in drivers/iio/industrialio-core.c.
func (c iioChannel) attribute(files []string, what string) string {
	kind := c.kind
	if c.differential {
		kind += "-" + c.kind
	}
	for _, name := range []string{c.file(what), c.direction + "_" + kind + "_" + what, c.direction + "_" + what, what} {
		if slices.Contains(files, name) {
			return name
		}
	}
	return ""
}

// iioUnit is how a kind of channel is measured. The kernel's unit by divisor is the point's: to divide keeps 1650 mV at 1.65 V.
type iioUnit struct {
	point, unit, class, label string
	divisor                   float64
}

// iioUnitOf returns the unit of a kind of channel. The kernel measures in mV, mA, mW, milli degrees Celsius and Ω.
func iioUnitOf(kind string) (iioUnit, bool) {
	switch kind {
	case "voltage":
		return iioUnit{"volts", "V", "voltage", "voltage", 1e3}, true
	case "current":
		return iioUnit{"amperes", "A", "current", "current", 1e3}, true
	case "power":
		return iioUnit{"watts", "W", "power", "power", 1e3}, true
	case "temp":
		return iioUnit{"celsius", "°C", "temperature", "temperature", 1e3}, true
	case "resistance":
		return iioUnit{"ohms", "Ω", "", "resistance", 1}, true
	}
	return iioUnit{}, false
}

// iioMeasure returns what a count means in the kernel's unit: "(raw + offset) * scale".
func iioMeasure(raw int64, offset, scale float64) float64 { return (float64(raw) + offset) * scale }
