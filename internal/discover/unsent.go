package discover

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
)

// givenUpAfter is for how many rounds a network is asked that nothing can be sent to. It may come back; and while there is hope
// no round counts.
const givenUpAfter = 3

// unsent is what a sweep could not ask, which must not pass for having asked and heard nobody.
type unsent struct {
	failing map[aim]failure
	short   map[netip.AddrPort]error // addresses of a range that were not asked as often as the others
	unasked []Unasked                // what was given up, and why
}

// Unasked is an address that a sweep could not send its requests to.
type Unasked struct {
	To        netip.Addr
	Interface string
	Err       error
}

// String says so, and what helps.
func (u Unasked) String() string {
	return fmt.Sprintf("%v could not be asked on %s: %s", u.To, u.Interface, sendTrouble(u.Err))
}

// aim is an address that is asked, and the way to there.
type aim struct {
	way *way
	to  netip.AddrPort
}

// failure is since which round nothing can be sent there, and why.
type failure struct {
	round uint16
	err   error
}

// note takes in how sending a request of a round went.
func (u *unsent) note(w *way, to netip.AddrPort, round uint16, err error) {
	at := aim{w, to}
	_, known := u.failing[at]
	switch {
	case err == nil:
		delete(u.failing, at)
	case w.gap > 0:
		if u.short == nil {
			u.short = map[netip.AddrPort]error{}
		}
		u.short[to] = err
	case !known:
		if u.failing == nil {
			u.failing = map[aim]failure{}
		}
		u.failing[at] = failure{round, err}
	}
}

// giveUp stops asking where nothing could be sent for too many rounds.
func (u *unsent) giveUp(round uint16) {
	for at, f := range u.failing {
		if round < f.round+givenUpAfter {
			continue
		}
		delete(u.failing, at)
		at.way.targets = slices.DeleteFunc(at.way.targets, func(to netip.AddrPort) bool { return to == at.to })
		if !at.way.late { // else it is asked by IPv4
			u.unasked = append(u.unasked, Unasked{at.to.Addr(), at.way.iface.Name, f.err})
		}
	}
}

// all returns what could not be asked.
func (u *unsent) all() []Unasked {
	out := slices.Clone(u.unasked)
	for at, f := range u.failing {
		if !at.way.late {
			out = append(out, Unasked{at.to.Addr(), at.way.iface.Name, f.err})
		}
	}
	slices.SortFunc(out, func(a, b Unasked) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// why returns what keeps a sweep from being complete, of which all is what could not be asked; "" if nothing does.
func (u *unsent) why(all []Unasked) string {
	var out []string
	for _, one := range all {
		out = append(out, one.String())
	}
	for _, err := range u.short {
		out = append(out, fmt.Sprintf("%d addresses could not be asked as often as others: %s", len(u.short), sendTrouble(err)))
		break
	}
	return strings.Join(out, "; ")
}

// sendTrouble says in plain words why a datagram could not be sent, and what helps.
func sendTrouble(err error) string {
	switch {
	case errors.Is(err, syscall.ENOBUFS):
		return "the kernel's table of neighbours or the interface's queue is full (sysctl -w net.ipv4.neigh.default.gc_thresh3=8192 net.ipv4.neigh.default.gc_thresh2=4096 makes the table larger)"
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return "this machine's firewall or routes forbid it"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETDOWN):
		return "there is no route, or the interface is down"
	}
	return err.Error()
}
