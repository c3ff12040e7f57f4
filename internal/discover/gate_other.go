//go:build !linux

package discover

import (
	"errors"
	"syscall"
)

// by makes it the gate of the socket that r has taken over. g.mu is held.
func (*gate) by(*receiver) {}

// attachTo fails: there is no gate, and everything comes.
func attachTo(syscall.RawConn, gateRules) error { return errors.ErrUnsupported }

// unfilter does nothing.
func unfilter(syscall.RawConn) {}
