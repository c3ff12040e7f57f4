package agents

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
	"rollcall/gpio/pwm"
)

// dacOpen opens an output.
type dacOpen func(name string, c dacOutput) (dacHardware, error)

// dacOpener returns what opens the outputs, and what is to be done when they are closed.
func dacOpener(o dacOptions, d Deps) (open dacOpen, done func() error, err error) {
	nothing := func() error { return nil }
	switch {
	case o.Sim:
		return func(name string, c dacOutput) (dacHardware, error) { return openDACSim(name, c, d) }, nothing, nil
	case o.Driver == dacPWM:
		p := &dacPulses{options: o, deps: d}
		return p.open, p.close, nil
	}
	device, err := iioSearch{root: iioRoot(d), want: o.Device, what: "voltages to set", hint: dacHint,
		fits: func(files []string) bool { return len(dacChannels(files)) > 0 }}.find()
	if err != nil {
		return nil, nil, err
	}
	shared := &dacDevice{iioDevice: device}
	return func(name string, c dacOutput) (dacHardware, error) { return shared.open(name, c, d) }, nothing, nil
}

func dacHint(string) string {
	return "make it known to the kernel, such as by: echo mcp4725 0x60 | sudo tee /sys/bus/i2c/devices/i2c-1/new_device"
}

func dacChannels(files []string) []iioChannel {
	return iioChannels(files, "out", func(kind string) bool { return kind == "voltage" })
}

// dacDevice is a converter, which its channels share.
type dacDevice struct {
	mu sync.Mutex
	*iioDevice
}

// dacChannel is a channel of a converter.
type dacChannel struct {
	device    *dacDevice
	rng       dacRange
	file      string
	powerdown string // "": the driver has none
	safe      int64
}

func (d *dacDevice) open(name string, c dacOutput, deps Deps) (dacHardware, error) {
	files, err := iioFiles(d.dir)
	if err != nil {
		return nil, err
	}
	id := cmp.Or(c.Channel, name)
	channels := dacChannels(files)
	i := slices.IndexFunc(channels, func(ch iioChannel) bool { return ch.id == id && slices.Contains(files, ch.file("raw")) })
	if i < 0 {
		var ids []string
		for _, ch := range channels {
			ids = append(ids, ch.id)
		}
		return nil, iioAt(deps, "outputs."+name+".channel", "the device has no output %.60q; it has %s", id, strings.Join(ids, ", "))
	}
	out := &dacChannel{device: d, file: channels[i].file("raw")}
	if f := channels[i].file("powerdown"); slices.Contains(files, f) {
		out.powerdown = f
	}
	if out.rng, err = d.rangeOf(channels[i], c, files); err != nil {
		return nil, iioAt(deps, "outputs."+name, "%w", err)
	}
	if out.safe, err = out.rng.safe(c); err != nil {
		return nil, iioAt(deps, "outputs."+name+".safe", "%w", err)
	}
	return out, nil
}

// rangeOf returns what the counts of a channel mean and how far they may go.
func (d *dacDevice) rangeOf(ch iioChannel, c dacOutput, files []string) (dacRange, error) {
	scale, offset := c.Scale, 0.0
	var err error
	if file := ch.attribute(files, "scale"); scale == 0 && file != "" {
		if scale, err = d.readFloat(file); err != nil {
			return dacRange{}, fmt.Errorf("%w; if the driver does not know its reference, say in scale how many millivolts a count is", err)
		}
	}
	if file := ch.attribute(files, "offset"); file != "" {
		if offset, err = d.readFloat(file); err != nil {
			return dacRange{}, err
		}
	}
	if scale <= 0 {
		return dacRange{}, errors.New("the driver gives no scale: say in scale how many millivolts a count is, such as 0.80566 for 12 bits of 3.3 V")
	}
	var floor, ceil int64
	if file := ch.file("raw_available"); slices.Contains(files, file) {
		text, err := iioRead(d.dir, file)
		if err != nil {
			return dacRange{}, err
		}
		if floor, ceil, err = parseDACAvailable(text); err != nil {
			return dacRange{}, err
		}
	} else {
		if c.Max == 0 {
			return dacRange{}, errors.New("the driver does not tell how far its counts go: say in max how many volts it may make")
		}
		floor = int64(math.Round(min(0, c.Min)*1000/scale - offset))
		ceil = int64(math.Round(max(0, c.Max)*1000/scale - offset))
	}
	most := cmp.Or(c.Max, (float64(ceil)+offset)*scale/1000)
	return newDACRange(scale, offset, c.Min, most, floor, ceil)
}

// parseDACAvailable parses "[0 1 4095]": the least count, the step and the greatest, sysfs-bus-iio-dac.
func parseDACAvailable(text string) (floor, ceil int64, err error) {
	inner, ok := strings.CutPrefix(text, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	words := strings.Fields(inner)
	if !ok || !closed || len(words) != 3 {
		return 0, 0, fmt.Errorf("raw_available has %.40q, which is no range as [0 1 4095]", text)
	}
	floor, err1 := strconv.ParseInt(words[0], 10, 64)
	ceil, err2 := strconv.ParseInt(words[2], 10, 64)
	if err := errors.Join(err1, err2); err != nil || floor >= ceil {
		return 0, 0, fmt.Errorf("raw_available has %.40q, which is no range as [0 1 4095]", text)
	}
	return floor, ceil, nil
}

func (c *dacChannel) bounds() dacRange { return c.rng }

// write sets the channel. One that is powered down is powered up then.
func (c *dacChannel) write(raw int64) error {
	c.device.mu.Lock()
	defer c.device.mu.Unlock()
	if err := c.device.fresh(); err != nil {
		return err
	}
	if err := c.device.write(c.file, strconv.FormatInt(raw, 10)); err != nil || c.powerdown == "" {
		return err
	}
	if down, err := iioRead(c.device.dir, c.powerdown); err != nil || down != "1" {
		return err
	}
	return c.device.write(c.powerdown, "0")
}

func (c *dacChannel) read() (int64, error) {
	c.device.mu.Lock()
	defer c.device.mu.Unlock()
	if err := c.device.fresh(); err != nil {
		return 0, err
	}
	return c.device.readInt(c.file)
}

func (c *dacChannel) close() error { return c.write(c.safe) }

// dacSim is an output that nothing hangs on.
type dacSim struct {
	rng dacRange
	mu  sync.Mutex
	raw int64
}

// openDACSim makes an output of 12 bits and 3.3 V, or what the options say.
func openDACSim(name string, c dacOutput, d Deps) (dacHardware, error) {
	const counts = 4096
	most := cmp.Or(c.Max, c.high())
	scale := cmp.Or(c.Scale, max(most, -c.Min)*1000/(counts-1))
	rng, err := newDACRange(scale, 0, c.Min, most, int64(math.Floor(min(0, c.Min)*1000/scale)), int64(math.Ceil(most*1000/scale)))
	if err != nil {
		return nil, err
	}
	if _, err := rng.safe(c); err != nil {
		return nil, iioAt(d, "outputs."+name+".safe", "%w", err)
	}
	return &dacSim{rng: rng, raw: rng.nearest(0, rng.floor, rng.ceil)}, nil
}

func (s *dacSim) bounds() dacRange { return s.rng }

func (s *dacSim) write(raw int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw = raw
	return nil
}

func (s *dacSim) read() (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw, nil
}

func (s *dacSim) close() error { return nil }

// dacPulses opens PWM outputs.
type dacPulses struct {
	options dacOptions
	deps    Deps
	chip    gpio.Chip // nil until a line is needed
}

// dacPulse is a PWM output. Its counts are nanoseconds of its period.
type dacPulse struct {
	rng     dacRange
	period  time.Duration
	channel pwm.Channel
	line    gpio.Line // nil: it is a channel of the kernel's
	duty    string    // the file with the duty of a channel

	mu  sync.Mutex
	raw int64 // of a line
	err error // why a line has no pulses
}

func (p *dacPulses) open(name string, c dacOutput) (dacHardware, error) {
	out := &dacPulse{period: c.period()}
	var err error
	if out.rng, err = newDACRange(c.high()*1000/float64(out.period), 0, c.Min, cmp.Or(c.Max, c.high()), 0, int64(out.period)); err != nil {
		return nil, iioAt(p.deps, "outputs."+name, "%w", err)
	}
	o := pwm.Options{Period: out.period, TakeOver: true, Failed: out.fail}
	first := func(present int64) float64 {
		out.raw = present
		if c.Slew == 0 {
			out.raw = out.rng.raw(*c.Initial) // which has a default
		}
		return float64(out.raw) / float64(out.period)
	}
	if c.Channel != "" {
		d, err := pwm.ParseDriver(c.Channel)
		if err != nil {
			return nil, err
		}
		root := iioRoot(p.deps)
		folder := filepath.Join(root, "sys/class/pwm", fmt.Sprintf("pwmchip%d/pwm%d", d.Chip, d.Channel))
		out.duty = filepath.Join(folder, "duty_cycle")
		o.Initial = first(dacPresent(folder, out.period))
		out.channel, err = pwm.Hardware(root, d.Chip, d.Channel, o)
		return out, err
	}
	o.Initial = first(0)
	if out.line, err = p.request(name, c); err != nil {
		return nil, err
	}
	if out.channel, err = pwm.Software(out.line, o); err != nil {
		return nil, errors.Join(err, out.line.Close())
	}
	return out, nil
}

// dacPresent returns what a channel makes that was left running, in counts of the period that it is to have.
func dacPresent(folder string, period time.Duration) int64 {
	var n [3]int64
	for i, file := range []string{"enable", "duty_cycle", "period"} {
		text, err := iioRead(folder, file)
		if err != nil {
			return 0 // it is not exported
		}
		if n[i], err = strconv.ParseInt(text, 10, 64); err != nil {
			return 0
		}
	}
	if n[0] != 1 || n[2] <= 0 || n[1] < 0 || n[1] > n[2] {
		return 0
	}
	return int64(math.Round(float64(n[1]) / float64(n[2]) * float64(period)))
}

// request takes the line of an output.
func (p *dacPulses) request(name string, c dacOutput) (gpio.Line, error) {
	if p.chip == nil {
		chip, err := p.openChip()
		if err != nil {
			return nil, err
		}
		p.chip = chip
	}
	info, err := p.chip.Info()
	if err != nil {
		return nil, err
	}
	offset, err := info.Find(c.Pin)
	if err != nil {
		return nil, iioAt(p.deps, "outputs."+name+".pin", "%w", err)
	}
	return p.chip.Request(offset, gpio.LineOptions{Consumer: "rollcall-" + p.deps.Service, Output: true})
}

// openChip opens the chip that the options name. Only "sim" means the one in memory.
func (p *dacPulses) openChip() (gpio.Chip, error) {
	name := p.options.Chip
	switch {
	case p.deps.OpenChip != nil:
		return p.deps.OpenChip(name)
	case name == gpioSim:
		return gpiotest.Sim(), nil
	}
	return gpio.Open(name)
}

func (p *dacPulses) close() error {
	if p.chip == nil {
		return nil
	}
	return p.chip.Close()
}

func (p *dacPulse) bounds() dacRange { return p.rng }

func (p *dacPulse) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *dacPulse) write(raw int64) error {
	p.mu.Lock()
	p.raw, p.err = raw, nil
	p.mu.Unlock()
	return p.channel.Set(float64(raw) / float64(p.period))
}

// read returns the duty that the kernel has. Of a line there is no such thing to read: it is what it was told, as long as it can be
// driven.
func (p *dacPulse) read() (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.duty == "" {
		return p.raw, p.err
	}
	text, err := iioRead(filepath.Dir(p.duty), filepath.Base(p.duty))
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s has %.40q, which is no duty", p.duty, text)
	}
	return n, nil
}

func (p *dacPulse) close() error {
	err := p.channel.Close()
	if p.line != nil {
		err = errors.Join(err, p.line.Close())
	}
	return err
}
