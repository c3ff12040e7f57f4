//go:build !linux

package discover

import "syscall"

// memInfo knows nothing: only Linux says.
func memInfo(syscall.Conn) socketState { return socketState{} }

func memInfoOf(syscall.RawConn) socketState { return socketState{} }

// wireless reports whether the interface is one of a wireless network; only Linux says.
func wireless(string) bool { return false }
