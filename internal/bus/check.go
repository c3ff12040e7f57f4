package bus

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxString  = 65535       // MQTT 3.1.1 §1.5.3
	maxPacket  = 268_435_455 // remaining length, §2.2.3
	maxForeign = 1 << 20     // remaining length taken from a Foreign broker
	idLength   = 20          // of randomID after "rc": 100 random bits, and every broker takes 23 characters (§3.1.3.1)
)

// endpoint is a checked broker URL.
type endpoint struct {
	url  string // as it is logged: no secrets
	host string // name for TLS
	addr string // host:port
	tls  bool
}

// parseURL checks a broker URL. Errors never repeat a password.
func parseURL(raw string) (endpoint, error) {
	const want = "want tcp://host:port, or mqtts://host:port for TLS"
	if raw == "" {
		return endpoint{}, errors.New("broker URL is empty: " + want)
	}
	if strings.Contains(raw, "@") {
		return endpoint{}, errors.New("broker URL holds a user or password: set username and password instead")
	}
	if !strings.Contains(raw, "://") {
		return endpoint{}, fmt.Errorf("broker URL %q has no scheme: %s", raw, want)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return endpoint{}, fmt.Errorf("broker URL: %w", err)
	}
	e := endpoint{host: u.Hostname()}
	port := "1883"
	switch strings.ToLower(u.Scheme) {
	case "tcp", "mqtt":
	case "ssl", "tls", "mqtts":
		port, e.tls = "8883", true
	default:
		return endpoint{}, fmt.Errorf("broker URL %q: unknown scheme %q: %s", raw, u.Scheme, want)
	}
	if e.host == "" {
		return endpoint{}, fmt.Errorf("broker URL %q has no host: %s", raw, want)
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return endpoint{}, fmt.Errorf("broker URL %q has more than host and port: %s", raw, want)
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return endpoint{}, fmt.Errorf("broker URL %q: port must be 1 to 65535", raw)
		}
		port = p
	}
	e.addr = net.JoinHostPort(e.host, port)
	if h, _, err := net.SplitHostPort(e.addr); err != nil || h != e.host {
		return endpoint{}, fmt.Errorf("broker URL %q: host %q is not legal", raw, e.host)
	}
	e.url = strings.ToLower(u.Scheme) + "://" + e.addr
	return e, nil
}

// check checks everything but the URL.
func (c *Config) check() error {
	if c.Foreign && (c.Username != "" || c.Password != "") {
		return errors.New("user name and password must not go to a broker learnt from the network")
	}
	if c.Password != "" && c.Username == "" {
		return errors.New("password without a user name")
	}
	for name, s := range map[string]string{"client ID": c.ClientID, "user name": c.Username} {
		if err := checkString(s); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(c.Password) > maxString {
		return errors.New("password is longer than 65535 bytes")
	}
	if c.Will != nil {
		if err := c.Will.check(); err != nil {
			return fmt.Errorf("last will: %w", err)
		}
		if len(c.Will.Payload) > maxString {
			return errors.New("last will: payload is longer than 65535 bytes")
		}
	}
	for _, m := range c.Last {
		if err := m.check(); err != nil {
			return fmt.Errorf("last message: %w", err)
		}
	}
	return nil
}

// check says whether m may be published.
func (m Message) check() error {
	if err := checkTopic(m.Topic); err != nil {
		return err
	}
	if m.QoS > 1 {
		return fmt.Errorf("topic %q: QoS is %d, want 0 or 1", m.Topic, m.QoS)
	}
	if len(m.Payload) > maxPacket-maxString-4 {
		return fmt.Errorf("topic %q: payload of %d bytes is more than MQTT can carry", m.Topic, len(m.Payload))
	}
	return nil
}

// checkTopic says whether messages can be published on topic (§4.7).
func checkTopic(topic string) error {
	if topic == "" {
		return errors.New("topic is empty")
	}
	if strings.ContainsAny(topic, "+#") {
		return fmt.Errorf("topic %.100q holds a wildcard", topic)
	}
	if err := checkString(topic); err != nil {
		return fmt.Errorf("topic %.100q %w", topic, err)
	}
	return nil
}

// checkFilter says whether filter can be subscribed to (§4.7).
func checkFilter(filter string) error {
	if filter == "" {
		return errors.New("filter is empty")
	}
	if err := checkString(filter); err != nil {
		return fmt.Errorf("filter %.100q %w", filter, err)
	}
	rest, more := filter, true
	for more {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		if level == "#" && more {
			return fmt.Errorf("filter %.100q: # is not the last level", filter)
		}
		if len(level) > 1 && strings.ContainsAny(level, "+#") {
			return fmt.Errorf("filter %.100q: wildcard is not a whole level", filter)
		}
	}
	return nil
}

// checkString says whether s can be an MQTT string (§1.5.3).
func checkString(s string) error {
	switch {
	case len(s) > maxString:
		return errors.New("is longer than 65535 bytes")
	case !utf8.ValidString(s):
		return errors.New("is not UTF-8")
	case strings.IndexByte(s, 0) >= 0:
		return errors.New("holds a NUL")
	}
	return nil
}

// matches reports whether a topic is one that filter subscribes to (§4.7).
func matches(filter, topic string) bool {
	if strings.HasPrefix(filter, "$share/") {
		_, shared, _ := strings.Cut(filter[len("$share/"):], "/")
		filter = shared
	}
	if strings.HasPrefix(topic, "$") && !strings.HasPrefix(filter, "$") {
		return false
	}
	for {
		f, filterRest, filterMore := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		t, topicRest, topicMore := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		switch {
		case !filterMore:
			return !topicMore
		case !topicMore:
			return filterRest == "#" // "a/#" matches "a"
		}
		filter, topic = filterRest, topicRest
	}
}

// randomID returns a client ID that no other client has.
func randomID() string {
	return "rc" + rand.Text()[:idLength]
}
