package agents

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// ainSource is what has the channels.
type ainSource interface {
	// fresh is called before one or more looks at what is there now.
	fresh() error
	look(c *ainInput) (ainLook, error)
}

// ainLook is what was seen of a channel at one moment.
type ainLook struct {
	raw      int64
	measured float64 // in the unit of its points
}

// ainInput is a channel with its options.
type ainInput struct {
	iioChannel
	options              ainChannel
	unit                 iioUnit
	name, label          string
	counts, measures     bool   // it has a point raw; it has a unit
	input, scale, offset string // files; "": there is none
}

// linear reports whether its counts have a scale.
func (in *ainInput) linear() bool { return in.counts && (in.options.Scale != 0 || in.scale != "") }

// open finds the device and its channels.
func (a *ain) open(o ainOptions, d Deps) ([]*ainInput, error) {
	if o.Sim {
		a.source = ainSim{simulatedWave(0, ainSimMost, time.Minute, time.Now)}
		return ainInputs(ainSimFiles(o), o, d, func(string) string { return "" })
	}
	device, err := iioSearch{root: iioRoot(d), want: o.Device, what: "channels to read", hint: ainHint,
		fits: func(files []string) bool { return len(iioChannels(files, "in", ainWants)) > 0 }}.find()
	if err != nil {
		return nil, err
	}
	files, err := iioFiles(device.dir)
	if err != nil {
		return nil, err
	}
	a.source = ainDevice{device}
	return ainInputs(files, o, d, func(file string) string {
		text, _ := iioRead(device.dir, file) // there is no label then
		return text
	})
}

func ainHint(want string) string {
	switch want = strings.ToLower(want); {
	case strings.HasPrefix(want, "mcp"):
		return "put dtoverlay=mcp3008,spi0-0-present into /boot/firmware/config.txt and restart"
	case strings.HasPrefix(want, "ads"):
		return "put dtoverlay=" + want + ",cha_enable=true into /boot/firmware/config.txt and restart (the kernel calls an ADS1115 ads1015 too)"
	}
	return "an A/D converter needs its dtoverlay line in /boot/firmware/config.txt, such as dtoverlay=ads1115,cha_enable=true, and a restart"
}

// ainWants reports whether channels of a kind are analog inputs.
func ainWants(kind string) bool {
	_, ok := iioUnitOf(kind)
	return ok
}

// ainInputs returns the channels that the files give, with their options.
func ainInputs(files []string, o ainOptions, d Deps, read func(file string) string) ([]*ainInput, error) {
	var inputs []*ainInput
	named := map[string]bool{}
	channels := iioChannels(files, "in", ainWants)
	for _, name := range slices.Sorted(maps.Keys(o.Channels)) {
		options := o.Channels[name]
		id := cmp.Or(options.Channel, name)
		i := slices.IndexFunc(channels, func(c iioChannel) bool { return c.id == id })
		if i < 0 {
			var ids []string
			for _, c := range channels {
				ids = append(ids, c.id)
			}
			return nil, iioAt(d, "channels."+name, "the device has no channel %.60q; it has %s", id, strings.Join(ids, ", "))
		}
		named[id] = true
		inputs = append(inputs, newAINInput(channels[i], name, options, files, read))
	}
	for _, c := range channels {
		if _, taken := o.Channels[c.id]; !o.Only && !named[c.id] && !taken {
			inputs = append(inputs, newAINInput(c, c.id, ainChannel{}, files, read))
		}
	}
	for _, in := range inputs {
		if len(in.options.Table) > 0 && in.options.From != ainFromRaw && !in.measures {
			return nil, iioAt(d, "channels."+in.name+".table", "the driver gives %s no scale: give it one in scale, or make the table from: raw", in.id)
		}
	}
	return inputs, nil
}

func newAINInput(c iioChannel, name string, o ainChannel, files []string, read func(string) string) *ainInput {
	in := &ainInput{iioChannel: c, options: o, name: name, counts: slices.Contains(files, c.file("raw"))}
	in.unit, _ = iioUnitOf(c.kind)
	in.label = cmp.Or(o.Label, read(c.file("label")), name)
	in.scale, in.offset = c.attribute(files, "scale"), c.attribute(files, "offset")
	if slices.Contains(files, c.file("input")) {
		in.input = c.file("input")
	}
	in.measures = o.Scale != 0 || in.scale != "" || in.input != ""
	return in
}

// ainDevice reads the channels of a device in sysfs.
type ainDevice struct{ *iioDevice }

func (d ainDevice) look(in *ainInput) (l ainLook, err error) {
	if in.counts {
		if l.raw, err = d.readInt(in.file("raw")); err != nil || !in.measures {
			return l, err
		}
	}
	if in.options.Scale == 0 && in.scale == "" { // it has an _input, which is in the kernel's unit
		v, err := d.readFloat(in.input)
		l.measured = v / in.unit.divisor
		return l, err
	}
	l.measured, err = d.measure(in, l.raw)
	return l, err
}

// measure returns what a count is. Scale and offset are read every time: they change with a gain that somebody sets.
func (d ainDevice) measure(in *ainInput, raw int64) (float64, error) {
	scale, offset := in.options.Scale, 0.0
	var err error
	if scale == 0 {
		if scale, err = d.readFloat(in.scale); err != nil {
			return 0, err
		}
	}
	if in.offset != "" {
		if offset, err = d.readFloat(in.offset); err != nil {
			return 0, err
		}
	}
	return iioMeasure(raw, offset, scale) / in.unit.divisor, nil
}

// ainSim is the made-up source: a 12-bit converter of 3.3 V, all channels alike.
type ainSim struct{ wave sensorRead }

const (
	ainSimMost  = 4095
	ainSimScale = 3300.0 / 4096 // mV
)

func (ainSim) fresh() error { return nil }

func (s ainSim) look(in *ainInput) (ainLook, error) {
	v, err := s.wave(context.Background())
	count, ok := v.(float64)
	if err != nil || !ok {
		return ainLook{}, fmt.Errorf("make a value up: %v, %w", v, err)
	}
	l := ainLook{raw: int64(math.Round(count))}
	l.measured = iioMeasure(l.raw, 0, cmp.Or(in.options.Scale, ainSimScale)) / in.unit.divisor
	return l, nil
}

// ainSimFiles returns the files of a device with the channels that the options name, or with two.
func ainSimFiles(o ainOptions) []string {
	files := []string{"in_voltage_scale", "in_voltage-voltage_scale"}
	for name, c := range o.Channels {
		files = append(files, "in_"+cmp.Or(c.Channel, name)+"_raw")
	}
	if len(o.Channels) == 0 {
		files = append(files, "in_voltage0_raw", "in_voltage1_raw")
	}
	slices.Sort(files)
	return files
}

// ainRange returns the least and the greatest value of a table.
func ainRange(table []ainRow) (lo, hi float64) {
	lo, hi = table[0].Is, table[0].Is
	for _, r := range table {
		lo, hi = min(lo, r.Is), max(hi, r.Is)
	}
	return lo, hi
}

// ainInterpolate returns what a table of two rows or more, which rise, says of v: on the straight line between the rows about it,
// and beyond the ends on the line of the outermost two, or if clamped the end itself.
func ainInterpolate(table []ainRow, v float64, clamp bool) float64 {
	last := len(table) - 1
	switch {
	case clamp && v <= table[0].At:
		return table[0].Is
	case clamp && v >= table[last].At:
		return table[last].Is
	}
	i := 1
	for i < last && v > table[i].At {
		i++
	}
	a, b := table[i-1], table[i]
	if v == b.At {
		return b.Is // to the letter
	}
	return a.Is + (v-a.At)/(b.At-a.At)*(b.Is-a.Is)
}
