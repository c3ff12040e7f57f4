package agents

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rollcall/config"
	"rollcall/reports"
)

// What a buffered ain adds: samples come through /dev/iio:deviceN at the rate of a trigger, and for each interval the least, the
// greatest, the mean and the effective value (rms) are published. See Documentation/ABI/testing/sysfs-bus-iio, from buffer/ and
// scan_elements/ on, and Documentation/driver-api/iio/{buffers,triggers}.rst.

// ainBufferOptions are the options of the buffer.
type ainBufferOptions struct {
	Rate     float64          `yaml:"rate" doc:"samples a second of each channel; 0: no buffer"`
	Every    reports.Duration `yaml:"every" doc:"how long an interval is of which min, max, mean and rms are published"`
	Trigger  string           `yaml:"trigger" doc:"name of the IIO trigger; default: the device's own, or else the one with the name rollcall"`
	Channels []string         `yaml:"channels" doc:"names of the channels that are sampled; default: all that the buffer can have"`
}

const (
	ainBufferBranch  = "buffer"   // of the points of the buffer as a whole
	ainBufferTrigger = "rollcall" // the trigger where nothing else is said
	ainMostRate      = 1e6
	ainLeastEvery    = 100 * time.Millisecond
	ainMostEvery     = time.Hour
)

func (o ainBufferOptions) on() bool { return o.Rate != 0 }

func (o ainBufferOptions) validate() error {
	switch every := time.Duration(o.Every); {
	case !(o.Rate >= 0 && o.Rate <= ainMostRate):
		return config.At("buffer.rate", "%v is not from 0 to %v", o.Rate, ainMostRate)
	case !o.on() && (o.Trigger != "" || len(o.Channels) > 0):
		return config.At("buffer.rate", "is missing: without it there is no buffer")
	case o.on() && (every < ainLeastEvery || every > ainMostEvery):
		return config.At("buffer.every", "%s is not from %s to %s", o.Every, ainLeastEvery, ainMostEvery)
	case o.on() && o.Rate*every.Seconds() < 2:
		return config.At("buffer.every", "there are fewer than two samples in %s", o.Every)
	}
	return nil
}

// ainBuffered is an ain with a buffer. Its statistics come as events, one for each interval.
type ainBuffered struct {
	*ain
	buffer *ainBuffer
}

// ainBuffer reads a device's buffer by a goroutine, which lives until close or until the device fails. As a source it has
// the last sample of its channels.
type ainBuffer struct {
	ainDevice // reads what is not in the buffer, as far as the device lets it
	file      *os.File
	layout    iioLayout
	inputs    [][]*ainInput // by element
	every     time.Duration
	unset     []func() error // what sets the device back, last first
	events    chan reports.Reading
	stop      chan struct{}
	once      sync.Once

	mu    sync.Mutex
	last  map[string]ainLook // by the channel's name
	stats map[string]any     // by path
	err   error
}

// newAINBuffered starts the buffer and adds its points.
func newAINBuffered(a *ain, inputs []*ainInput, o ainOptions, d Deps) (*ainBuffered, error) {
	device, ok := a.source.(ainDevice)
	if !ok {
		return nil, errors.New("the buffer needs a device")
	}
	b := &ainBuffer{ainDevice: device, every: time.Duration(o.Buffer.Every), stop: make(chan struct{}),
		last: map[string]ainLook{}, stats: map[string]any{}}
	if err := b.choose(inputs, o.Buffer.Channels, d); err != nil {
		return nil, err
	}
	if err := b.start(o.Buffer, iioRoot(d)); err != nil {
		return nil, errors.Join(fmt.Errorf("start the buffer: %w", err), b.restore())
	}
	a.source = b
	a.describeBuffer(b)
	b.events = make(chan reports.Reading, len(b.stats)+len(a.service.Points))
	done := make(chan struct{})
	go func() { // until close, which waits for it
		defer close(done)
		defer close(b.events)
		b.fail(b.run())
	}()
	a.closing = func() error { return b.close(done) }
	return &ainBuffered{a, b}, nil
}

// Events returns the statistics as they are made.
func (a *ainBuffered) Events() <-chan reports.Reading { return a.buffer.events }

// Err returns why no more statistics come.
func (a *ainBuffered) Err() error { return a.buffer.fresh() }

// fresh returns what has ended the buffer. While it runs, its device is the one that was found.
func (b *ainBuffer) fresh() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *ainBuffer) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *ainBuffer) close(done <-chan struct{}) (err error) {
	b.once.Do(func() {
		close(b.stop)
		// The only error is that the file is closed, which nobody but restore does.
		_ = b.file.SetReadDeadline(time.Unix(1, 0))
		<-done
		err = b.restore()
	})
	return err
}

// restore undoes what start has done. What fails because the device is gone is no fault.
func (b *ainBuffer) restore() error {
	var errs []error
	for _, undo := range slices.Backward(b.unset) {
		if err := undo(); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENODEV) {
			errs = append(errs, err)
		}
	}
	b.unset = nil
	return errors.Join(errs...)
}

// choose makes the layout of the channels that the buffer is to have.
func (b *ainBuffer) choose(inputs []*ainInput, names []string, d Deps) error {
	for i, name := range names {
		if !slices.ContainsFunc(inputs, func(in *ainInput) bool { return in.name == name }) {
			return iioAt(d, fmt.Sprintf("buffer.channels[%d]", i), "there is no channel with the name %.60q", name)
		}
	}
	var formats []iioFormat
	for _, in := range inputs {
		asked := slices.Contains(names, in.name)
		if i := slices.IndexFunc(formats, func(f iioFormat) bool { return f.channel == in.id }); i >= 0 && in.linear() {
			b.inputs[i] = append(b.inputs[i], in) // another name of the same channel
			continue
		}
		if len(names) > 0 && !asked {
			continue
		}
		f, err := b.format(in)
		switch {
		case err == nil && in.linear():
			formats, b.inputs = append(formats, f), append(b.inputs, []*ainInput{in})
		case asked && err == nil:
			return iioAt(d, "channels."+in.name, "the driver gives %s no scale, so give it one in scale", in.id)
		case asked:
			return fmt.Errorf("%s can't be sampled through the buffer: %w", in.id, err)
		}
	}
	if len(formats) == 0 {
		return fmt.Errorf("%s has no buffer, or none of its channels is in it: take buffer away, poll may be as short as %s", b.iioIdentity, ainLeastPoll)
	}
	b.layout = newIIOLayout(formats)
	return nil
}

// format reads how a channel lies in the buffer.
func (b *ainBuffer) format(in *ainInput) (iioFormat, error) {
	element := "scan_elements/in_" + in.id
	text, err := iioRead(b.dir, element+"_type")
	if err != nil {
		return iioFormat{}, err
	}
	f, err := parseIIOFormat(text)
	if err != nil {
		return f, err
	}
	index, err := b.readInt(element + "_index")
	f.channel, f.index = in.id, index
	return f, err
}

// start opens the buffer and sets it going. Who has opened the device has it alone, so that a buffer that runs then is one that
// a killed program has left.
func (b *ainBuffer) start(o ainBufferOptions, root string) error {
	path := filepath.Join(root, "dev", filepath.Base(b.dir))
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w%s", path, err, iioAdvice(err))
	}
	b.file = os.NewFile(uintptr(fd), path)
	b.unset = append(b.unset, b.file.Close)
	if err := b.write("buffer/enable", "0"); err != nil {
		return err
	}
	if err := b.setElements(); err != nil {
		return err
	}
	if err := b.setTrigger(o, root); err != nil {
		return err
	}
	const wakes = 10 // times a second, that the least possible is lost when the device fails, and few are needed
	length := min(max(64, math.Ceil(o.Rate)), 1<<16)
	watermark := max(1, math.Floor(min(length/2, o.Rate/wakes)))
	err = errors.Join(b.write("buffer/length", strconv.Itoa(int(length))), b.write("buffer/watermark", strconv.Itoa(int(watermark))))
	if err != nil {
		return err
	}
	b.unset = append(b.unset, func() error { return b.write("buffer/enable", "0") })
	if err := b.write("buffer/enable", "1"); errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("%w (the device can't have these channels at once, or not with this trigger: name those that are needed in buffer.channels)", err)
	} else if err != nil {
		return err
	}
	return nil
}

// setElements switches on the channels that are wanted, and no others.
func (b *ainBuffer) setElements() error {
	names, _ := filepath.Glob(filepath.Join(b.dir, "scan_elements/*_en")) // the pattern is no bad one
	for _, name := range names {
		name = filepath.Base(name)
		wanted := slices.ContainsFunc(b.layout.elements, func(e iioElement) bool { return name == "in_"+e.channel+"_en" })
		if err := b.write("scan_elements/"+name, map[bool]string{false: "0", true: "1"}[wanted]); err != nil {
			return err
		}
	}
	return nil
}

// setTrigger gives the device its trigger, and that its rate. Devices with a buffer in hardware need none.
func (b *ainBuffer) setTrigger(o ainBufferOptions, root string) error {
	rate := strconv.FormatFloat(o.Rate, 'f', -1, 64)
	before, err := iioRead(b.dir, "trigger/current_trigger")
	if errors.Is(err, fs.ErrNotExist) {
		return b.write("sampling_frequency", rate)
	}
	if err != nil {
		return err
	}
	wanted := []string{o.Trigger}
	if o.Trigger == "" {
		number := filepath.Base(b.dir)[len("iio:device"):]
		wanted = []string{b.name + "-dev" + number, ainBufferTrigger}
	}
	trigger, err := findIIOTrigger(root, wanted)
	if err != nil {
		return err
	}
	if err := b.write("trigger/current_trigger", trigger.name); err != nil {
		return fmt.Errorf("trigger %s: %w", trigger.name, err)
	}
	b.unset = append(b.unset, func() error { return b.write("trigger/current_trigger", before+"\n") })
	for _, d := range []*iioDevice{trigger, b.iioDevice} {
		if err = d.write("sampling_frequency", rate); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // such as an interrupt: its rate is what it is, and buffer/rate tells it
	}
	return err
}
