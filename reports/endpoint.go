package reports

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Endpoint is a broker as a client names it.
type Endpoint struct {
	Host string // an address or a name, without brackets
	Port uint16
	TLS  bool
}

// Ports of MQTT where a URL has none (IANA).
const (
	portMQTT  = 1883
	portMQTTS = 8883
)

// String returns host:port.
func (e Endpoint) String() string {
	if strings.Contains(e.Host, ":") {
		return "[" + e.Host + "]:" + strconv.Itoa(int(e.Port))
	}
	return e.Host + ":" + strconv.Itoa(int(e.Port))
}

// Endpoints returns the brokers of the host that can be read, those without TLS first; what is no URL of a broker is left out.
// Neither host nor port has a character that means anything in a shell, a URL or a document.
func (h Host) Endpoints() []Endpoint {
	var out []Endpoint
	for _, b := range h.Brokers {
		if e, ok := parseEndpoint(b); ok && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b Endpoint) int {
		switch {
		case a.TLS == b.TLS:
			return 0
		case b.TLS:
			return -1
		}
		return 1
	})
	return out
}

func parseEndpoint(s string) (Endpoint, bool) {
	u, err := url.Parse(s)
	if err != nil {
		return Endpoint{}, false
	}
	e := Endpoint{Host: u.Hostname(), Port: portMQTT}
	switch u.Scheme {
	case "tcp", "mqtt":
	case "ssl", "tls", "mqtts":
		e.TLS, e.Port = true, portMQTTS
	default:
		return Endpoint{}, false
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return Endpoint{}, false
		}
		e.Port = uint16(n)
	}
	if addr, err := netip.ParseAddr(e.Host); err == nil && addr.Zone() == "" {
		return e, true
	}
	for label := range strings.SplitSeq(e.Host, ".") {
		if ValidName(label) != nil || label[0] == '-' {
			return Endpoint{}, false
		}
	}
	return e, true
}
