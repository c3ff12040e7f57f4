package pwm

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"rollcall/gpio"
)

// hardware is a channel of a chip, by sysfs: Documentation/ABI/testing/sysfs-class-pwm and Documentation/driver-api/pwm.rst of the
// kernel, and what its drivers/pwm/sysfs.c and core.c (6.1) do beyond the text: every write is refused with EINVAL while the period
// is 0, so the period comes first; and one that would make duty_cycle more than period.
type hardware struct {
	files    attributes
	chip     int
	channel  int
	period   time.Duration
	inverted bool
	held     io.Closer // the lock of the channel's folder

	mu     sync.Mutex
	closed bool
}

// Hardware opens a channel of /sys/class/pwm/pwmchipN below root, which is "/" but in tests, and starts it with the initial duty.
//
// A channel that is exported already is taken over if it makes no pulses: it is disabled, or its duty is 0. One that makes some is
// taken over only with Options.TakeOver, and never from another channel of this package that is open, in whatever process.
//
// Close disables and unexports the channel. One that is inverted it leaves exported and enabled at duty 0, as a channel that is
// disabled may be low, which is active; Hardware takes it over again.
//
// Hardware waits up to two seconds for udev to give the files of a channel to the user's group, unless Prepare has.
func Hardware(root string, chip, channel int, o Options) (Channel, error) {
	path := filepath.Join(root, classPath, "pwmchip"+strconv.Itoa(chip))
	h := &hardware{files: folder(path), chip: chip, channel: channel}
	if err := h.open(o); err != nil {
		if errors.Is(err, errNoChip) {
			err = fmt.Errorf("%w%s", err, present(root))
		}
		return nil, h.wrap("open", err)
	}
	return h, nil
}

var (
	errNoChip = errors.New("there is no such chip")
	errLocked = errors.New("another rollcall service, or another output of this one, has this channel")
)

// open gets the channel and sets it up, or leaves it as it was.
func (h *hardware) open(o Options) error {
	o, err := o.normal()
	if err != nil {
		return err
	}
	h.period, h.inverted = o.Period, o.Inverted
	if err := h.check(); err != nil {
		return err
	}
	deadline := time.Now()
	if !o.Prepared {
		deadline = deadline.Add(settleWithin)
	}
	exported, err := h.export(deadline)
	if err != nil {
		return err
	}
	err = h.take(deadline)
	if err == nil {
		err = h.begin(o, deadline)
	}
	if err == nil {
		return nil
	}
	if exported {
		err = errors.Join(err, h.write("unexport", strconv.Itoa(h.channel)))
	}
	return errors.Join(err, h.release())
}

// check looks whether there is such a channel.
func (h *hardware) check() error {
	text, err := h.files.read("npwm")
	if errors.Is(err, fs.ErrNotExist) {
		return errNoChip
	}
	if err != nil {
		return err
	}
	n, ok := number(strings.TrimSpace(text))
	if !ok {
		return fmt.Errorf("read npwm: %q is not a number of channels", text)
	}
	if h.channel < 0 || h.channel >= n {
		return fmt.Errorf("the chip has the channels 0 to %d", n-1)
	}
	return nil
}

// export makes the folder of the channel, if it is not there.
func (h *hardware) export(deadline time.Time) (exported bool, err error) {
	if _, err := h.files.read(h.file("period")); err == nil {
		return false, nil
	}
	err = h.write("export", strconv.Itoa(h.channel))
	if err != nil && !errors.Is(err, syscall.EBUSY) {
		return false, err
	}
	if err != nil {
		// Somebody was faster; or a driver of the kernel has it, and there will be no folder.
		if _, folder := h.files.read(h.file("period")); folder != nil {
			return false, err
		}
		return false, nil
	}
	err = eventually(deadline, func() error {
		_, err := h.files.read(h.file("period"))
		return err
	})
	if err != nil {
		return true, fmt.Errorf("wait for the folder pwm%d after its export: %w", h.channel, err)
	}
	return true, nil
}

// take makes sure that no other program of ours has the channel.
func (h *hardware) take(deadline time.Time) error {
	return eventually(deadline, func() (err error) {
		h.held, err = h.files.lock("pwm" + strconv.Itoa(h.channel))
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return errLocked
		}
		return err
	})
}

// state reads what the channel does.
func (h *hardware) state() (s state, err error) {
	for _, f := range []struct {
		name  string
		parse func(text string) (err error)
	}{
		{"period", func(text string) (err error) { s.period, err = strconv.ParseUint(text, 10, 64); return }},
		{"duty_cycle", func(text string) (err error) { s.duty, err = strconv.ParseUint(text, 10, 64); return }},
		{"enable", func(text string) (err error) { s.enabled, err = strconv.ParseBool(text); return }},
		{"polarity", func(text string) error { s.inversed = text == "inversed"; return nil }},
	} {
		text, err := h.files.read(h.file(f.name))
		if err == nil {
			err = f.parse(strings.TrimSpace(text))
		}
		if err != nil {
			return s, fmt.Errorf("read %s: %w", f.name, err)
		}
	}
	return s, nil
}

// begin sets the channel up.
func (h *hardware) begin(o Options, deadline time.Time) error {
	from, err := h.state()
	if err != nil {
		return err
	}
	if from.enabled && from.duty > 0 && !o.TakeOver {
		return fmt.Errorf("another program makes pulses with it (%v of %v); end that program and then: echo %d > /sys/class/pwm/pwmchip%d/unexport",
			nanoseconds(from.duty), nanoseconds(from.period), h.channel, h.chip)
	}
	to := state{period: uint64(h.period), duty: h.duty(o.Initial), enabled: true, inversed: h.inverted}
	for _, s := range settings(from, to) {
		if err := eventually(deadline, func() error { return h.write(h.file(s.name), s.value) }); err != nil {
			return err
		}
	}
	return nil
}

// Set gives the channel a new duty.
func (h *hardware) Set(duty float64) error {
	if err := checkDuty(duty); err != nil {
		return h.wrap("set", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return h.wrap("set", gpio.ErrClosed)
	}
	return h.wrap("set", h.write(h.file("duty_cycle"), strconv.FormatUint(h.duty(duty), 10)))
}

// Close makes the channel inactive and gives it back.
func (h *hardware) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	err := h.write(h.file("duty_cycle"), "0")
	if err == nil && !h.inverted {
		err = errors.Join(h.write(h.file("enable"), "0"), h.write("unexport", strconv.Itoa(h.channel)))
	}
	return h.wrap("close", errors.Join(err, h.release()))
}

// release lets other programs have the channel.
func (h *hardware) release() error {
	if h.held == nil {
		return nil
	}
	return h.held.Close()
}

func (h *hardware) duty(duty float64) uint64 { return uint64(active(duty, h.period)) }

// file returns the path of a file of the channel, below the chip.
func (h *hardware) file(name string) string { return fmt.Sprintf("pwm%d/%s", h.channel, name) }

// write writes a file and says what to do if the kernel refuses.
func (h *hardware) write(path, value string) error {
	err := h.files.write(path, value)
	if err == nil {
		return nil
	}
	return fmt.Errorf("write %s to %s: %w%s", value, path, err, advice(filepath.Base(path), err))
}

func (h *hardware) wrap(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s pwmchip%d/%d: %w", verb, h.chip, h.channel, err)
}

// nanoseconds returns a time that the kernel gave.
func nanoseconds(n uint64) time.Duration { return time.Duration(min(n, math.MaxInt64)) }
