package discover

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// States of a neighbour, as the kernel numbers them (linux/neighbour.h).
const (
	nudIncomplete = 0x01
	nudReachable  = 0x02
	nudStale      = 0x04
	nudDelay      = 0x08
	nudProbe      = 0x10
	nudFailed     = 0x20
	nudNoARP      = 0x40
	nudPermanent  = 0x80
)

// neighbour is an entry of the kernel's neighbour table.
type neighbour struct {
	mac   [6]byte // zero: none is known
	state uint16
}

// usable reports whether the kernel sends to the neighbour without asking anybody first.
func (n neighbour) usable() bool {
	return n.state&(nudReachable|nudStale|nudDelay|nudProbe|nudNoARP|nudPermanent) != 0
}

// yields reports whether a requester at mac may take the place of the entry: it has that address already, or none, or one that
// nobody has confirmed of late. What an administrator has fixed never does.
func (n neighbour) yields(mac [6]byte) bool {
	switch {
	case n.state&(nudPermanent|nudNoARP) != 0:
		return false
	case n.mac == mac, n.mac == [6]byte{}:
		return true
	}
	return n.state&(nudFailed|nudStale|nudIncomplete) != 0
}

// neighbourTable is the kernel's.
type neighbourTable interface {
	neighbour(index int, addr netip.Addr) (neighbour, bool, error)
	install(index int, addr netip.Addr, mac [6]byte, replace bool) error
	gateways() ([]netip.Addr, error)
	close() error
}

// introducer puts requesters into the kernel's neighbour table, so that an answer needs no ARP (DISCOVERY.md §5.5), under
// rules that keep a requester from becoming somebody else to this host. It is for one goroutine.
type introducer struct {
	table   neighbourTable // nil where there is none
	broker  func() []netip.Addr
	resolv  []string // files that name servers, resolv.conf(5)
	denied  bool     // there is no CAP_NET_ADMIN
	guarded []netip.Addr
	listed  time.Time
}

// introduction is what became of one.
type introduction struct {
	known   bool   // the answer needs no ARP
	changed bool   // an entry was made or got another address
	refused string // why nothing was installed, "" if that is nobody's fault
}

func newIntroducer(broker func() []netip.Addr) *introducer {
	return &introducer{table: openTable(), broker: broker, resolv: []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}}
}

func (i *introducer) close() {
	if i.table != nil {
		_ = i.table.close() // nothing was to be kept
	}
}

// look only looks whether the requester is known. It changes nothing.
func (i *introducer) look(f iface, addr netip.Addr) introduction {
	if f.Flags&net.FlagLoopback != 0 || len(f.MAC) != 6 {
		return introduction{known: true} // nobody is asked on such a link
	}
	if i.table == nil {
		return introduction{}
	}
	e, ok, err := i.table.neighbour(f.Index, addr)
	return introduction{known: err == nil && ok && e.usable()}
}

// introduce installs the requester addr, at mac on f. The caller has found its signature good, and that the frame came from
// mac. macs are this machine's own.
func (i *introducer) introduce(f iface, addr netip.Addr, mac [6]byte, m machine, macs []net.HardwareAddr, now time.Time) introduction {
	if f.Flags&net.FlagLoopback != 0 || len(f.MAC) != 6 || i.table == nil || i.denied || m.isOwn(addr) {
		return i.look(f, addr)
	}
	e, ok, err := i.table.neighbour(f.Index, addr)
	if err != nil {
		ok = false // then an entry that is there is not overwritten either
	}
	seen := introduction{known: ok && e.usable()}
	if ok && e.mac == mac && e.state == nudReachable {
		return seen // nothing is to be changed
	}
	if why := i.unfit(f, addr, mac, macs, now); why != "" {
		seen.refused = why
		return seen
	}
	if ok && !e.yields(mac) {
		seen.refused = fmt.Sprintf("%v is at %v, and that is in use", addr, net.HardwareAddr(e.mac[:]))
		return seen
	}
	if err := i.table.install(f.Index, addr, mac, ok); err != nil {
		i.denied = permission(err)
		seen.refused = err.Error()
		return seen
	}
	return introduction{known: true, changed: !ok || e.mac != mac}
}

// unfit returns why nobody may be installed at this address, or "".
func (i *introducer) unfit(f iface, addr netip.Addr, mac [6]byte, macs []net.HardwareAddr, now time.Time) string {
	hw := net.HardwareAddr(mac[:])
	i.refresh(now)
	switch {
	case mac == [6]byte{} || mac[0]&1 != 0:
		return fmt.Sprintf("MAC %v is not that of one machine", hw)
	case slices.ContainsFunc(macs, func(own net.HardwareAddr) bool { return own.String() == hw.String() }):
		return fmt.Sprintf("MAC %v is our own", hw)
	case !f.connects(addr):
		return fmt.Sprintf("%v is not in a network of %s", addr, f.Name)
	case i.guarded == nil:
		return "it is not known who must be kept apart: gateways, name servers, the broker"
	case slices.Contains(i.guarded, addr):
		return fmt.Sprintf("%v is a gateway, a name server or the broker", addr)
	}
	for _, a := range i.guarded {
		if e, ok, err := i.table.neighbour(f.Index, a); err == nil && ok && e.mac == mac {
			return fmt.Sprintf("MAC %v is that of %v, a gateway, a name server or the broker", hw, a)
		}
	}
	return ""
}

// refresh finds out anew, now and then, who must never be installed. guarded stays nil while that is not known.
func (i *introducer) refresh(now time.Time) {
	if d := now.Sub(i.listed); i.guarded != nil && d >= 0 && d < tableAge {
		return
	}
	i.listed, i.guarded = now, nil
	gateways, err := i.table.gateways()
	if err != nil {
		return
	}
	list := gateways
	if i.broker != nil {
		brokers := i.broker()
		if brokers == nil {
			return
		}
		list = append(list, brokers...)
	}
	for _, path := range i.resolv {
		list = append(list, nameServers(path)...)
	}
	i.guarded = append([]netip.Addr{}, list...)
}

// nameServers returns the name servers of a file as resolv.conf(5); a file that is not there names none.
func nameServers(path string) (out []netip.Addr) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			out = append(out, a.Unmap().WithZone(""))
		}
	}
	return out
}
