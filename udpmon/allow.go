package main

import (
	"bytes"
	"context"
	"maps"
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

// replyTopics are the topics that answers to this host's own requests come in on, with the time until which they do. It is
// safe for concurrent use; its zero value has none.
type replyTopics struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// add remembers a topic, in place of the oldest if there are too many.
func (r *replyTopics) add(topic string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.until[topic]; !known && len(r.until) >= maxReplyTopics {
		oldest := slices.MinFunc(slices.Sorted(maps.Keys(r.until)), func(a, b string) int { return r.until[a].Compare(r.until[b]) })
		delete(r.until, oldest)
	}
	if r.until == nil {
		r.until = map[string]time.Time{}
	}
	r.until[topic] = now.Add(replyTopicLifetime)
}

func (r *replyTopics) has(topic string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.Before(r.until[topic])
}

// follow makes the subscriptions those of the topics at now: it calls subscribe for each that subscribed lacks, and unsubscribe
// for each that it has too many.
func (r *replyTopics) follow(now time.Time, subscribed map[string]bool, subscribe func(string) error, unsubscribe func(string)) error {
	r.mu.Lock()
	maps.DeleteFunc(r.until, func(_ string, until time.Time) bool { return !now.Before(until) })
	wanted := maps.Clone(r.until)
	r.mu.Unlock()
	for topic := range subscribed {
		if _, ok := wanted[topic]; !ok {
			delete(subscribed, topic)
			unsubscribe(topic)
		}
	}
	for topic := range wanted {
		if subscribed[topic] {
			continue
		}
		if err := subscribe(topic); err != nil {
			return err
		}
		subscribed[topic] = true
	}
	return nil
}

// followWithin bounds the subscription to the answers of a request, before which the request is not published.
const followWithin = 2 * time.Second

// ask publishes this host's own requests, whose answers come to a broker of this host: once it listens for them.
func (m *monitor) ask(ctx context.Context) error {
	subscribed := map[string]bool{}
	follow := func() {
		ctx, cancel := context.WithTimeout(ctx, followWithin)
		defer cancel()
		err := m.replies.follow(m.now(), subscribed,
			func(topic string) error { return m.client.Subscribe(ctx, 1, m.heardReport, topic) }, m.client.Unsubscribe)
		if err != nil && m.failures.allow("follow", m.now()) {
			m.log.Warn("answers to this host's own requests are not followed", "err", err)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.expired:
			follow()
		case r := <-m.asks:
			follow()
			m.hand(r)
		}
	}
}

// allow is the embedded broker's access rule. Operators may do what their rights say; on a host that names its operators nobody
// else on the network may do anything, unless legacy says otherwise. This machine's own programs may do anything but write below
// $. Guests are at broker.listen_janitoo. The network, where the broker is open to it, may read everything, command this host's services, and answer this host's
// own requests; it may not write states, descriptions, statuses, the map of hosts or ReportTopic.
func (m *monitor) allow(who broker.Peer, topic string, write bool) bool {
	if who.Guest {
		return allowJanitoo(topic, write)
	}
	if who.Identity != "" {
		return m.allowOperator(m.rights(who.Identity), topic, write)
	}
	switch {
	case m.strict.Load() && !who.Loopback():
		return false
	case !write:
		return true
	case strings.HasPrefix(topic, "$"):
		return false
	case who.Loopback(), m.isCommand(topic):
		return true
	}
	return !m.isOurs(topic) && m.replies.has(topic, m.now())
}

// isOurs reports whether the topic is one that this host's own programs alone write to: below its name, and below those words
// that are no host's.
func (m *monitor) isOurs(topic string) bool {
	first, _, _ := strings.Cut(strings.TrimLeft(topic, "/"), "/")
	return first == m.cfg.Host || first == "udp" || slices.Contains(reports.Verbs, first)
}

// isCommand reports whether the topic is a command topic of one of this host's services.
func (m *monitor) isCommand(topic string) bool {
	_, ok := m.commandOf(topic)
	return ok
}

// commandOf returns the verb of a command topic.
func (m *monitor) commandOf(topic string) (verb string, ok bool) {
	_, verb, _, ok = m.parseCommand(topic)
	return verb, ok
}

// parseCommand takes a command topic of one of this host's services apart.
func (m *monitor) parseCommand(topic string) (service, verb, path string, ok bool) {
	segs := strings.Split(strings.TrimPrefix(topic, "/"), "/")
	switch {
	case len(segs) < 2:
		return "", "", "", false
	case segs[0] != m.cfg.Host, len(segs) == 2: // the original's short form: /set/service/path
		service = segs[1]
	case slices.Contains(reports.Verbs, segs[1]): // the original's order: /host/set/service/path
		service = segs[2]
	default:
		service = segs[1]
	}
	verb, path, ok = reports.Topics{Host: m.cfg.Host, Service: service}.Parse(topic)
	return service, verb, path, ok && reports.ValidName(service) == nil
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
