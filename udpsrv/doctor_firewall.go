package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// sureness is whether something holds as far as it can be judged from here.
type sureness int

const (
	no sureness = iota
	unsure
	yes
)

// firewall is the packet filter of this machine: what is needed of it to judge one datagram.
type firewall struct {
	chains []*fwChain
	wards  string // who writes the rules: "ufw", "firewalld" or ""
}

// fwChain is a chain of rules. One with a hook is entered by packets, others are called.
type fwChain struct {
	program string // "nft" or "iptables"
	table   string // with its family, as nft names it: "inet filter"
	name    string
	hook    string // input, output, …; "" for one that is only called
	policy  string // of one with a hook
	rules   []fwRule
}

// based reports whether packets enter the chain by themselves.
func (c *fwChain) based() bool { return c.hook != "" }

// fwRule is a rule: what becomes of packets of which all conditions hold.
type fwRule struct {
	conds   []fwCond
	verdict string // accept, drop, reject, return, jump, goto; "" decides nothing
	target  string // of jump and goto
	text    string // for people
}

// fwCond is a condition: the packet has one of the values, or, with not, none of them. One without a key can't be judged.
type fwCond struct {
	key    string // as in fwPacket
	values []string
	not    bool
}

// fwPacket is a datagram: its properties by the words of nft(8). What is not in it is not known.
type fwPacket map[string]string

// judge returns whether the datagram is let through on the hooks, and which chain and rule keep it from that.
func (f *firewall) judge(p fwPacket, hooks ...string) (passes sureness, where *fwChain, by string) {
	passes = yes
	for _, c := range f.chains {
		if !slices.Contains(hooks, c.hook) {
			continue
		}
		w := walk{f: f, p: p}
		w.chain(c, 0)
		if !w.done {
			w.end(c.policy == "drop", "policy drop")
		}
		switch {
		case w.dropped && !w.mayAccept:
			return no, c, w.by
		case (w.dropped || w.mayDrop != "") && passes == yes:
			passes, where, by = unsure, c, w.mayDrop
			if w.dropped {
				by = w.by
			}
		}
	}
	return passes, where, by
}

// walk is the way of a packet through the chains.
type walk struct {
	f         *firewall
	p         fwPacket
	done      bool
	dropped   bool
	by        string // what dropped it
	mayAccept bool   // an earlier rule that can't be judged may have accepted it
	mayDrop   string // an earlier rule that can't be judged may have dropped it
}

func (w *walk) end(dropped bool, by string) { w.done, w.dropped, w.by = true, dropped, by }

// chain follows the packet through a chain; it returns whether to go on in the chain that called this one.
func (w *walk) chain(c *fwChain, depth int) (back bool) {
	const deepest = 16 // as in the kernel (NFT_JUMP_STACK_SIZE)
	for _, r := range c.rules {
		sure := w.p.matches(r.conds)
		if sure == no {
			continue
		}
		switch r.verdict {
		case "accept":
			if sure == yes {
				w.end(false, r.text)
				return false
			}
			w.mayAccept = true
		case "drop", "reject":
			if sure == yes {
				w.end(true, r.text)
				return false
			}
			if w.mayDrop == "" {
				w.mayDrop = r.text
			}
		case "return":
			if sure == yes {
				return true
			}
		case "jump", "goto":
			to := w.f.find(c, r.target)
			if to == nil || depth == deepest {
				continue
			}
			if sure == unsure {
				w.guess(to, depth)
				continue
			}
			if !w.chain(to, depth+1) {
				return false
			}
			if r.verdict == "goto" {
				return true
			}
		}
	}
	return true
}

// guess looks at what a chain may do to the packet that may not be called at all.
func (w *walk) guess(to *fwChain, depth int) {
	inner := walk{f: w.f, p: w.p}
	inner.chain(to, depth+1)
	switch {
	case inner.dropped && w.mayDrop == "":
		w.mayDrop = inner.by
	case inner.mayDrop != "" && w.mayDrop == "":
		w.mayDrop = inner.mayDrop
	}
	w.mayAccept = w.mayAccept || inner.mayAccept || inner.done && !inner.dropped
}

func (f *firewall) find(from *fwChain, name string) *fwChain {
	i := slices.IndexFunc(f.chains, func(c *fwChain) bool { return c.program == from.program && c.table == from.table && c.name == name })
	if i < 0 {
		return nil
	}
	return f.chains[i]
}

// matches reports whether all conditions hold.
func (p fwPacket) matches(conds []fwCond) sureness {
	all := yes
	for _, c := range conds {
		all = min(all, p.holds(c))
	}
	return all
}

func (p fwPacket) holds(c fwCond) sureness {
	have, known := p[c.key]
	switch {
	case !known:
		return unsure
	case have == ofOthers:
		return no // nft(8): a field of a protocol holds for its packets only, also with !=
	}
	one := no
	for _, v := range c.values {
		one = max(one, equals(have, v))
	}
	if c.not {
		one = yes - one
	}
	return one
}

// equals compares a property with a value of a rule: the same text, a range, a network, or a beginning with a star.
func equals(have, v string) sureness {
	if have == v {
		return yes
	}
	if n, err := strconv.Atoi(have); err == nil {
		lo, hi, ok := strings.Cut(v, "-")
		from, err1 := strconv.Atoi(lo)
		to, err2 := strconv.Atoi(hi)
		return sure(ok && err1 == nil && err2 == nil && from <= n && n <= to)
	}
	if ours, err := netip.ParsePrefix(have); err == nil { // some address of the network
		theirs, err := netip.ParsePrefix(v)
		if addr, aerr := netip.ParseAddr(v); err != nil && aerr == nil {
			theirs, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		switch {
		case err != nil:
			return unsure
		case !theirs.Overlaps(ours):
			return no
		case theirs.Bits() <= ours.Bits():
			return yes
		}
		return unsure
	}
	begin, star := strings.CutSuffix(v, "*")
	return sure(star && strings.HasPrefix(have, begin))
}

func sure(b bool) sureness {
	if b {
		return yes
	}
	return no
}

// ofOthers is the value of a property that packets of other protocols have.
const ofOthers = "of other protocols"

// datagram returns a packet of discovery on an interface: between the ports, with somebody on the network.
func datagram(in bool, iface string, network netip.Prefix, sport, dport int) fwPacket {
	p := fwPacket{"l4proto": "udp", "ip protocol": "udp", "protocol": "ip", "nfproto": "ipv4", "ct state": "new",
		"udp sport": strconv.Itoa(sport), "udp dport": strconv.Itoa(dport), "th sport": strconv.Itoa(sport), "th dport": strconv.Itoa(dport)}
	for _, other := range []string{"tcp", "sctp", "dccp", "udplite", "icmp", "icmpv6", "ip6"} {
		for _, field := range []string{"sport", "dport", "type", "flags", "saddr", "daddr", "nexthdr"} {
			p[other+" "+field] = ofOthers
		}
	}
	way, far := "oif", "ip daddr"
	if in {
		way, far = "iif", "ip saddr"
	}
	p[way], p[way+"name"] = iface, iface
	if network.IsValid() {
		p[far] = network.Masked().String()
	}
	return p
}

// opening returns the line that lets datagrams through which a chain drops: those to the port, or, with from, those from it.
func (f *firewall) opening(c *fwChain, port int, from bool) string {
	field, out := "dport", c.hook == "output" || c.hook == "postrouting"
	if from {
		field = "sport"
	}
	switch {
	case f.wards == "ufw" && out:
		return fmt.Sprintf("sudo ufw allow out proto udp to any port %d", port)
	case f.wards == "ufw" && from:
		return fmt.Sprintf("sudo ufw allow in proto udp from any port %d", port)
	case f.wards == "ufw":
		return fmt.Sprintf("sudo ufw allow %d/udp", port)
	case f.wards == "firewalld" && from:
		return fmt.Sprintf("sudo firewall-cmd --permanent --add-source-port=%d/udp && sudo firewall-cmd --reload", port)
	case f.wards == "firewalld":
		return fmt.Sprintf("sudo firewall-cmd --permanent --add-port=%d/udp && sudo firewall-cmd --reload", port)
	case c.program == "iptables":
		return fmt.Sprintf("sudo iptables-legacy -I %s -p udp --%s %d -j ACCEPT", c.name, field, port)
	}
	return fmt.Sprintf("sudo nft insert rule %s %s udp %s %d accept", c.table, c.name, field, port)
}
