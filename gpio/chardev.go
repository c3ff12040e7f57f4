//go:build linux

package gpio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// devices is where the kernel's chips are.
const devices = "/dev"

// Open opens a character-device chip by label (pinctrl-bcm2835), name (gpiochip0) or path (/dev/gpiochip0). The error lists
// the chips that are there; it is fs.ErrNotExist or fs.ErrPermission where that is the reason.
func Open(name string) (Chip, error) {
	if name == "" {
		return nil, fmt.Errorf("open GPIO chip: no name given: %s", present())
	}
	path, isPath := chipPath(name)
	if isPath {
		c, err := openPath(path)
		if err != nil {
			return nil, fmt.Errorf("open GPIO chip %q: %w", name, explain(err))
		}
		return c, nil
	}
	return openLabel(name)
}

// chipPath returns the path of a chip that is given as a path or by the kernel's name of it.
func chipPath(name string) (path string, ok bool) {
	if strings.Contains(name, "/") {
		return filepath.Clean(name), true
	}
	number, found := strings.CutPrefix(name, "gpiochip")
	return filepath.Join(devices, name), found && digits(number)
}

// openPath opens the chip at a path. Raspberry Pi OS links gpiochip4 to gpiochip0 on a Pi 5, and gpiod knows no links.
func openPath(path string) (*chip, error) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	if filepath.Dir(target) != devices {
		return nil, errors.New("not a GPIO chip, which are /dev/gpiochip*")
	}
	d, err := openDevice(target)
	if err != nil {
		return nil, err
	}
	return &chip{device: d, lines: map[*held]struct{}{}}, nil
}

// openLabel opens the one chip that has the label.
func openLabel(label string) (Chip, error) {
	var found []*chip
	var unreadable error
	for _, path := range chipPaths() {
		c, err := openPath(path)
		switch {
		case err != nil:
			unreadable = err
		case c.device.label() == label:
			found = append(found, c)
		default:
			_ = c.device.close() // nothing was requested from it
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	var names []string
	for _, c := range found {
		names = append(names, c.device.name())
		_ = c.device.close() // nothing was requested from it
	}
	switch {
	case len(found) > 1:
		return nil, fmt.Errorf("open GPIO chip %q: %s have this label; give one of these names instead", label, strings.Join(names, " and "))
	case errors.Is(unreadable, fs.ErrPermission):
		return nil, fmt.Errorf("open GPIO chip %q: %w", label, explain(unreadable))
	}
	return nil, fmt.Errorf("open GPIO chip %q: %w", label, explain(fs.ErrNotExist))
}

// model is where the kernel names the board.
const model = "/proc/device-tree/model"

// OpenHeader opens the chip of this board's 40-pin header and returns its label too. It goes by the labels that the kernel gives
// the chips of Raspberry Pis, whatever their number; who may open /dev/gpiochip*, as the group gpio may, needs nothing else.
// The error says which board this is, if it is a Raspberry Pi, and which chips there are.
func OpenHeader() (Chip, string, error) {
	labels := HeaderLabels()
	var unreadable error
	for _, label := range labels {
		c, err := openLabel(label)
		if err == nil {
			return c, label, nil
		}
		if unreadable == nil && !errors.Is(err, fs.ErrNotExist) {
			unreadable = err // a chip that can't be opened may be the one, or there are two
		}
	}
	if unreadable != nil {
		return nil, "", fmt.Errorf("open the chip of the header: %w", unreadable)
	}
	what := "that is " + strings.Join(labels, ", or ")
	if name, err := os.ReadFile(model); err == nil {
		if b, ok := FindBoard(string(name)); ok {
			what = fmt.Sprintf("that of a %s is %s", strings.TrimRight(string(name), "\x00\n "), b.Label)
		}
	}
	return nil, "", fmt.Errorf("open the chip of the header: %s: %w", what, explain(fs.ErrNotExist))
}

// chipPaths returns the chips in /dev, each once, in the order of their numbers.
func chipPaths() []string {
	matches, err := filepath.Glob(devices + "/gpiochip*")
	if err != nil {
		return nil // only a malformed pattern makes an error
	}
	paths := slices.DeleteFunc(matches, func(path string) bool {
		fi, err := os.Lstat(path)
		return err != nil || fi.Mode()&os.ModeCharDevice == 0
	})
	slices.SortFunc(paths, func(a, b string) int {
		if d := len(a) - len(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return paths
}

// explain adds to the reason why a chip cannot be opened what to do about it.
func explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("add the user to the group gpio, or whichever %s/gpiochip* belong to: %w", devices, fs.ErrPermission)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", present(), fs.ErrNotExist)
	}
	return fmt.Errorf("%w; %s", err, present())
}

// present says which chips there are.
func present() string {
	paths := chipPaths()
	if len(paths) == 0 {
		return "this host has no GPIO chip that its kernel knows: no " + devices + "/gpiochip*"
	}
	var chips []string
	for _, path := range paths {
		c, err := openPath(path)
		if err != nil {
			chips = append(chips, fmt.Sprintf("%s (%v)", filepath.Base(path), err))
			continue
		}
		chips = append(chips, fmt.Sprintf("%s (%s, %d lines)", c.device.name(), c.device.label(), c.device.lines()))
		_ = c.device.close() // nothing was requested from it
	}
	return "there are " + strings.Join(chips, ", ")
}

// chip is a character device.
type chip struct {
	device *device

	mu     sync.Mutex
	closed bool
	lines  map[*held]struct{}
}

// Info reads what the kernel tells of the chip and its lines.
func (c *chip) Info() (ChipInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ChipInfo{}, fmt.Errorf("info of %s: %w", c.device.name(), ErrClosed)
	}
	info := ChipInfo{Name: c.device.name(), Label: c.device.label(), Lines: make([]LineInfo, c.device.lines())}
	if c.device.old() {
		info.Lacks = []Feature{FeatureDebounce, FeatureSequence}
	}
	for i := range info.Lines {
		li, err := c.device.info(i)
		if err != nil {
			return ChipInfo{}, fmt.Errorf("info of line %d of %s: %w", i, info.Name, Gone(err))
		}
		info.Lines[i] = li
	}
	return info, nil
}

// Request asks the kernel for a line.
func (c *chip) Request(offset int, o LineOptions) (Line, error) {
	o, err := o.Normal()
	if err != nil {
		return nil, fmt.Errorf("request line %d of %s: %w", offset, c.device.name(), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fmt.Errorf("request line %d of %s: %w", offset, c.device.name(), ErrClosed)
	}
	if offset < 0 || offset >= c.device.lines() {
		return nil, NoLine(c.device.name(), offset, c.device.lines())
	}
	w, err := c.device.request(offset, o)
	if err != nil {
		return nil, c.refusal(offset, o, err)
	}
	l := &held{chip: c, offset: offset, output: o.Output, wire: w}
	c.lines[l] = struct{}{}
	return l, nil
}

// refusal makes of the kernel's error one that says what to do.
func (c *chip) refusal(offset int, o LineOptions, err error) error {
	line, infoErr := c.device.info(offset)
	if infoErr != nil {
		line = LineInfo{Offset: offset} // the first error says more
	}
	e := &RequestError{Chip: c.device.name(), Line: line, Err: Gone(err)}
	if e.Missing, e.Reason = needs(err); e.Missing == "" {
		e.Missing, e.Reason = lacking(o, err, func(o LineOptions) error {
			w, err := c.device.request(offset, o)
			if err != nil {
				return err
			}
			return w.close()
		})
	}
	if e.Missing != "" {
		e.Err = syscall.EOPNOTSUPP
	}
	return e
}

// Close gives back all lines and closes the device.
func (c *chip) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	lines := make([]*held, 0, len(c.lines))
	for l := range c.lines {
		lines = append(lines, l)
	}
	c.mu.Unlock()
	var errs []error
	for _, l := range lines {
		errs = append(errs, l.Close())
	}
	errs = append(errs, c.device.close())
	return errors.Join(errs...)
}
