package discover

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// arrival learns on which interface the datagram came in; o is answered if that is one to be answered on.
func (r *Responder) arrival(d *datagram, set *settings) (f iface, o outcome) {
	if d.iface == 0 {
		if !r.control(d) {
			return f, offLink
		}
	}
	f, ok := r.list[d.iface]
	if !ok || !f.onLink(d.src.Addr(), r.machine.isOwn) {
		r.refresh(d.at, tableRetry) // an interface or address may be new
		if f, ok = r.list[d.iface]; !ok {
			return f, offLink
		}
	}
	if len(set.interfaces) > 0 && !slices.Contains(set.interfaces, f.Name) {
		return f, otherIface
	}
	return f, answered
}

// came is what the kernel says of how a datagram came in.
type came struct {
	oob   []byte // in which it says so
	iface int
	dst   netip.Addr
	hops  int // that were left, IPv6
}

// control reads on which interface the datagram came in and where it was sent to. Most have come as the one before.
func (r *Responder) control(d *datagram) bool {
	if len(d.oob) == 0 || !bytes.Equal(d.oob, r.came.oob) {
		c, err := parseControl(d.oob, r.six)
		if err != nil {
			return false
		}
		r.came = c
	}
	d.iface, d.dst = r.came.iface, r.came.dst
	return !r.six || d.src.Addr().Is4() || r.came.hops == maxHops // with fewer it may have come through a router
}

// parseControl reads the control message of a socket, which is an IPv6 one if six.
func parseControl(oob []byte, six bool) (c came, err error) {
	var dst net.IP
	if six {
		var cm ipv6.ControlMessage
		err = cm.Parse(oob)
		c.iface, c.hops, dst = cm.IfIndex, cm.HopLimit, cm.Dst
	} else {
		var cm ipv4.ControlMessage
		err = cm.Parse(oob)
		c.iface, dst = cm.IfIndex, cm.Dst
	}
	c.oob = bytes.Clone(oob)
	c.dst, _ = netip.AddrFromSlice(dst)
	c.dst = c.dst.Unmap()
	return c, err
}

// broadcast reports whether a datagram was sent to more hosts than this one.
func (r *Responder) broadcast(d *datagram) bool {
	return d.dst.IsValid() && !r.machine.connectable(d.dst)
}

// refresh lists the interfaces anew if the list is older than age. It is done when a host is up for something else, so that an idle one does
// nothing, after datagrams were answered if it can be.
func (r *Responder) refresh(now time.Time, age time.Duration) {
	if d := now.Sub(r.listed); d >= 0 && d < age {
		return
	}
	r.listed = now
	list, err := r.ifaces()
	if err != nil {
		return // the old list is the best that there is
	}
	r.machine = machineOf(list)
	r.list = make(map[int]iface, len(list))
	r.macs = r.macs[:0]
	for _, f := range list {
		r.list[f.Index] = f
		if len(f.MAC) > 0 {
			r.macs = append(r.macs, f.MAC)
		}
	}
	clear(r.sources)
}

// local returns this host's address as the requester sees it: the one that it sent to, or the one in its network.
func (r *Responder) local(d *datagram, f iface) netip.Addr {
	if d.dst.IsValid() && r.machine.isOwn(d.dst) && r.machine.connectable(d.dst) {
		return d.dst
	}
	if d.src.Addr().Is6() {
		a, _ := f.facing6(d.src.Addr())
		return a
	}
	if p, ok := f.facing(d.src.Addr()); ok {
		return p.Addr()
	}
	if len(f.Prefixes) > 0 {
		return f.Prefixes[0].Addr()
	}
	return netip.Addr{}
}

type sourceKey struct {
	iface int
	addr  netip.Addr
}

// source returns the control message that makes a reply leave by the interface that the request came in on, and from the
// address that it was sent to.
func (r *Responder) source(d *datagram, f iface) []byte {
	key := sourceKey{f.Index, r.local(d, f)}
	if oob, ok := r.sources[key]; ok {
		return oob
	}
	index := f.Index
	if f.Flags&net.FlagLoopback != 0 || (r.machine.isOwn(d.src.Addr()) && !d.src.Addr().IsLinkLocalUnicast()) {
		index = 0
	}
	var oob []byte
	if d.src.Addr().Is4() {
		oob = (&ipv4.ControlMessage{Src: key.addr.AsSlice(), IfIndex: index}).Marshal()
	} else {
		oob = (&ipv6.ControlMessage{Src: key.addr.AsSlice(), IfIndex: index, HopLimit: maxHops}).Marshal()
	}
	if len(r.sources) < maxSources {
		r.sources[key] = oob
	}
	return oob
}
