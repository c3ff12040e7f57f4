package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"rollcall/internal/bus"
	"rollcall/reports/janitoo/wire"
)

// janitooTopics are what spy --janitoo listens to: all that Janitoo's programs say to each other (JANITOO.md §1.1).
func janitooTopics() []string {
	return []string{"/broadcast/#", "/nodes/#", "/values/#", "/dhcp/#", "/reply/#"}
}

// janitooSeen is what spy --janitoo --json prints of a message, beside what spy prints of any.
type janitooSeen struct {
	spied
	Kind string `json:"kind"` // request, reply, value, heartbeat, or other
	Hadd string `json:"hadd,omitempty"`
	Text string `json:"text"` // what it says, in one line
}

// readJanitoo says what a message of Janitoo's protocol says. What is none is printed as it is.
func readJanitoo(m bus.Message) (kind, hadd, text string) {
	if m.Topic == wire.BroadcastRequest || strings.HasSuffix(m.Topic, "/request") {
		return readJanitooRequest(m)
	}
	if g, h, uuid, ok := wire.ParseValueTopic(m.Topic); ok {
		if values, err := wire.ParseValues(m.Payload); err == nil && len(values) > 0 {
			return "value", string(h), janitooValues(g, uuid, values)
		}
	}
	if beat, err := wire.ParseHeartbeat(m.Topic, m.Payload); err == nil {
		hadd := string(beat.Hadd())
		return "heartbeat", cmp.Or(hadd, fmt.Sprintf("%04d/*", beat.Ctrl)), string(beat.State)
	}
	if strings.HasPrefix(m.Topic, "/broadcast/reply/") || strings.HasSuffix(m.Topic, "/reply") {
		return readJanitooReply(m)
	}
	return "other", "", m.Topic + " " + string(m.Payload)
}

func readJanitooRequest(m bus.Message) (kind, hadd, text string) {
	r, err := wire.ParseRequest(m.Payload)
	if err != nil {
		return "other", "", m.Topic + " " + string(m.Payload)
	}
	to := "all"
	if m.Topic != wire.BroadcastRequest {
		h, ok := wire.ParseRequestTopic(m.Topic)
		if to = string(h); !ok {
			return "other", "", m.Topic + " " + string(m.Payload)
		}
	}
	switch {
	case r.IsDiscovery():
		text = r.UUID
	case r.WriteOnly:
		text = fmt.Sprintf("set %s %s = %s", r.Genre, r.UUID, pythonText(r.Data))
	default:
		text = fmt.Sprintf("get %s %s", r.Genre, r.UUID)
	}
	return "request", to, text + " for " + cmp.Or(r.ReplyHadd, "nobody")
}

func readJanitooReply(m bus.Message) (kind, hadd, text string) {
	to := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(m.Topic, "/broadcast/reply/"), "/nodes/"), "/reply")
	if r, err := wire.ParseReply(m.Payload); err == nil {
		return "reply", to, fmt.Sprintf("%s: %s, %s", r.UUID, plural(len(r.Nodes), "node"), plural(len(r.Values), "value"))
	}
	if values, err := wire.ParseValues(m.Payload); err == nil && len(values) > 0 {
		return "reply", to, string(values[0].Hadd) + " " + janitooValues(values[0].Genre, values[0].UUID, values)
	}
	return "other", "", m.Topic + " " + string(m.Payload)
}

// janitooValues returns the instances of a value in one line.
func janitooValues(g wire.Genre, uuid string, values []wire.Value) string {
	var all []string
	for _, v := range values {
		text := pythonText(v.Data)
		if v.Units != nil && *v.Units != "" {
			text += " " + *v.Units
		}
		if len(values) > 1 {
			text = fmt.Sprintf("[%d] %s", v.Index, text)
		}
		all = append(all, text)
	}
	text := fmt.Sprintf("%s %s = %s", g, uuid, listed(all))
	if to := wire.Text(values[0].ReplyHadd); to != "" {
		text += " for " + to
	}
	return text
}

// printJanitoo prints a message of Janitoo's protocol in one line, or as an object.
func (s *spying) printJanitoo(a *app, m bus.Message) error {
	kind, hadd, text := readJanitoo(m)
	if s.format.asked() {
		return s.format.next(a.out, janitooSeen{spied{time.Now().UTC(), m.Topic, string(m.Payload), m.QoS, m.Retained}, kind, hadd, text})
	}
	line := fmt.Sprintf("%s %-9s %-9s %s", time.Now().Format("15:04:05.000"), kind, clean(cmp.Or(hadd, "-")), clean(text))
	_, err := fmt.Fprintln(a.out, line)
	return err
}
