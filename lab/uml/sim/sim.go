//go:build linux

// Package sim is the world around a bank of gpio-sim, seen from within the virtual Pi: what is wired to its inputs, what its
// outputs drive, and when the kernel set them. It goes past every program that holds the lines. For tests only.
package sim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Label is that of the bank of a virtual Pi.
const Label = "pinctrl-bcm2835"

// Now is the time on the clock that gpio events and sets are stamped with.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // every kernel has this clock
	}
	return time.Duration(ts.Nano())
}

// Bank is a bank of gpio-sim. It is safe for concurrent use.
type Bank struct {
	base  int // its first line among all of the kernel's, in traces
	pulls []*os.File
	level []*os.File
}

// Open opens the bank that has the label.
func Open(label string) (*Bank, error) {
	found, err := filepath.Glob("/sys/class/gpio/gpiochip*/label")
	if err != nil {
		return nil, err
	}
	for _, file := range found {
		text, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(text)) != label {
			continue // a chip that has gone meanwhile is not it
		}
		return open(filepath.Dir(file))
	}
	return nil, fmt.Errorf("no bank %q of gpio-sim", label)
}

// open opens the bank whose folder in /sys/class/gpio is given.
func open(class string) (*Bank, error) {
	base, err := number(class, "base")
	if err != nil {
		return nil, err
	}
	lines, err := number(class, "ngpio")
	if err != nil {
		return nil, err
	}
	b := &Bank{base: base}
	dir, err := simulated(class)
	if err != nil {
		return nil, err
	}
	for i := range lines {
		line := filepath.Join(dir, "sim_gpio"+strconv.Itoa(i))
		pull, err := os.OpenFile(filepath.Join(line, "pull"), os.O_WRONLY, 0)
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
		b.pulls = append(b.pulls, pull)
		level, err := os.Open(filepath.Join(line, "value"))
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
		b.level = append(b.level, level)
	}
	return b, nil
}

// simulated returns the folder that has the bank's sim_gpio*, beside what the class shows of it.
func simulated(class string) (string, error) {
	found, err := filepath.Glob(filepath.Join(class, "device", "gpiochip*", "sim_gpio0"))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%s is not the one bank of a gpio-sim: %q", class, found)
	}
	return filepath.Dir(found[0]), nil
}

func number(dir, name string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// Lines returns how many lines the bank has.
func (b *Bank) Lines() int { return len(b.pulls) }

// Pull wires a line: high is what it then reads as, unless a program drives it.
func (b *Bank) Pull(line int, high bool) error {
	if err := b.check(line); err != nil {
		return err
	}
	text := "pull-down"
	if high {
		text = "pull-up"
	}
	_, err := b.pulls[line].WriteAt([]byte(text), 0)
	return err
}

// Level returns what is on a line.
func (b *Bank) Level(line int) (high bool, err error) {
	if err := b.check(line); err != nil {
		return false, err
	}
	text := make([]byte, 4)
	n, err := b.level[line].ReadAt(text, 0)
	if n == 0 {
		return false, err
	}
	return text[0] == '1', nil
}

func (b *Bank) check(line int) error {
	if line < 0 || line >= len(b.pulls) {
		return fmt.Errorf("no line %d, the bank has %d", line, len(b.pulls))
	}
	return nil
}

// Close closes the files of the bank. The lines stay as they are.
func (b *Bank) Close() error {
	var errs []error
	for _, f := range append(b.pulls, b.level...) {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
