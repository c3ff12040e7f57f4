package fleet

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// sourceControl returns the control message that makes a datagram leave from the address; nil if there is none.
func sourceControl(addr netip.Addr) []byte {
	if !addr.Is4() {
		return nil
	}
	return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: addr.As4()})
}
