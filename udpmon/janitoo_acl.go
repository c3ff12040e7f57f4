package main

import (
	"strings"

	"rollcall/config"
	"rollcall/reports/janitoo/wire"
)

// janitooAddrs are the addresses for Janitoo's programs.
func janitooAddrs(b config.Broker) []string {
	if b.ListenJanitoo == "" || b.ListenJanitoo == config.Off {
		return nil
	}
	return []string{b.ListenJanitoo}
}

// allowJanitoo is the access rule of broker.listen_janitoo, where nobody can say who they are: Janitoo's topics (JANITOO.md
// §1.1) and nothing else. A filter is let through if it can match one of them, since jnt_spy asks for all there is; each
// delivery is asked about again with its own topic.
func allowJanitoo(topic string, write bool) bool {
	if strings.ContainsAny(topic, "+#") {
		return !write && isJanitooFilter(topic)
	}
	return isJanitooTopic(topic)
}

// isJanitooTopic reports whether a message of Janitoo's may have the topic.
func isJanitooTopic(topic string) bool {
	first, rest, _ := strings.Cut(strings.TrimPrefix(topic, "/"), "/")
	if !strings.HasPrefix(topic, "/") {
		return false
	}
	switch first {
	case "broadcast":
		reply, ok := strings.CutPrefix(rest, "reply/")
		return rest == "request" || (ok && isHADD(reply))
	case "nodes":
		hadd, end := cutLast(rest)
		return isHADD(hadd) && (end == "request" || end == "reply")
	case "values":
		genre, rest, _ := strings.Cut(rest, "/")
		hadd, uuid := cutLast(rest)
		_, ok := wire.ParseGenre(genre)
		return ok && isHADD(hadd) && uuid != ""
	case "dhcp":
		return isDHCP(rest)
	case "reply":
		return rest != "" && !strings.Contains(rest, "/")
	case "resolv":
		return rest == "dhcp/heartbeat/"
	}
	return false
}

// isDHCP reports whether a topic of Janitoo's may end like this after /dhcp/.
func isDHCP(end string) bool {
	switch end {
	case "heartbeat/", "lease/new", "lease/repair", "lease/lock", "lease/release", "lease/remove", "resolv/hadd", "resolv/name", "resolv/cmd_classes",
		"resolv/heartbeat", "resolv/request/", "resolv/broadcast/":
		return true
	}
	for _, before := range []string{"heartbeat/", "resolv/reply/"} {
		if hadd, ok := strings.CutPrefix(end, before); ok {
			return isHADD(hadd)
		}
	}
	return false
}

// isHADD reports whether s is an address in a topic: two decimal numbers, four digits each by rule (JANITOO.md §2).
func isHADD(s string) bool {
	const most = 10 // digits of 32 bits, of which the documents speak
	a, b, ok := strings.Cut(s, "/")
	for _, n := range []string{a, b} {
		ok = ok && n != "" && len(n) <= most && strings.Trim(n, "0123456789") == ""
	}
	return ok
}

// isJanitooFilter reports whether a filter with wildcards is about Janitoo's topics, or about everything.
func isJanitooFilter(filter string) bool {
	if filter == "#" {
		return true
	}
	levels := strings.Split(filter, "/")
	if len(levels) < 2 || (levels[0] != "" && levels[0] != "+") {
		return false
	}
	switch levels[1] {
	case "#", "+", "broadcast", "nodes", "values", "dhcp", "reply", "resolv":
		return true
	}
	return false
}

// cutLast cuts the last level off a topic.
func cutLast(topic string) (before, last string) {
	i := strings.LastIndexByte(topic, '/')
	if i < 0 {
		return "", topic
	}
	return topic[:i], topic[i+1:]
}
