//go:build unix

package pwm

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock takes a file until it is closed, or the program ends in whatever way.
func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
