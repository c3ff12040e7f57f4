package discover

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memInfo returns the state of a socket; zeros where the kernel (before 4.12) does not say.
func memInfo(conn syscall.Conn) socketState {
	raw, err := conn.SyscallConn()
	if err != nil {
		return socketState{}
	}
	return memInfoOf(raw)
}

func memInfoOf(raw syscall.RawConn) socketState {
	const alloc, rcvbuf, dropped, fields = 0, 1, 8, 9 // SK_MEMINFO_RMEM_ALLOC, _RCVBUF, _DROPS and _VARS of linux/sock_diag.h
	var info [fields]uint32
	_ = raw.Control(func(fd uintptr) { // a closed socket has none
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			info = [fields]uint32{}
		}
	})
	return socketState{int(info[alloc]), int(info[rcvbuf]), info[dropped]}
}

// wireless reports whether the interface is one of a wireless network.
func wireless(name string) bool {
	_, err := os.Stat("/sys/class/net/" + name + "/phy80211")
	return name != "" && err == nil
}
