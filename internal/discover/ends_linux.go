package discover

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// addLinks adds what package net does not tell: the links to point-to-point interfaces, and which are part of another. Without an answer of the kernel
// there are none.
func addLinks(list []iface) {
	if !slices.ContainsFunc(list, func(f iface) bool { return f.pointToPoint() || len(f.Prefixes) == 0 && len(f.Six) > 0 }) {
		return
	}
	n, err := openNetlink()
	if err != nil {
		return
	}
	ends, err := n.links()
	parts, perr := n.parts()
	_ = n.close() // nothing was to be kept
	if err != nil || perr != nil {
		return
	}
	for i, f := range list {
		list[i].Part = parts[f.Index]
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

// parts returns the interfaces that are part of a bridge, a bond or the like.
func (n *netlink) parts() (map[int]bool, error) {
	out := map[int]bool{}
	err := n.do(unix.RTM_GETLINK, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfInfomsg), func(m syscall.NetlinkMessage) {
		if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
			return
		}
		eachAttribute(m.Data[unix.SizeofIfInfomsg:], func(typ uint16, _ []byte) {
			if typ == unix.IFLA_MASTER {
				out[int(binary.NativeEndian.Uint32(m.Data[4:]))] = true
			}
		})
	})
	return out, err
}
