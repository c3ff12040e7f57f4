package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// escapes has a console of Windows understand escape sequences, and reports whether it does.
func escapes(f *os.File) bool {
	var mode uint32
	h := windows.Handle(f.Fd())
	if windows.GetConsoleMode(h, &mode) != nil {
		return false
	}
	return windows.SetConsoleMode(h, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}

// notifyResize tells of nothing: Windows has no signal for it, and the size is looked at with each second's screen.
func notifyResize() (resized <-chan os.Signal, stop func()) { return nil, func() {} }
