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

// destination returns the address that a datagram was sent to, from its control messages.
func destination(oob []byte) netip.Addr {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return netip.Addr{}
	}
	for _, m := range list {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			return netip.AddrFrom4([4]byte(m.Data[8:])) // struct in_pktinfo: index, local address, address in the header
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			return netip.AddrFrom16([16]byte(m.Data)).Unmap() // a socket for both has IPv4 as ::ffff:a.b.c.d
		}
	}
	return netip.Addr{}
}
