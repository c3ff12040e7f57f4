package discover

import (
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memInfo returns the receive buffer of a socket in bytes, as the kernel reckons it, and how many datagrams it had no room for;
// zeros where the kernel (before 4.12) does not say.
func memInfo(conn *net.UDPConn) (buffer int, drops uint32) {
	const rcvbuf, dropped, fields = 1, 8, 9 // SK_MEMINFO_RCVBUF, _DROPS and _VARS of linux/sock_diag.h
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, 0
	}
	var info [fields]uint32
	_ = raw.Control(func(fd uintptr) { // a closed socket has none
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			info = [fields]uint32{}
		}
	})
	return int(info[rcvbuf]), info[dropped]
}

// wireless reports whether the interface is one of a wireless network.
func wireless(name string) bool {
	_, err := os.Stat("/sys/class/net/" + name + "/phy80211")
	return name != "" && err == nil
}
