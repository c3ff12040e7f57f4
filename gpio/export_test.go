//go:build linux

package gpio

import "github.com/warthog618/gpiod"

// OpenV1 opens a chip by the interface that kernels before 5.10 have.
func OpenV1(path string) (Chip, error) {
	c, err := gpiod.NewChip(path, gpiod.WithABIVersion(1))
	if err != nil {
		return nil, err
	}
	d, err := withFile(c, path)
	if err != nil {
		return nil, err
	}
	return &chip{device: d, lines: map[*held]struct{}{}}, nil
}

// ApplyOnly has the kernel do what Reconfigure asks of it, and nothing else: what comes between the two then is what comes in the
// middle of a Reconfigure.
func ApplyOnly(l Line, o LineOptions) error { return l.(*held).wire.(*wireV2).apply(o) }
