package discover

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean returns s cut to maxText bytes, without what can't be shown: control characters, invalid UTF-8, bidirectional marks.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	for len(s) > maxText {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// showable reports whether clean leaves s as it is.
func showable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return clean(s) == s
		}
	}
	return len(s) <= maxText
}

// brokerHost returns the host of a broker's URL, or what is wrong with the URL.
func brokerHost(s string) (string, error) {
	if len(s) > maxBroker {
		return "", fmt.Errorf("broker %.24q… has %d bytes, at most %d are allowed", s, len(s), maxBroker)
	}
	if host, ok := plainBroker(s); ok {
		return host, nil
	}
	return brokerByURL(s)
}

// brokerByURL is brokerHost for any URL.
func brokerByURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("broker %q is no URL", s)
	}
	switch u.Scheme {
	case "tcp", "mqtt", "mqtts", "ssl", "tls", "ws", "wss":
	default:
		return "", fmt.Errorf("broker %q: scheme is none of a broker's", s)
	}
	if u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("broker %q must have a host, and no user, query or fragment", s)
	}
	return u.Hostname(), nil
}

// plainBroker returns the host of a URL that is nothing but scheme://name:port, as nearly all are. It is for their speed: what it
// does not take is not wrong.
func plainBroker(s string) (string, bool) {
	scheme, rest, _ := strings.Cut(s, "://")
	switch scheme {
	case "tcp", "mqtt", "mqtts", "ssl", "tls", "ws", "wss":
	default:
		return "", false
	}
	host, port, _ := strings.Cut(rest, ":")
	for i := range len(host) {
		if c := host[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return "", false
		}
	}
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return "", false
		}
	}
	return host, host != ""
}

// loopbackURL reports whether the broker's URL leads to the machine that it is used on.
func loopbackURL(u string) bool {
	host, err := brokerHost(u)
	if err != nil {
		return false
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true // RFC 6761 §6.3
	}
	// ParseIP for want of a reader of all that a dialer takes: what it can't read is a name to it as well.
	ip := net.ParseIP(host)
	return ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}

func allLoopback(brokers []string) bool {
	return len(brokers) > 0 && !slices.ContainsFunc(brokers, func(u string) bool { return !loopbackURL(u) })
}
