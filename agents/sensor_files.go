package agents

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// sensorFileMost is how many bytes a file of /sys or /proc that holds a value may have: the kernel gives no more than a page.
const sensorFileMost = 4096

// sensorInterrupted is how often a read is begun again that a signal has interrupted: w1_therm then returns EINTR from the middle of
// a conversion, and the Go runtime sends its threads signals.
const sensorInterrupted = 3

// sensorFile reads a small file, as those of /proc and /sys are, without the white space around what it holds. It holds nobody up:
// what is no regular file, such as a pipe that nobody writes, is an error. It does not go through os: some drivers answer EAGAIN, which
// the poller of package os would wait on for ever, and to tell the poller of each file costs more than to read it.
func sensorFile(name string) (string, error) {
	fd, err := sensorOpen(name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd) // read only: nothing can be lost
	var buf [sensorFileMost + 1]byte
	n, err := unix.Read(fd, buf[:])
	for tries := 1; err == unix.EINTR && tries <= sensorInterrupted; tries++ {
		n, err = unix.Read(fd, buf[:])
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("read %s: %w", name, err)
	case n > sensorFileMost:
		return "", fmt.Errorf("read %s: it is longer than %d bytes", name, sensorFileMost)
	}
	return strings.TrimSpace(string(buf[:n])), nil
}

// sensorWrite writes a value to a file that there is. It makes none: that is what sysfs forbids, instead of saying that there is none.
func sensorWrite(name, value string) error {
	fd, err := sensorOpen(name, unix.O_WRONLY|unix.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(value))
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// sensorOpen opens a regular file.
func sensorOpen(name string, flags int) (int, error) {
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", name, err)
	}
	var is unix.Stat_t
	if err := unix.Fstat(fd, &is); err != nil || is.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, errors.Join(fmt.Errorf("open %s: %w", name, cmp.Or(err, errSensorNoFile)), unix.Close(fd))
	}
	return fd, nil
}

var errSensorNoFile = errors.New("it is not a regular file")
