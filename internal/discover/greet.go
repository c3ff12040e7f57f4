package discover

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"

	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	helloGather = 300 * time.Millisecond // for which changes of addresses are worked off together
	helloRepeat = time.Second            // a second copy, in case that the first is lost
	helloLeast  = 5 * time.Second        // between two hellos: an interface that comes and goes is no reason for a storm
)

// greeter keeps the socket in the IPv6 group of every link, and says HELLO when the host starts and when its addresses change,
// and BYE when it stops. It belongs to one goroutine.
type greeter struct {
	r      *Responder
	send   func(b, oob []byte, to netip.AddrPort) error
	joined map[int]bool
	seq    uint32
	last   []netip.Prefix // the addresses that were told last
}

// greet serves until ctx ends. It does nothing while nothing changes.
func (r *Responder) greet(ctx context.Context, ready chan<- struct{}) {
	g := &greeter{r: r, send: r.in.sender().send, joined: map[int]bool{}}
	g.look()
	close(ready)
	changes := make(chan struct{}, 1)
	stopped := r.watchLinks(ctx, changes)
	defer stopped()
	due := time.NewTimer(0) // the first hello
	defer due.Stop()
	copies, changed := 2, false
	var told time.Time
	for {
		select {
		case <-ctx.Done():
			g.bye()
			return
		case <-changes:
			r.stale.Store(true)
			g.join()
			changed = true
			if copies == 0 {
				due.Reset(max(helloGather, helloLeast-time.Since(told)))
			}
			continue
		case <-due.C:
		}
		if copies == 0 {
			changed = false
			if !g.look() {
				continue
			}
			copies = 2
		}
		if copies == 2 {
			g.seq++
			told = time.Now()
		}
		g.say(false)
		if copies--; copies > 0 {
			due.Reset(helloRepeat)
		} else if changed {
			due.Reset(helloLeast)
		}
	}
}

// join joins the group where it is not joined yet.
func (g *greeter) join() []iface {
	list, err := g.r.ifaces()
	if err != nil {
		return nil // what is joined stays joined
	}
	if g.r.six {
		join(g.r.in.join, list, g.joined)
	}
	return list
}

// look joins the group where that is to be done, and reports whether there are addresses that were not told.
func (g *greeter) look() bool {
	var now []netip.Prefix
	for _, f := range g.join() {
		if g.usable(f) {
			now = append(append(now, f.Prefixes...), f.Six...)
		}
	}
	news := slices.ContainsFunc(now, func(p netip.Prefix) bool { return !slices.Contains(g.last, p) })
	g.last = now
	return news
}

// usable reports whether hellos go out on f.
func (g *greeter) usable(f iface) bool {
	only := g.r.settings.Load().interfaces
	named := slices.Contains(only, f.Name)
	return (named || len(only) == 0) && f.unusable(named) == ""
}

// bye says BYE twice; nobody is there to repeat it later.
func (g *greeter) bye() {
	g.seq++
	g.say(true)
	g.say(true)
}

// say sends a hello on every link. What can't be sent is not missed: the host answers sweeps all the same.
func (g *greeter) say(bye bool) {
	said := g.r.said.Load()
	if !g.r.c.Hello || said == nil {
		return
	}
	h := Hello{Bye: bye, Open: g.r.settings.Load().open, Host: said.id, Time: g.r.c.Now(), Seq: g.seq,
		Age: g.r.c.Now().Sub(said.started), Edition: said.edition, BootID: said.boot}
	list, err := g.r.ifaces()
	if err != nil {
		return
	}
	for _, f := range list {
		if !g.usable(f) {
			continue
		}
		h.MAC = [6]byte{}
		if len(f.MAC) == len(h.MAC) {
			copy(h.MAC[:], f.MAC)
		}
		g.sayOn(f, h.marshal(g.r.c.Key))
	}
}

// sayOn sends a hello to everybody on f.
func (g *greeter) sayOn(f iface, b []byte) {
	for _, p := range f.Prefixes {
		if to, ok := broadcastOf(p); ok && f.Flags&net.FlagBroadcast != 0 {
			oob := (&ipv4.ControlMessage{Src: p.Addr().AsSlice(), IfIndex: f.Index}).Marshal()
			_ = g.send(b, oob, netip.AddrPortFrom(to, HelloPort)) // see say
		}
	}
	for _, l := range f.peers() {
		_ = g.send(b, nil, netip.AddrPortFrom(l.peer, HelloPort)) // see say
	}
	if p, ok := f.own6(); ok && g.r.six && f.joinable() {
		oob := (&ipv6.ControlMessage{Src: p.Addr().AsSlice(), IfIndex: f.Index, HopLimit: maxHops}).Marshal()
		_ = g.send(b, oob, netip.AddrPortFrom(group, HelloPort)) // see say
	}
}

// ListenHello opens a socket that hears the hellos of all hosts; several programs may have one. The caller closes it.
func ListenHello(ctx context.Context) (*net.UDPConn, error) {
	c := net.ListenConfig{Control: shared}
	p, err := c.ListenPacket(ctx, network, ":37031")
	if err != nil {
		return nil, err
	}
	conn := p.(*net.UDPConn)
	if list, err := interfaces(); err == nil {
		join(joining(conn), list, map[int]bool{})
	}
	return conn, nil
}

// Hellos gives found each hello that comes in on conn until that is closed, and the address that it came from.
func Hellos(conn *net.UDPConn, found func(Hello, netip.AddrPort)) {
	const maxErrors = 100 // in a row
	buf := make([]byte, helloSigned+1)
	for failed := 0; failed < maxErrors; {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if failed++; errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		failed = 0
		if h, err := ParseHello(buf[:n]); err == nil {
			found(h, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		}
	}
}
