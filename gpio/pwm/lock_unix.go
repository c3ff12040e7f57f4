//go:build unix

package pwm

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes a file until unlock, or until the program ends in whatever way.
func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// locked is a file that this program has taken.
type locked struct{ *os.File }

// Close gives the file back. To close it is not enough: a program that is being started just now has it open as well, between its
// fork and its exec.
func (l locked) Close() error {
	return errors.Join(unix.Flock(int(l.Fd()), unix.LOCK_UN), l.File.Close())
}
