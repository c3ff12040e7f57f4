package discover

import (
	"errors"

	"golang.org/x/sys/unix"
)

// openTable opens the kernel's neighbour table; nil means that answers need ARP.
func openTable() neighbourTable {
	n, err := openNetlink()
	if err != nil {
		return nil
	}
	return n
}

// permission reports whether the error is for want of CAP_NET_ADMIN.
func permission(err error) bool { return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) }
