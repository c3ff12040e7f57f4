package agents

import (
	"cmp"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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

// iioFormat is how a channel lies in a buffer, as scan_elements/in_…_type and _index say.
type iioFormat struct {
	channel string
	index   int64
	big     bool // endian
	signed  bool
	bits    int // that are the value
	bytes   int // that are stored
	shift   int // to the right, before the value is there
}

// parseIIOFormat parses [be|le]:[s|u]bits/storagebits[Xrepeat][>>shift].
func parseIIOFormat(text string) (iioFormat, error) {
	bad := fmt.Errorf("format of a sample %.40q: must be as le:s12/16>>4, with 8, 16, 32 or 64 bits stored", text)
	endian, rest, ok := strings.Cut(text, ":")
	if !ok || endian != "le" && endian != "be" || rest == "" || rest[0] != 's' && rest[0] != 'u' {
		return iioFormat{}, bad
	}
	f := iioFormat{big: endian == "be", signed: rest[0] == 's'}
	rest, shift, shifted := strings.Cut(rest[1:], ">>")
	real, storage, ok := strings.Cut(rest, "/")
	if !ok {
		return iioFormat{}, bad
	}
	stored := 0
	for _, n := range []struct {
		text string
		to   *int
	}{{real, &f.bits}, {storage, &stored}, {shift, &f.shift}} {
		if n.to == &f.shift && !shifted {
			continue
		}
		v, err := strconv.ParseUint(n.text, 10, 7) // 64 at most, and what a repeat adds is no number
		if err != nil {
			return iioFormat{}, bad
		}
		*n.to = int(v)
	}
	f.bytes = stored / 8
	if !slices.Contains([]int{8, 16, 32, 64}, stored) || f.bits < 1 || f.bits+f.shift > stored {
		return iioFormat{}, bad
	}
	return f, nil
}

// value returns the value of a sample, which b begins with. One of 64 bits without sign is taken for one with.
func (f iioFormat) value(b []byte) int64 {
	var v uint64
	for i := range f.bytes {
		at := i
		if !f.big {
			at = f.bytes - 1 - i
		}
		v = v<<8 | uint64(b[at])
	}
	v >>= f.shift
	unused := 64 - f.bits
	v <<= unused
	if f.signed {
		return int64(v) >> unused
	}
	return int64(v >> unused)
}

// iioElement is a channel at its place in a scan.
type iioElement struct {
	iioFormat
	offset int
}

// iioLayout is one scan: a sample of each channel.
type iioLayout struct {
	elements []iioElement // in the order of the formats that it was made of
	size     int
}

// newIIOLayout lays channels out as iio_compute_scan_bytes in drivers/iio/industrialio-buffer.c does: in the order of their
// indices, each at a multiple of its size, and the whole a multiple of the largest.
func newIIOLayout(formats []iioFormat) iioLayout {
	l := iioLayout{elements: make([]iioElement, len(formats))}
	order := make([]int, len(formats))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(formats[a].index, formats[b].index) })
	align := func(n, size int) int { return (n + size - 1) / size * size }
	largest := 1
	for _, i := range order {
		f := formats[i]
		at := align(l.size, f.bytes)
		l.elements[i] = iioElement{f, at}
		l.size = at + f.bytes
		largest = max(largest, f.bytes)
	}
	l.size = align(l.size, largest)
	return l
}

// findIIOTrigger returns the first of the triggers that there is.
func findIIOTrigger(root string, names []string) (*iioDevice, error) {
	dirs, _ := filepath.Glob(filepath.Join(root, iioDevices, "trigger*")) // the pattern is no bad one
	have := map[string]string{}
	var list []string
	for _, dir := range dirs {
		if name, err := iioRead(dir, "name"); err == nil {
			have[name] = dir
			list = append(list, name)
		}
	}
	for _, name := range names {
		if dir, ok := have[name]; ok {
			return &iioDevice{iioIdentity: iioIdentity{dir: dir, name: name}}, nil
		}
	}
	slices.Sort(list)
	others := "there is none at all"
	if len(list) > 0 {
		others = "there are " + strings.Join(list, ", ")
	}
	return nil, fmt.Errorf("no IIO trigger with the name %s: %s; make one: modprobe iio-trig-hrtimer && mkdir /sys/kernel/config/iio/triggers/hrtimer/%s",
		strings.Join(names, " or "), others, names[len(names)-1])
}
