package pwm

import (
	"fmt"
	"strconv"
	"strings"
)

// Kind is which driver makes the pulses.
type Kind int

// The kinds. Auto is the line's channel if Find knows it, and Software otherwise.
const (
	Auto         Kind = iota
	HardwareKind      // the channel that Find knows, or an error
	SoftwareKind      // a goroutine
	ChannelKind       // the channel that the driver names
)

// maxChip is more than any kernel numbers its chips or their channels.
const maxChip = 9999

// Driver is a choice of a driver.
type Driver struct {
	Kind          Kind
	Chip, Channel int // of ChannelKind
}

// ParseDriver parses "hardware", "software", "auto" or a channel, "pwmchip0/1"; nothing is auto.
func ParseDriver(s string) (Driver, error) {
	switch s {
	case "", "auto":
		return Driver{}, nil
	case "hardware":
		return Driver{Kind: HardwareKind}, nil
	case "software":
		return Driver{Kind: SoftwareKind}, nil
	}
	if rest, ok := strings.CutPrefix(s, "pwmchip"); ok {
		chip, channel, _ := strings.Cut(rest, "/")
		c, okChip := number(chip)
		n, okChannel := number(channel)
		if okChip && okChannel {
			return Driver{ChannelKind, c, n}, nil
		}
	}
	const most = 32
	if len(s) > most {
		s = s[:most] + "…"
	}
	return Driver{}, fmt.Errorf("driver %q: must be hardware, software, auto, or a channel as pwmchip0/1", s)
}

// String returns what ParseDriver parses.
func (d Driver) String() string {
	switch d.Kind {
	case HardwareKind:
		return "hardware"
	case SoftwareKind:
		return "software"
	case ChannelKind:
		return fmt.Sprintf("pwmchip%d/%d", d.Chip, d.Channel)
	}
	return "auto"
}

// number parses a decimal number as the kernel writes it.
func number(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0 && n <= maxChip && strconv.Itoa(n) == s
}
