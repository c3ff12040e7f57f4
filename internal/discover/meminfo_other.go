//go:build !linux

package discover

import "net"

// memInfo knows nothing: only Linux says.
func memInfo(*net.UDPConn) (buffer int, drops uint32) { return 0, 0 }

// wireless reports whether the interface is one of a wireless network; only Linux says.
func wireless(string) bool { return false }
