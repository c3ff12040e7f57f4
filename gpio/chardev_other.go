//go:build !linux

package gpio

import (
	"errors"
	"fmt"
)

// Open returns an error: only Linux has GPIO character devices. The chip in memory works everywhere.
func Open(name string) (Chip, error) {
	return nil, fmt.Errorf("open GPIO chip %q: needs Linux: %w", name, errors.ErrUnsupported)
}

// OpenHeader returns an error, as Open does.
func OpenHeader() (Chip, string, error) {
	return nil, "", fmt.Errorf("open the chip of the header: needs Linux: %w", errors.ErrUnsupported)
}
