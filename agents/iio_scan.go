package agents

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

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
