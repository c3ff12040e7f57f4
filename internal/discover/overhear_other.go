//go:build !linux

package discover

import "errors"

// frameSocket is not to be had here.
type frameSocket struct{}

func openFrames(iface, uint16) (*frameSocket, error) {
	return nil, errors.New("frames can be seen on Linux only")
}

func (*frameSocket) read(func(Frame)) error { return nil }

func (*frameSocket) close() {}
