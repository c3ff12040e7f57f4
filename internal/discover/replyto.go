package discover

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Ports that MQTT has by convention.
const (
	mqttPort  = 1883
	mqttsPort = 8883
)

// maxHost is the length of the longest name of the domain name system (RFC 1035 §2.3.4).
const maxHost = 253

// replyTo is a replyto taken apart: an address or a name in lower case, never both.
type replyTo struct {
	addr netip.Addr
	name string
	port uint16
	tls  bool
}

// parseReplyTo reads host, host:port or mqtt(s)://host:port. It takes one spelling of each thing and refuses all others, so
// that nothing is read in one way here and in another way further on: no user, path, query, escape, zone or white space, and no
// address in any form but four decimal numbers or IPv6 in brackets.
func parseReplyTo(s string) (replyTo, error) {
	var t replyTo
	if s == "" {
		return t, errors.New("replyto is empty or missing")
	}
	if len(s) > maxHost+len("mqtts://:65535") {
		return t, fmt.Errorf("replyto %.24q… has %d bytes", s, len(s))
	}
	rest := s
	t.port = mqttPort
	if scheme, after, ok := strings.Cut(s, "://"); ok {
		rest = after
		switch strings.ToLower(scheme) {
		case "mqtt":
		case "mqtts":
			t.tls, t.port = true, mqttsPort
		default:
			return t, fmt.Errorf("replyto %q: scheme must be mqtt or mqtts", s)
		}
	}
	switch {
	case strings.Contains(rest, "@"):
		return t, fmt.Errorf("replyto %q must not name a user", s)
	case strings.ContainsAny(rest, "/?#"):
		return t, fmt.Errorf("replyto %q must have no path, query or fragment", s)
	}
	host, port, err := splitPort(rest)
	if err != nil {
		return t, fmt.Errorf("replyto %q: %w", s, err)
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return t, fmt.Errorf("replyto %q: port must be a number from 1 to 65535", s)
		}
		t.port = uint16(n)
	}
	if t.addr, t.name, err = parseHost(host); err != nil {
		return t, fmt.Errorf("replyto %q: %w", s, err)
	}
	return t, nil
}

// splitPort takes host[:port] or [v6][:port] apart; port is "" where none is named. The brackets stay with the host.
func splitPort(s string) (host, port string, err error) {
	end := 0
	if strings.HasPrefix(s, "[") {
		if end = strings.IndexByte(s, ']') + 1; end == 0 {
			return "", "", errors.New("bracket is not closed")
		}
	} else if strings.Count(s, ":") > 1 {
		return "", "", errors.New("an IPv6 address must stand in brackets")
	} else if end = strings.IndexByte(s, ':'); end < 0 {
		end = len(s)
	}
	host, port = s[:end], s[end:]
	if port == "" {
		return host, "", nil
	}
	if port[0] != ':' || port == ":" {
		return "", "", errors.New("host is not followed by a port")
	}
	return host, port[1:], nil
}

// parseHost reads an IPv4 address, an IPv6 address in brackets, or a name. A name whose last label is a number would be read
// as an address by some resolvers (2130706433, 0x7f.1, 0177.0.0.1) and is refused, as WHATWG's URL standard does (§3.5).
func parseHost(s string) (netip.Addr, string, error) {
	if strings.HasPrefix(s, "[") {
		a, err := netip.ParseAddr(strings.TrimSuffix(s[1:], "]"))
		if err != nil || !a.Is6() || a.Zone() != "" {
			return a, "", errors.New("not an IPv6 address between the brackets")
		}
		return a.Unmap(), "", nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
		return a, "", nil
	}
	name, err := parseName(s)
	return netip.Addr{}, name, err
}

// parseName returns the name in lower case, without the trailing dot.
func parseName(s string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if name == "" {
		return "", errors.New("host is missing")
	}
	if len(name) > maxHost {
		return "", fmt.Errorf("host has %d bytes, at most %d are allowed", len(name), maxHost)
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" || l[0] == '-' {
			return "", errors.New("host is neither an address nor a name of A-Z, a-z, 0-9, - and _ in labels of at most 63")
		}
	}
	last := labels[len(labels)-1]
	if strings.Trim(last, "0123456789") == "" || isHex(last) {
		return "", errors.New("host ends in a number but is not an address of four decimal numbers")
	}
	return name, nil
}

// isHex reports whether s is a hexadecimal number as inet_aton reads one, in lower case.
func isHex(s string) bool {
	digits, ok := strings.CutPrefix(s, "0x")
	return ok && strings.Trim(digits, "0123456789abcdef") == ""
}
