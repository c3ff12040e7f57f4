package main

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"time"

	"rollcall/internal/broker"
	"rollcall/reports"
)

// How many topics of this host's own requests are remembered, and for how long the network may publish to them.
const (
	maxReplyTopics     = 64
	replyTopicLifetime = time.Hour
)

// replyTopics are the topics that answers to this host's own requests come in on. The zero value has none.
type replyTopics struct {
	mu    sync.Mutex
	until map[string]time.Time
	fresh chan string // topics to subscribe to
}

// add remembers a topic.
func (r *replyTopics) add(topic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		r.until = map[string]time.Time{}
	}
	_, known := r.until[topic]
	if !known && len(r.until) >= maxReplyTopics {
		return
	}
	r.until[topic] = time.Now().Add(replyTopicLifetime)
	if !known && r.fresh != nil {
		select {
		case r.fresh <- topic:
		default: // the map misses this sweep's answers; the next request brings the topic again
			delete(r.until, topic)
		}
	}
}

func (r *replyTopics) has(topic string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.until[topic])
}

// allow is the embedded broker's access rule in the open mode. This machine's own programs may do anything but write below
// $. The network, where the broker is open to it, may read everything, command this host's services, and answer this host's
// own requests; it may not write states, descriptions, statuses, the map of hosts or ReportTopic.
func (m *monitor) allow(who broker.Peer, topic string, write bool) bool {
	switch {
	case !write:
		return true
	case strings.HasPrefix(topic, "$"):
		return false
	case who.Loopback():
		return true
	case m.replies.has(topic) && !strings.HasPrefix(strings.TrimPrefix(topic, "/"), m.cfg.Host+"/"):
		return true
	}
	return m.isCommand(topic)
}

// isCommand reports whether the topic is a command topic of one of this host's services.
func (m *monitor) isCommand(topic string) bool {
	segs := strings.Split(strings.TrimPrefix(topic, "/"), "/")
	if len(segs) < 3 || segs[0] != m.cfg.Host {
		return false
	}
	name := segs[1]
	if slices.Contains(reports.Verbs, name) { // the original's order: /host/set/service/path
		name = segs[2]
	}
	_, _, ok := reports.Topics{Host: m.cfg.Host, Service: name}.Parse(topic)
	return ok
}

// restore makes every status on disk offline: nobody is connected to a broker that is only just starting, and whoever comes
// back says online itself.
func (m *monitor) restore(topic string, payload []byte) []byte {
	segs := strings.Split(strings.TrimPrefix(topic, "/"), "/")
	if segs[len(segs)-1] == "status" && len(segs) <= 3 && bytes.Equal(payload, []byte(reports.Online)) {
		return []byte(reports.Offline)
	}
	return payload
}
