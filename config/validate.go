package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"rollcall/reports"
)

// Bounds of what a file may ask for.
const (
	leastExtAddrEvery = time.Minute          // a stranger's server is asked
	mostDuration      = 366 * 24 * time.Hour // longer is a slip of the keyboard
	maxText           = 1024                 // paths, user names and URLs
	maxInterface      = 15                   // IFNAMSIZ-1 of linux/if.h
	maxHostname       = 253                  // RFC 1035 §2.3.4
)

// check returns the first thing wrong with the values, as At returns it.
func (c *Config) check() error {
	if c.Host != "" {
		if err := checkName(c.Host); err != nil {
			return At("host", "%w", err)
		}
	}
	if err := checkText("state_dir", c.StateDir, true); err != nil {
		return err
	}
	if err := c.Discovery.check(); err != nil {
		return err
	}
	if c.Metrics.Listen != Off {
		if err := checkListen(c.Metrics.Listen); err != nil {
			return At("metrics.listen", "%w", err)
		}
	}
	if err := c.Janitoo.check(); err != nil {
		return err
	}
	return c.Broker.check()
}

// checkName returns an error unless s can be the name of a host or a service in topics, where the words of the interface
// stand beside it: /get/gpio and /gpio/get must not both be there, nor a service's topics below /<host>/status.
func checkName(s string) error {
	if err := reports.ValidName(s); err != nil {
		return err
	}
	if slices.Contains(reports.Verbs, s) || s == "status" || s == "udp" {
		return fmt.Errorf("name %q is a word of the topics", s)
	}
	return nil
}

func checkText(path, s string, needed bool) error {
	switch {
	case s == "" && needed:
		return At(path, "is empty")
	case len(s) > maxText:
		return At(path, "has %d bytes, at most %d are allowed", len(s), maxText)
	case strings.ContainsFunc(s, unicode.IsControl):
		return At(path, "%s has a control character", show(s))
	}
	return nil
}

func checkDuration(path string, d reports.Duration, least time.Duration) error {
	switch {
	case time.Duration(d) < least:
		return At(path, "%s is too short; at least %s", shortDuration(d), shortDuration(reports.Duration(least)))
	case time.Duration(d) > mostDuration:
		return At(path, "%s is too long; at most %s", shortDuration(d), shortDuration(reports.Duration(mostDuration)))
	}
	return nil
}

func (d *Discovery) check() error {
	if d.Port < 1 || d.Port > 65535 {
		return At("discovery.port", "%d is no port; 1 to 65535", d.Port)
	}
	if err := checkEach("discovery.interfaces", d.Interfaces, checkInterface); err != nil {
		return err
	}
	if err := checkEach("discovery.reply_to", d.ReplyTo, checkReplyTo); err != nil {
		return err
	}
	if err := checkText("discovery.authorized_operators", d.AuthorizedOperators, true); err != nil {
		return err
	}
	if d.ExtAddr.URL != "" {
		if _, err := checkURL(d.ExtAddr.URL, "http", "https"); err != nil {
			return At("discovery.extaddr.url", "%w", err)
		}
	}
	return checkDuration("discovery.extaddr.every", d.ExtAddr.Every, leastExtAddrEvery)
}

// checkEach checks the elements of a list and that none stands twice.
func checkEach(path string, list []string, check func(string) error) error {
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if err := check(s); err != nil {
			return At(at, "%w", err)
		}
		if slices.Contains(list[:i], s) {
			return At(at, "%s stands twice", show(s))
		}
	}
	return nil
}

// checkInterface returns an error unless the kernel could give an interface the name (dev_valid_name in net/core/dev.c).
func checkInterface(s string) error {
	bad := func(r rune) bool { return r == '/' || r == ':' || r <= ' ' || r > '~' }
	if s == "" || s == "." || s == ".." || len(s) > maxInterface || strings.ContainsFunc(s, bad) {
		return fmt.Errorf("%s is no name of an interface, such as eth0", show(s))
	}
	return nil
}

func checkReplyTo(s string) error {
	if strings.Contains(s, "/") {
		if _, err := netip.ParsePrefix(s); err != nil {
			return fmt.Errorf("%s is no CIDR, such as 192.168.1.0/24", show(s))
		}
		return nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return nil
	}
	if !validHostname(s) {
		return fmt.Errorf("%s is no host name, address or CIDR", show(s))
	}
	return nil
}

// validHostname reports whether s can be a host's name in DNS or in /etc/hosts (RFC 1123 §2.1, and _ which people use). One
// that ends in digits only is a mistyped address.
func validHostname(s string) bool {
	if len(s) > maxHostname {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if reports.ValidName(l) != nil || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

// check also fills in the port of a URL that names none.
func (b *Broker) check() error {
	if b.Listen != "" && b.URL != "" {
		return At("broker.url", "stands beside listen; the host's broker is the embedded one or the one at url")
	}
	if b.Listen != "" {
		if err := checkListen(b.Listen); err != nil {
			return At("broker.listen", "%w", err)
		}
	}
	if b.ListenTLS != Off {
		if err := checkListen(b.ListenTLS); err != nil {
			return At("broker.listen_tls", "%w", err)
		}
	}
	if b.ListenJanitoo != Off {
		if b.URL != "" {
			return At("broker.listen_janitoo", "is for the embedded broker, and the host's broker is the one at url")
		}
		if err := checkListen(b.ListenJanitoo); err != nil {
			return At("broker.listen_janitoo", "%w", err)
		}
	}
	if b.URL == "" {
		for _, key := range []struct{ path, value string }{
			{"broker.username", b.Username}, {"broker.password_file", b.PasswordFile}} {
			if key.value != "" {
				return At(key.path, "is for the broker of url, and no url is given")
			}
		}
		return nil
	}
	full, err := brokerURL(b.URL)
	if err != nil {
		return At("broker.url", "%w", err)
	}
	b.URL = full
	if err := checkText("broker.username", b.Username, false); err != nil {
		return err
	}
	if b.PasswordFile != "" && b.Username == "" {
		return At("broker.password_file", "needs username beside it")
	}
	return checkText("broker.password_file", b.PasswordFile, false)
}

func checkListen(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%s is not host:port, such as 127.0.0.1:1883", show(s))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("%s is no port; 0 to 65535", show(port))
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && !validHostname(host) {
		return fmt.Errorf("%s is no address or host name", show(host))
	}
	return nil
}

// checkURL returns the parsed URL if it has one of the schemes and a host, and no user: a password does not belong into a file
// that everyone may read.
func checkURL(s string, schemes ...string) (*url.URL, error) {
	if len(s) > maxText {
		return nil, fmt.Errorf("has %d bytes, at most %d are allowed", len(s), maxText)
	}
	if strings.Contains(s, "@") {
		return nil, errors.New("must have no user or password in it") // which is not repeated here: errors are logged
	}
	u, err := url.Parse(s)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return nil, fmt.Errorf("%s is no URL: %w", show(s), err)
	}
	if !slices.Contains(schemes, u.Scheme) {
		return nil, fmt.Errorf("%s begins with none of %s://", show(s), strings.Join(schemes, "://, "))
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil && !validHostname(u.Hostname()) {
		return nil, fmt.Errorf("%s has no address or host name", show(s))
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && (err != nil || port == 0) {
		return nil, fmt.Errorf("%s has no port from 1 to 65535", show(s))
	}
	return u, nil
}

// brokerURL returns the URL of a broker with its port: 1883, or 8883 for TLS, where none is named.
func brokerURL(s string) (string, error) {
	u, err := checkURL(s, "tcp", "mqtt", "ssl", "mqtts")
	if err != nil {
		return "", err
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
		return "", fmt.Errorf("%s has more than scheme, host and port", show(s))
	}
	port := u.Port()
	if port == "" {
		port = "1883"
		if u.Scheme == "ssl" || u.Scheme == "mqtts" {
			port = "8883"
		}
	}
	return u.Scheme + "://" + net.JoinHostPort(u.Hostname(), port), nil
}
