//go:build !windows

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// escapes reports whether a terminal understands escape sequences.
func escapes(*os.File) bool { return true }

// notifyResize tells of each change of the terminal's size, until stop.
func notifyResize() (resized <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGWINCH)
	return c, func() { signal.Stop(c) }
}
