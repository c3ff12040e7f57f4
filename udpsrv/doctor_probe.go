package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"rollcall/internal/trust"
)

// probe finds out what is at an address that does not answer a request: a machine at all, a monitor, one that does not know this key.
func (x *exam) probe(ctx context.Context, name string, at netip.AddrPort, cached []entry) {
	ip := at.Addr()
	closed := portClosed(ctx, at)
	port := uint16(portMQTTS)
	for _, e := range cached {
		for _, raw := range e.Brokers {
			if b, err := parseBroker(raw); err == nil {
				port = b.Port
			}
		}
	}
	tcp := dials(ctx, netip.AddrPortFrom(ip, port).String())
	mac, listed := x.neighbour(ip)
	alive := closed || tcp == nil || errors.Is(tcp, syscall.ECONNREFUSED)
	switch {
	case closed:
		x.wrong("host", name, over(name, "sudo systemctl restart udpmon"), "a machine is at %s, but its port %d is closed: udpmon does not run there, or its packet filter rejects", ip, at.Port())
	case !alive && (mac == "" || !listed):
		x.wrong("host", name, "ping -c 3 "+ip.String(), "no machine is at %s: the host is off, unplugged, or has another address", ip)
	case !alive:
		x.wrong("host", name, "ping -c 3 "+ip.String(), "%s had the hardware address %s a moment ago, and answers nothing: the host hangs, went off, or its packet filter drops everything", ip, mac)
	case x.refusesKey(ctx, netip.AddrPortFrom(ip, port)):
		x.wrong("key", name, "udpsrv enroll "+name, "the machine at %s does not obey this laptop's key (%s): its authorized_operators has no line of it", ip, x.who.key.Public().Fingerprint())
	default:
		x.wrong("host", name, "udpsrv enroll "+name, "a machine is at %s and does not answer: its authorized_operators has no line of this key, or its packet filter drops UDP %d (there: sudo udpsrv doctor)", ip, at.Port())
	}
}

// portClosed reports whether the machine says that nobody listens on the UDP port (ICMP, RFC 792).
func portClosed(ctx context.Context, at netip.AddrPort) bool {
	const tries, wait = 3, 200 * time.Millisecond
	c, err := (&net.Dialer{}).DialContext(ctx, "udp", at.String())
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }() // nothing is to be kept
	for range tries {
		if _, err := c.Write([]byte{0}); errors.Is(err, syscall.ECONNREFUSED) { // what is no request is dropped without a word
			return true
		}
		_ = c.SetReadDeadline(time.Now().Add(wait)) // can't fail on an open socket
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, syscall.ECONNREFUSED) {
			return true
		}
	}
	return false
}

// neighbour returns the hardware address that the kernel has for a machine on the link (/proc/net/arp, arp(7)). listed is false
// where it can't be seen.
func (x *exam) neighbour(ip netip.Addr) (mac string, listed bool) {
	text, err := x.read("/proc/net/arp")
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) >= 4 && f[0] == ip.String() && f[2] != "0x0" {
			return f[3], true
		}
	}
	return "", err == nil
}

// refusesKey reports whether a broker there says by TLS that it does not know this laptop's key.
func (x *exam) refusesKey(ctx context.Context, at netip.AddrPort) bool {
	conf, err := x.who.key.ClientTLS(trust.PublicKey{})
	if err != nil {
		return false
	}
	conf.VerifyConnection = nil // who it is does not matter here; nothing is sent but our certificate
	raw, err := (&net.Dialer{Timeout: dialWait}).DialContext(ctx, "tcp", at.String())
	if err != nil {
		return false
	}
	defer func() { _ = raw.Close() }() // nothing is to be kept
	return tlsRefuses(ctx, raw, conf)
}

// tlsRefuses reports whether the other side of a connection ends it with an alert because of our certificate, which it does after
// the handshake (RFC 8446 §4.4.2.4).
func tlsRefuses(ctx context.Context, raw net.Conn, conf *tls.Config) bool {
	c := tls.Client(raw, conf)
	_ = c.SetDeadline(time.Now().Add(dialWait)) // can't fail on an open connection
	err := c.HandshakeContext(ctx)
	if err == nil {
		_, err = c.Read(make([]byte, 1)) // a broker that takes us waits for a CONNECT
	}
	alert := tls.AlertError(0)
	return errors.As(err, &alert) || err != nil && strings.Contains(err.Error(), "remote error: tls")
}
