package discover

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadTime returns how much processor time this thread has had.
func threadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
