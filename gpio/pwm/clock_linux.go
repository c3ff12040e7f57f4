package pwm

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timerfd is the clock of the kernel's high-resolution timers. The runtime's poller waits for it as for a socket, so that no thread
// is held; a goroutine that is locked to its thread was measured to be later.
type timerfd struct {
	*timerClock // for kernels that fail
	fd          int
	file        *os.File
}

// newClock returns the best clock of this system.
func newClock() clock {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return newTimerClock()
	}
	return &timerfd{newTimerClock(), fd, os.NewFile(uintptr(fd), "timerfd")}
}

func (c *timerfd) until(t time.Time) bool {
	wait := time.Until(t)
	if wait <= 0 {
		return true
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}
	if err := unix.TimerfdSettime(c.fd, 0, &spec, nil); err != nil {
		return c.timerClock.until(t)
	}
	var expired [8]byte
	switch _, err := c.file.Read(expired[:]); {
	case err == nil:
		return true
	case errors.Is(err, os.ErrDeadlineExceeded):
		return false
	}
	return c.timerClock.until(t)
}

func (c *timerfd) stop() {
	c.timerClock.stop()
	// The only error is that the goroutine has ended and closed the file.
	_ = c.file.SetReadDeadline(time.Unix(1, 0))
}

func (c *timerfd) close() {
	c.timerClock.close()
	// Nothing was written that could be lost.
	_ = c.file.Close()
}
