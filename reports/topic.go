package reports

import (
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of what is accepted from outside, in bytes.
const (
	MaxName    = 64        // a host's or service's name
	MaxPath    = 128       // a point's path
	MaxTopic   = 256       // a topic that a stranger names (PROTOCOL.md §1)
	MaxPayload = 64 * 1024 // the payload of a command or a setup document
)

// Reserved are the first segments that a point's path can't have, because topics of the interface stand there.
var Reserved = []string{"get", "set", "control", "setup", "result", "description", "status", "error", "log"}

func validSegment(s string, extra string) bool {
	if s == "" {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && !strings.ContainsRune(extra, r) {
			return false
		}
	}
	return true
}

// ValidName returns an error unless s can name a host or a service: 1 to MaxName of A-Z, a-z, 0-9, _ and -.
func ValidName(s string) error {
	if len(s) > MaxName {
		return Errorf(CodeBadTopic, "name %.16q… has %d bytes, at most %d are allowed", s, len(s), MaxName)
	}
	if !validSegment(s, "") {
		return Errorf(CodeBadTopic, "name %q: only A-Z, a-z, 0-9, _ and - are allowed", s)
	}
	return nil
}

// maxDomain is how long a full domain name may be (RFC 1035 §2.3.4).
const maxDomain = 253

// FirstLabel returns the name that a host given by its full domain name is known under: pi of pi.example.org. All else is
// returned as it is.
func FirstLabel(name string) string {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	if _, err := netip.ParseAddr(name); err == nil || len(name) > maxDomain {
		return name
	}
	if slices.ContainsFunc(labels, func(l string) bool { return ValidName(l) != nil }) {
		return name
	}
	return labels[0]
}

// ValidPath returns an error unless s can be a point's path: segments as in ValidName, and . within them, joined by /, the
// first not Reserved.
func ValidPath(s string) error {
	if len(s) > MaxPath {
		return Errorf(CodeBadTopic, "path %.16q… has %d bytes, at most %d are allowed", s, len(s), MaxPath)
	}
	segments := strings.Split(s, "/")
	for _, seg := range segments {
		if !validSegment(seg, ".") {
			return Errorf(CodeBadTopic, "path %q: segments of A-Z, a-z, 0-9, _, . and - joined by / are allowed", s)
		}
	}
	if slices.Contains(Reserved, segments[0]) {
		return Errorf(CodeBadTopic, "path %q: %q is a word of the interface", s, segments[0])
	}
	return nil
}

// ValidTopic returns an error unless s is a topic that may be published to on a stranger's word: legal in MQTT 3.1.1 §4.7,
// without wildcards, control characters or invalid UTF-8, at most MaxTopic bytes, not below $.
func ValidTopic(s string) error {
	switch {
	case s == "" || strings.Trim(s, "/") == "":
		return Errorf(CodeBadTopic, "topic %.16q is empty", s)
	case len(s) > MaxTopic:
		return Errorf(CodeBadTopic, "topic %.16q… has %d bytes, at most %d are allowed", s, len(s), MaxTopic)
	case !utf8.ValidString(s):
		return Errorf(CodeBadTopic, "topic %q is not UTF-8", s)
	case strings.ContainsAny(s, "#+"):
		return Errorf(CodeBadTopic, "topic %q has a wildcard", s)
	case strings.HasPrefix(strings.TrimLeft(s, "/"), "$"):
		return Errorf(CodeBadTopic, "topic %q is reserved to the broker", s)
	}
	for _, r := range s {
		if r < ' ' || (r >= 0x7f && r < 0xa0) {
			return Errorf(CodeBadTopic, "topic %q has a control character", s)
		}
	}
	return nil
}

// ValidReply returns an error unless s may be published to as the reply topic of a command: a ValidTopic that is itself no
// command topic, so that an answer can't command another service.
func ValidReply(s string) error {
	if err := ValidTopic(s); err != nil {
		return err
	}
	segs := strings.Split(strings.Trim(s, "/"), "/")
	if segs[0] == "udp" {
		return Errorf(CodeBadTopic, "reply topic %q belongs to discovery", s)
	}
	for _, seg := range segs {
		if slices.Contains(Verbs, seg) {
			return Errorf(CodeBadTopic, "reply topic %q is a command topic", s)
		}
	}
	return nil
}

// Verbs are the command topics of a service.
var Verbs = []string{"get", "set", "control", "setup"}

// Topics makes the topics of one service on one host.
type Topics struct{ Host, Service string }

// Base returns /host/service.
func (t Topics) Base() string { return "/" + t.Host + "/" + t.Service }

// To returns /host/service/tail.
func (t Topics) To(tail string) string { return t.Base() + "/" + tail }

// HostStatus returns /host/status, the topic of the host's own status.
func HostStatus(host string) string { return "/" + host + "/status" }

// ReportTopic is where a host's monitor republishes each request, on the host's own broker (PROTOCOL.md §1).
const ReportTopic = "/udp/report"

// Filters returns the topic filters that all command topics of the service are received by (PROTOCOL.md §3): the canonical
// form and the original's, each with and without the leading slash.
func (t Topics) Filters() []string {
	base := t.Host + "/" + t.Service
	shapes := []string{base + "/get/#", base + "/set/#", base + "/control", base + "/setup"}
	for _, v := range []string{"get", "set"} {
		shapes = append(shapes, t.Host+"/"+v+"/"+t.Service+"/#", v+"/"+t.Service+"/#")
	}
	for _, v := range []string{"control", "setup"} {
		shapes = append(shapes, t.Host+"/"+v+"/"+t.Service)
	}
	out := make([]string, 0, 2*len(shapes))
	for _, s := range shapes {
		out = append(out, "/"+s, s)
	}
	return out
}

// Parse takes a command topic of the service apart into verb and path; ok is false if the topic is none of Filters' forms.
// Where names that are words of the interface let a topic be read in two ways, the canonical form wins.
func (t Topics) Parse(topic string) (verb, path string, ok bool) {
	segs := strings.Split(strings.TrimPrefix(topic, "/"), "/")
	below := func(n int) bool { return len(segs) > n && segs[0] == t.Host }
	switch {
	case below(2) && segs[1] == t.Service && takes(segs[2], segs[3:]):
		return segs[2], strings.Join(segs[3:], "/"), true
	case below(2) && segs[2] == t.Service && takes(segs[1], segs[3:]):
		return segs[1], strings.Join(segs[3:], "/"), true
	case len(segs) > 1 && segs[1] == t.Service && (segs[0] == "get" || segs[0] == "set"):
		return segs[0], strings.Join(segs[2:], "/"), true
	}
	return "", "", false
}

// takes reports whether word is a verb that takes the rest of a topic as its path.
func takes(word string, rest []string) bool {
	return word == "get" || word == "set" || (slices.Contains(Verbs, word) && len(rest) == 0)
}
