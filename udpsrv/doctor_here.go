package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// holder is who has a UDP port.
type holder struct {
	uid     int
	inode   string
	pid     int    // 0: not visible
	program string // of the pid
}

// here looks at this machine as a host: its monitor, its unit, its configuration.
func (x *exam) here(ctx context.Context) {
	held, err := x.holders(x.port)
	if err != nil {
		x.unseen("port", "this machine", "", "who has UDP port %d can't be seen: %v", x.port, err)
	}
	_, noFile := os.Stat(x.root + x.config)
	unit := x.unit(ctx, "udpmon")
	isHost := noFile == nil || unit["LoadState"] == "loaded" || len(held) > 0
	if !isHost {
		x.add(isNote, "host", "this machine", "", "is no host: no %s, no unit udpmon, UDP port %d is free", x.config, x.port)
		return
	}
	if noFile == nil {
		x.configuration(ctx)
	}
	x.holds(ctx, held, unit)
	x.incoming()
}

// holds looks at who has the port of discovery.
func (x *exam) holds(ctx context.Context, held []holder, unit map[string]string) {
	start := "sudo systemctl enable --now udpmon"
	if state := unit["ActiveState"]; state == "failed" {
		x.wrong("unit", "udpmon", "sudo journalctl -u udpmon -n 20 --no-pager", "has failed (%s, %s restarts)", unit["Result"], unit["NRestarts"])
	} else if state == "active" {
		x.fine("unit", "udpmon", "is active since %s", unit["ActiveEnterTimestamp"])
	}
	if len(held) == 0 {
		x.wrong("port", "this machine", start, "nobody has UDP port %d: udpmon does not run, and this host is not found", x.port)
		return
	}
	for _, h := range held {
		switch {
		case h.pid == 0:
			x.unseen("port", "this machine", x.asRoot(), "UDP port %d is taken by a program of user %d; which one it is only root sees", x.port, h.uid)
		case h.program == "udpmon":
			x.fine("port", "this machine", "UDP port %d: udpmon (pid %d)", x.port, h.pid)
			x.answersHere(ctx)
		case h.program != "udpsrv": // one that hears the hellos shares the port
			x.wrong("port", "this machine", fmt.Sprintf("sudo kill %d && sudo systemctl restart udpmon", h.pid), "UDP port %d is taken by %s (pid %d): udpmon can't start, and requests go astray", x.port, h.program, h.pid)
		}
	}
}

// answersHere asks this machine's own monitor.
func (x *exam) answersHere(ctx context.Context) {
	one := x.asking
	one.to, one.interfaces, one.want, one.subnets, one.wait = []string{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(x.port)).String()}, nil, "", nil, min(x.wait, searchWait)
	rd, err := one.ask(ctx, x.a, nil, nil, nil)
	switch {
	case err != nil:
		x.wrong("host", "this machine", "ip link show lo", "%v", err)
	case len(rd.hosts)+len(rd.distrusted) == 0:
		x.add(isNote, "key", "this machine", "udpsrv enroll --print", "its own monitor does not answer this key, which its authorized_operators does not have (under sudo, --keys names yours)")
	case len(rd.distrusted) > 0:
		all := x.rd
		x.rd = rd
		x.distrusted()
		x.rd = all
	default:
		x.hosts(ctx, rd.sorted())
	}
}

// incoming looks at whether this host's packet filter lets requests in and answers out.
func (x *exam) incoming() {
	if x.fw == nil {
		return
	}
	for _, i := range x.ifaces {
		for _, network := range i.Networks {
			p := datagram(true, i.Name, network, ephemeral, x.port)
			p["pkttype"] = "broadcast"
			x.judge(i.Name, "requests of laptops to this host", p, x.port, false)
			x.judge(i.Name, "this host's answers", datagram(false, i.Name, network, x.port, ephemeral), x.port, true)
		}
	}
}

// configuration has udpmon check the configuration.
func (x *exam) configuration(ctx context.Context) {
	_, err := x.tool(ctx, "udpmon", "--check", "--config", x.config)
	switch {
	case err == nil:
		x.fine("unit", "udpmon", "%s is good", x.config)
	case strings.Contains(err.Error(), "not installed"):
		x.unseen("unit", "udpmon", "", "%s is not checked: %v", x.config, err)
	case strings.Contains(err.Error(), "permission denied"):
		x.unseen("unit", "udpmon", x.asRoot(), "%s is not checked: %v", x.config, err)
	default:
		x.wrong("unit", "udpmon", "sudoedit "+x.config, "%v", err)
	}
}

// unit returns what systemd says of a unit; nothing where there is no systemd.
func (x *exam) unit(ctx context.Context, name string) map[string]string {
	if _, err := os.Stat(x.root + "/run/systemd/system"); err != nil {
		return nil
	}
	out, err := x.tool(ctx, "systemctl", "show", name, "--property=LoadState,ActiveState,SubState,Result,NRestarts,ActiveEnterTimestamp")
	if err != nil {
		x.unseen("unit", name, "", "its state can't be seen: %v", err)
		return nil
	}
	all := map[string]string{}
	for line := range strings.Lines(string(out)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		all[k] = v
	}
	return all
}

// holders returns who has the UDP port on an address that others reach, by /proc/net/udp (proc(5)).
func (x *exam) holders(port int) (out []holder, err error) {
	for _, file := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		text, ferr := x.read(file)
		if ferr != nil {
			if file == "/proc/net/udp" {
				err = ferr
			}
			continue
		}
		for line := range strings.Lines(text) {
			if h, ok := parseUDP(line, port); ok {
				h.pid, h.program = x.owner(h.inode)
				out = append(out, h)
			}
		}
	}
	slices.SortFunc(out, func(a, b holder) int { return a.pid - b.pid })
	return slices.CompactFunc(out, func(a, b holder) bool { return a.pid == b.pid && a.uid == b.uid }), err
}

// parseUDP reads a line of /proc/net/udp: the holder of the port if it is that.
func parseUDP(line string, port int) (h holder, ok bool) {
	const local, uid, inode = 1, 7, 9
	f := strings.Fields(line)
	if len(f) <= inode {
		return h, false
	}
	_, hex, _ := strings.Cut(f[local], ":")
	n, err := strconv.ParseUint(hex, 16, 16)
	id, err2 := strconv.Atoi(f[uid])
	return holder{uid: id, inode: f[inode]}, err == nil && err2 == nil && int(n) == port
}

// owner returns the process that has the socket of an inode; 0 where it is not visible.
func (x *exam) owner(inode string) (pid int, program string) {
	procs, err := filepath.Glob(x.root + "/proc/[0-9]*")
	if err != nil {
		return 0, ""
	}
	for _, dir := range procs {
		fds, err := os.ReadDir(dir + "/fd")
		if err != nil {
			continue // it is another user's, or has ended
		}
		for _, fd := range fds {
			if to, err := os.Readlink(filepath.Join(dir, "fd", fd.Name())); err == nil && to == "socket:["+inode+"]" {
				pid, _ = strconv.Atoi(filepath.Base(dir)) // the pattern has digits
				program, _ = x.read("/proc/" + filepath.Base(dir) + "/comm")
				return pid, program
			}
		}
	}
	return 0, ""
}
