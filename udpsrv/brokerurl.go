package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"rollcall/internal/bus"
	"rollcall/reports"
)

// brokerURL is a broker's address taken apart.
type brokerURL struct {
	Host           string // name or address, without brackets
	Port           uint16
	TLS            bool
	User, Password string
	pinned         *tls.Config // checks the broker's key; nil: the system's roots
}

// Ports of MQTT as IANA has them.
const (
	portMQTT  = 1883
	portMQTTS = 8883
)

// parseBroker reads a URL of a broker, or host[:port] alone. The error never repeats the URL, which may hold a password.
func parseBroker(s string) (brokerURL, error) {
	var b brokerURL
	if ip, err := netip.ParseAddr(s); err == nil && ip.Is6() {
		s = "[" + s + "]"
	}
	if !strings.Contains(s, "://") {
		s = "mqtt://" + s
	}
	u, err := url.Parse(s)
	if err != nil || !validHost(u.Hostname()) || strings.Contains(u.Hostname(), "%") || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return b, errors.New("not a URL like mqtt://host:1883")
	}
	b.Host, b.Port = u.Hostname(), portMQTT
	switch u.Scheme {
	case "tcp", "mqtt":
	case "ssl", "tls", "mqtts":
		b.TLS, b.Port = true, portMQTTS
	default:
		return b, errors.New("scheme must be one of tcp, mqtt, ssl, tls, mqtts")
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return b, errors.New("port must be from 1 to 65535")
		}
		b.Port = uint16(n)
	}
	if u.User != nil {
		b.User = u.User.Username()
		b.Password, _ = u.User.Password()
	}
	return b, nil
}

// validHost reports whether s is an address or can be a name.
func validHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	for label := range strings.SplitSeq(s, ".") {
		if reports.ValidName(label) != nil {
			return false
		}
	}
	return true
}

// String returns the URL without user and password.
func (b brokerURL) String() string {
	scheme := "tcp://"
	if b.TLS {
		scheme = "ssl://"
	}
	return scheme + net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
}

// stranger returns the broker without user and password.
func (b brokerURL) stranger() brokerURL {
	b.User, b.Password = "", ""
	return b
}

// config returns how to connect to the broker. One without a user is treated as hostile.
func (b brokerURL) config(a *app) bus.Config {
	return bus.Config{URL: b.String(), Username: b.User, Password: b.Password, TLS: b.pinned,
		Foreign: b.User == "" && b.Password == "", Log: a.log()}
}

// replyTo returns the broker as the field replyto names it when it is reached at host.
func (b brokerURL) replyTo(host string) string {
	switch {
	case b.TLS:
		return "mqtts://" + net.JoinHostPort(host, strconv.Itoa(int(b.Port)))
	case b.Port != portMQTT || strings.Contains(host, ":"):
		return net.JoinHostPort(host, strconv.Itoa(int(b.Port)))
	}
	return host
}

// ours reports whether the broker is on this very machine. A name is looked up.
func (b brokerURL) ours(ctx context.Context) bool {
	if ip, err := netip.ParseAddr(b.Host); err == nil {
		return ownAddr(ip)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", b.Host)
	return err == nil && slices.ContainsFunc(ips, ownAddr)
}

// ownAddr reports whether the address is on loopback or one of this machine's own.
func ownAddr(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if ip.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(addrs, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap() == ip
	})
}
