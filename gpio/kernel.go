//go:build linux

package gpio

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/warthog618/gpiod"
	"github.com/warthog618/gpiod/uapi"
)

// This is the one file that knows gpiod: a device, and the lines requested from it by either version of the kernel's interface.

// device is an open character device. It is open twice, as gpiod does not give its own file to others, and opening it by its path
// for each request could meet another chip that was plugged in since.
type device struct {
	chip *gpiod.Chip
	file *os.File
}

// errNoChip is for what is there but is no GPIO chip.
var errNoChip = errors.New("not a GPIO chip")

// openDevice opens the device at a path that is no link; gpiod knows none. Which version of the interface the kernel has is
// found by asking for a line's info by the later one.
func openDevice(path string) (*device, error) {
	c, err := gpiod.NewChip(path)
	if errors.Is(err, gpiod.ErrNotCharacterDevice) {
		return nil, errNoChip
	}
	if err != nil {
		return nil, err
	}
	return withFile(c, path)
}

func withFile(c *gpiod.Chip, path string) (*device, error) {
	f, err := os.Open(path)
	if err != nil {
		_ = c.Close() // nothing was requested from it
		return nil, err
	}
	return &device{chip: c, file: f}, nil
}

func (d *device) name() string  { return d.chip.Name }
func (d *device) label() string { return d.chip.Label }
func (d *device) lines() int    { return d.chip.Lines() }
func (d *device) close() error  { return errors.Join(d.file.Close(), d.chip.Close()) }

// old tells whether the kernel has only the first version of the interface, that of before Linux 5.10.
func (d *device) old() bool { return d.chip.UapiAbiVersion() < 2 }

// info returns what the kernel tells of a line.
func (d *device) info(offset int) (LineInfo, error) {
	li, err := d.chip.LineInfo(offset)
	if err != nil {
		return LineInfo{Offset: offset}, err
	}
	c := li.Config
	info := LineInfo{Offset: offset, Name: li.Name, Consumer: li.Consumer, Used: li.Used, ActiveLow: c.ActiveLow}
	info.Bias = map[gpiod.LineBias]Bias{gpiod.LineBiasPullUp: PullUp, gpiod.LineBiasPullDown: PullDown, gpiod.LineBiasDisabled: PullNone}[c.Bias]
	if info.Output = c.Direction == gpiod.LineDirectionOutput; info.Output {
		info.Drive = map[gpiod.LineDrive]Drive{gpiod.LineDrivePushPull: PushPull, gpiod.LineDriveOpenDrain: OpenDrain, gpiod.LineDriveOpenSource: OpenSource}[c.Drive]
	}
	if c.Debounced {
		info.Debounce = c.DebouncePeriod
	}
	return info, nil
}

// request asks for a line with options that are normal.
func (d *device) request(offset int, o LineOptions) (wire, error) {
	if d.old() {
		return d.requestV1(offset, o)
	}
	return d.requestV2(offset, o)
}

// needs says which kernel has what the first version of the interface has not; "" if the error is none of that.
func needs(err error) (Feature, string) {
	if old, ok := errors.AsType[gpiod.ErrUapiIncompatibility](err); ok {
		return FeatureDebounce, old.Feature + " needs Linux 5.10 or later"
	}
	return "", ""
}

// wireV1 is a line by the first version.
type wireV1 struct {
	line   *gpiod.Line
	o      LineOptions
	events bool
}

func (d *device) requestV1(offset int, o LineOptions) (wire, error) {
	options := []gpiod.LineReqOption{gpiod.WithConsumer(o.Consumer), gpiod.LevelOption(o.ActiveLow)}
	if o.AsIs {
		options = append(options, gpiod.AsIs)
	} else {
		for _, c := range configV1(o) {
			options = append(options, c.(gpiod.LineReqOption)) // which all of them are
		}
	}
	if o.Events != nil {
		options = append(options, gpiod.WithBothEdges, gpiod.WithEventHandler(counted(o.Events)))
	}
	l, err := d.chip.RequestLine(offset, options...)
	if err != nil {
		return nil, err
	}
	return &wireV1{line: l, o: o, events: o.Events != nil}, nil
}

// configV1 says in gpiod's words what the options ask for, but for events.
func configV1(o LineOptions) []gpiod.LineConfigOption {
	bias := map[Bias]gpiod.LineBias{PullUp: gpiod.WithPullUp, PullDown: gpiod.WithPullDown, PullNone: gpiod.WithBiasDisabled, BiasAsIs: gpiod.WithBiasAsIs}[o.Bias]
	options := []gpiod.LineConfigOption{gpiod.LevelOption(o.ActiveLow)}
	if o.Output {
		drive := map[Drive]gpiod.LineDrive{PushPull: gpiod.AsPushPull, OpenDrain: gpiod.AsOpenDrain, OpenSource: gpiod.AsOpenSource}[o.Drive]
		return append(options, gpiod.AsOutput(o.Value), drive, bias)
	}
	options = append(options, gpiod.AsInput, bias)
	if o.Debounce > 0 {
		options = append(options, gpiod.WithDebounce(o.Debounce))
	}
	return options
}

// counted makes an events function count by itself: kernels before 5.10 do not, so edges that are lost there leave no gap.
func counted(events func(Event)) gpiod.EventHandler {
	var seq uint32
	return func(e gpiod.LineEvent) {
		seq++
		events(Event{Offset: e.Offset, Rising: e.Type == gpiod.LineEventRisingEdge, Time: e.Timestamp, Seq: seq})
	}
}

func (w *wireV1) get() (int, error) { return w.line.Value() }

func (w *wireV1) set(value int) error {
	err := w.line.SetValue(value)
	if err == nil {
		w.o.Value = value
	}
	return err
}

// configure changes the line, unless it has events or is to have some.
func (w *wireV1) configure(o LineOptions) (feature Feature, reason string, err error) {
	if w.events || o.Events != nil {
		return FeatureReconfigure, "changing a line with events, or to one, needs Linux 5.10 or later; close it and request it", syscall.EOPNOTSUPP
	}
	err = w.line.Reconfigure(configV1(o)...)
	if err == nil {
		w.o = o
		return "", "", nil
	}
	if !w.o.AsIs {
		_ = w.line.Reconfigure(configV1(w.o)...) // gpiod has noted the value, the kernel perhaps more; the first error says more
	}
	if feature, reason = needs(err); feature != "" {
		return feature, reason, syscall.EOPNOTSUPP
	}
	if errors.Is(err, syscall.EINVAL) {
		return FeatureReconfigure, "needs Linux 5.5 or later; close the line and request it", syscall.EOPNOTSUPP
	}
	return "", "", err
}

func (w *wireV1) pause()       {}
func (w *wireV1) resume()      {}
func (w *wireV1) close() error { return w.line.Close() }

// requestV2 requests a line past gpiod's own request, whose WithEventBufferSize has no effect: the kernel would keep 16 edges.
// All lines come by this way, as each may be given events later.
func (d *device) requestV2(offset int, o LineOptions) (wire, error) {
	r := uapi.LineRequest{Lines: 1, EventBufferSize: EventBuffer, Config: configV2(o, false)}
	r.Offsets[0] = uint32(offset)
	copy(r.Consumer[:], o.Consumer)
	if err := control(d.file, func(fd uintptr) error { return uapi.GetLine(fd, &r) }); err != nil {
		return nil, err
	}
	// Only a file that does not block is known to the runtime's poller, so that Close ends a Read.
	if err := syscall.SetNonblock(int(r.Fd), true); err != nil {
		_ = syscall.Close(int(r.Fd)) // the first error says more
		return nil, err
	}
	w := &wireV2{file: os.NewFile(uintptr(r.Fd), fmt.Sprintf("line %d", offset)), o: o}
	w.resume()
	return w, nil
}

// configV2 says in the kernel's words what the options ask for. Debouncing that was once asked for is ended in so many words:
// the kernel leaves that of a chip which does it by itself on otherwise.
func configV2(o LineOptions, debounced bool) (c uapi.LineConfig) {
	if o.ActiveLow {
		c.Flags |= uapi.LineFlagV2ActiveLow
	}
	switch {
	case o.AsIs:
		return c
	case o.Output:
		c.Flags |= uapi.LineFlagV2Output
		c.Flags |= map[Drive]uapi.LineFlagV2{OpenDrain: uapi.LineFlagV2OpenDrain, OpenSource: uapi.LineFlagV2OpenSource}[o.Drive]
		values := uapi.OutputValues(uapi.NewLineBitmap(o.Value))
		c.AddAttribute(uapi.LineConfigAttribute{Attr: values.Encode(), Mask: 1})
	default:
		c.Flags |= uapi.LineFlagV2Input
		if o.Events != nil {
			c.Flags |= uapi.LineFlagV2EdgeBoth
		}
		if o.Debounce > 0 || debounced {
			c.AddAttribute(uapi.LineConfigAttribute{Attr: uapi.DebouncePeriod(o.Debounce).Encode(), Mask: 1})
		}
	}
	c.Flags |= map[Bias]uapi.LineFlagV2{
		PullUp: uapi.LineFlagV2BiasPullUp, PullDown: uapi.LineFlagV2BiasPullDown, PullNone: uapi.LineFlagV2BiasDisabled}[o.Bias]
	return c
}

func (w *wireV2) get() (int, error) {
	values := uapi.LineValues{Mask: 1}
	err := control(w.file, func(fd uintptr) error { return uapi.GetLineValuesV2(fd, &values) })
	return values.Get(0), err
}

func (w *wireV2) set(value int) error {
	values := uapi.LineValues{Mask: 1, Bits: uapi.NewLineBitmap(value)}
	err := control(w.file, func(fd uintptr) error { return uapi.SetLineValuesV2(fd, values) })
	if err == nil {
		w.o.Value = value
	}
	return err
}

// apply tells the kernel what the line is to be.
func (w *wireV2) apply(o LineOptions) error {
	c := configV2(o, w.o.Debounce > 0)
	return control(w.file, func(fd uintptr) error { return uapi.SetLineConfigV2(fd, &c) })
}

// decodeEdge decodes a struct gpio_v2_line_event: timestamp_ns, id, offset, seqno, line_seqno, padding.
func decodeEdge(b []byte) Event {
	return Event{
		Time:   time.Duration(native.Uint64(b[0:])),
		Rising: uapi.LineEventID(native.Uint32(b[8:])) == uapi.LineEventRisingEdge,
		Offset: int(native.Uint32(b[12:])),
		Seq:    native.Uint32(b[20:]),
	}
}
