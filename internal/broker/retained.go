package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	writeEvery    = time.Second           // the store is written at most this often: flash wears out
	gatherTime    = 50 * time.Millisecond // to write what comes in a burst at once
	maxWritePause = time.Minute           // between attempts when the store cannot be written

	maxRetained      = 50_000
	maxRetainedBytes = 32 << 20 // of topics and payloads
)

// retained knows which retained messages have changed since they were stored. The messages themselves are mochi's.
type retained struct {
	// index is held for writing while a retained message is set, and for reading while those of a filter are looked for: mochi v2.7.9
	// reads the topics without a lock there (topics.go:554), and would find half of one.
	index sync.RWMutex

	server   *mqtt.Server
	log      *slog.Logger
	expiring atomic.Bool // a message with an end has been retained
	stored   bool        // there is a store; set before anything is served
	every    time.Duration
	wake     chan struct{}

	mu    sync.Mutex
	dirty map[string]struct{}
	sizes map[string]int // of topic and payload
	bytes int            // their sum
}

func newRetained(s *mqtt.Server, log *slog.Logger) *retained {
	return &retained{server: s, log: log, every: writeEvery, wake: make(chan struct{}, 1), dirty: map[string]struct{}{}, sizes: map[string]int{}}
}

// admit reports whether a payload of n bytes may be retained for topic, and counts it if so.
func (r *retained) admit(topic string, n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, known := r.sizes[topic]
	if n == 0 {
		delete(r.sizes, topic)
		r.bytes -= old
		return true
	}
	n += len(topic)
	if !known && len(r.sizes) >= maxRetained || r.bytes-old+n > maxRetainedBytes {
		return false
	}
	r.sizes[topic] = n
	r.bytes += n - old
	return true
}

// clear removes the retained message of topic.
func (r *retained) clear(topic string) {
	r.admit(topic, 0)
	r.index.Lock()
	r.server.Topics.RetainMessage(packets.Packet{TopicName: topic})
	r.index.Unlock()
	r.changed(topic, false)
}

// changed notes that the retained message of topic is not what is stored.
func (r *retained) changed(topic string, expires bool) {
	if expires {
		r.expiring.Store(true)
	}
	if !r.stored {
		return
	}
	r.mu.Lock()
	r.dirty[topic] = struct{}{}
	r.mu.Unlock()
	r.rouse()
}

// load reads the store into the broker, as far as there is one.
func (b *Broker) load() error {
	if b.config.Store == "" {
		return nil
	}
	s, messages, err := openStore(b.config.Store, b.log)
	if err != nil {
		return err
	}
	b.store, b.retained.stored = s, true
	now := time.Now().Unix()
	for topic, m := range messages {
		payload := m.payload
		if m.expiry != 0 && m.expiry <= now || !validTopic(topic) || reserved(topic) {
			payload = nil
		} else if b.config.Restore != nil {
			payload = b.config.Restore(topic, append([]byte(nil), payload...))
		}
		if string(payload) != string(m.payload) {
			b.retained.changed(topic, false)
		}
		if len(payload) == 0 {
			continue
		}
		if m.expiry != 0 {
			b.retained.expiring.Store(true)
		}
		if !b.retained.admit(topic, len(payload)) {
			b.log.Warn("stored message left out: too many are retained", "topic", topic)
			continue
		}
		m.payload = payload
		b.server.Topics.RetainMessage(m.packet(topic))
	}
	return nil
}

// run writes what changes to the store until ctx ends. A value that is overwritten within a second is not written; the last
// one always is.
func (r *retained) run(ctx context.Context, s *store) {
	if s == nil {
		return
	}
	pause := r.every
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(gatherTime, time.Until(last.Add(pause)))):
		}
		last = time.Now()
		if err := r.flush(s); err != nil {
			pause = min(2*pause, maxWritePause)
			r.log.Error("retained messages not stored", "err", err, "again_in", pause)
			r.rouse()
			continue
		}
		pause = r.every
	}
}

// rouse has run look for changes.
func (r *retained) rouse() {
	select {
	case r.wake <- struct{}{}:
	default: // it has been told already
	}
}

// flush writes everything that has changed, in one transaction. A store that turns out to be damaged is replaced.
func (r *retained) flush(s *store) error {
	err := r.write(s)
	if errors.Is(err, errCorrupt) {
		if err := s.renew(err); err != nil {
			return err
		}
		all := r.server.Topics.Retained.GetAll()
		r.mu.Lock()
		for topic := range all {
			r.dirty[topic] = struct{}{}
		}
		r.mu.Unlock()
		err = r.write(s)
	}
	if err != nil {
		return fmt.Errorf("write retained messages: %w", err)
	}
	return nil
}

// write writes what has changed; when that fails it stays to be written.
func (r *retained) write(s *store) error {
	r.mu.Lock()
	topics := r.dirty
	r.dirty = map[string]struct{}{}
	r.mu.Unlock()
	if len(topics) == 0 {
		return nil
	}
	changes := make(map[string]message, len(topics))
	for topic := range topics {
		pk, _ := r.server.Topics.Retained.Get(topic) // the zero message removes it
		changes[topic] = messageOf(pk)
	}
	err := s.write(changes)
	if err != nil {
		r.mu.Lock()
		for topic := range topics {
			r.dirty[topic] = struct{}{}
		}
		r.mu.Unlock()
	}
	return err
}

// expire removes retained messages whose end has come.
func (r *retained) expire(now int64) {
	if !r.expiring.Swap(false) {
		return
	}
	for topic, pk := range r.server.Topics.Retained.GetAll() {
		switch {
		case pk.Expiry == 0:
		case pk.Expiry > now:
			r.expiring.Store(true)
		default:
			r.clear(topic)
		}
	}
}
