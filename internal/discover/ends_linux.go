package discover

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// addLinks adds the links to point-to-point interfaces, which package net does not tell. Without an answer of the kernel
// there are none.
func addLinks(list []iface) {
	if !slices.ContainsFunc(list, iface.pointToPoint) {
		return
	}
	n, err := openNetlink()
	if err != nil {
		return
	}
	ends, err := n.links()
	_ = n.close() // nothing was to be kept
	if err != nil {
		return
	}
	for i, f := range list {
		if f.pointToPoint() {
			list[i].Links = ends[f.Index]
		}
	}
}

func (f iface) pointToPoint() bool { return f.Flags&net.FlagPointToPoint != 0 }

// links returns the IPv4 addresses that name a peer, by interface.
func (n *netlink) links() (map[int][]link, error) {
	out := map[int][]link{}
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0] = unix.AF_INET
	err := n.do(unix.RTM_GETADDR, unix.NLM_F_DUMP, b, func(m syscall.NetlinkMessage) {
		if m.Header.Type != unix.RTM_NEWADDR || len(m.Data) < unix.SizeofIfAddrmsg {
			return
		}
		var l link
		eachAttribute(m.Data[unix.SizeofIfAddrmsg:], func(typ uint16, value []byte) {
			a, ok := netip.AddrFromSlice(value)
			switch {
			case !ok:
			case typ == unix.IFA_ADDRESS:
				l.peer = a
			case typ == unix.IFA_LOCAL:
				l.local = a
			}
		})
		if l.local.Is4() && l.peer.Is4() && l.local != l.peer {
			index := int(binary.NativeEndian.Uint32(m.Data[4:]))
			out[index] = append(out[index], l)
		}
	})
	return out, err
}
