package agents

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"rollcall/internal/bus"
)

// Bounds of the records on a service's log topic.
const (
	logWaiting = 256                    // records that wait for the connection; one more is left out
	logText    = 1024                   // bytes of one text in a record
	logRecord  = 4096                   // bytes of a record; a longer one has its level, time and message only
	logDrain   = 500 * time.Millisecond // what a stop waits for the last ones
)

// topicLog publishes the records of one service to its log topic: those of the configured level and above, and, while somebody
// follows them, those from info on. Whoever logs never waits for it: a record that finds the queue full is counted, and the next one
// that gets through is followed by the count. The connection has a log of its own, so that nothing that it says of a record makes
// another. As long as there is no record it has neither queue nor goroutine.
type topicLog struct {
	topic string
	level slog.Level   // logNever: none is configured
	until atomic.Int64 // when nobody follows any more, in Unix nanoseconds
	lost  atomic.Uint64

	mu     sync.Mutex
	queue  chan []byte // nil: there was no record yet
	client *bus.Client // nil before start
	ended  bool
	cancel context.CancelFunc // nil: nothing is published yet
	done   chan struct{}
}

// logNever is a level that no record has.
const logNever slog.Level = math.MaxInt

// newTopicLog returns the log of a topic; nothing is published before start.
func newTopicLog(topic string, level slog.Level) *topicLog {
	return &topicLog{topic: topic, level: level, done: make(chan struct{})}
}

// wants reports whether records of the level are published at present.
func (l *topicLog) wants(level slog.Level) bool {
	return level >= l.level || level >= slog.LevelInfo && time.Now().UnixNano() < l.until.Load()
}

// start begins to publish at the client. Records wait while there is no connection.
func (l *topicLog) start(client *bus.Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.client = client
	l.begin()
}

// begin starts what publishes, if there is a record and a client. The lock is held.
func (l *topicLog) begin() {
	if l.queue == nil || l.client == nil || l.cancel != nil || l.ended {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	client := l.client
	go func() { // ends with stop, which waits for it
		defer close(l.done)
		for client.Wait(ctx) == nil {
			select {
			case <-ctx.Done():
			case record := <-l.queue:
				l.publish(ctx, client, record)
			}
		}
		l.drain(client)
	}()
}

// stop publishes what still waits, if there is a connection, and ends.
func (l *topicLog) stop() {
	l.mu.Lock()
	l.ended = true
	cancel := l.cancel
	l.mu.Unlock()
	if cancel != nil {
		cancel()
		<-l.done
	}
}

func (l *topicLog) drain(client *bus.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), logDrain)
	defer cancel()
	for client.Connected() && ctx.Err() == nil {
		select {
		case record := <-l.queue:
			l.publish(ctx, client, record)
		default:
			return
		}
	}
}

// publish sends a record, and how many were left out. A record that can't be sent is lost, as QoS 0 means it.
func (l *topicLog) publish(ctx context.Context, client *bus.Client, record []byte) {
	if client.Publish(ctx, bus.Message{Topic: l.topic, Payload: record}) != nil {
		l.lost.Add(1)
		return
	}
	n := l.lost.Swap(0)
	if n == 0 {
		return
	}
	note := logJSON(time.Now(), slog.LevelWarn, "records were left out", map[string]any{"count": n})
	if client.Publish(ctx, bus.Message{Topic: l.topic, Payload: note}) != nil {
		l.lost.Add(n)
	}
}

// put queues a record.
func (l *topicLog) put(record []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queue == nil {
		l.queue = make(chan []byte, logWaiting)
		l.begin()
	}
	select {
	case l.queue <- record:
	default:
		l.lost.Add(1)
	}
}

// topicHandler gives records to a topicLog, to a tail, and to the handler that they go to anyway.
type topicHandler struct {
	slog.Handler
	to     *topicLog // nil: none
	tail   *logTail  // nil: none
	groups []string
	fields []logField
}

// logField is an attribute with the groups that it is in.
type logField struct {
	groups []string
	attr   slog.Attr
}

// Enabled reports whether any of them wants records of the level.
func (h topicHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.tail.wants(level) || h.to != nil && h.to.wants(level) || h.Handler.Enabled(ctx, level)
}

// Handle gives the record to those who want it.
func (h topicHandler) Handle(ctx context.Context, r slog.Record) error {
	kept, published := h.tail.wants(r.Level), h.to != nil && h.to.wants(r.Level)
	if kept || published {
		record := h.encode(r)
		if kept {
			h.tail.put(record)
		}
		if published {
			h.to.put(record)
		}
	}
	if h.Handler.Enabled(ctx, r.Level) {
		return h.Handler.Handle(ctx, r)
	}
	return nil
}

// WithAttrs returns a handler whose records have the attributes.
func (h topicHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.Handler, h.fields = h.Handler.WithAttrs(attrs), slices.Clone(h.fields)
	for _, a := range attrs {
		h.fields = append(h.fields, logField{h.groups, a})
	}
	return h
}

// WithGroup returns a handler whose further attributes are in the group.
func (h topicHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	h.Handler, h.groups = h.Handler.WithGroup(name), append(slices.Clone(h.groups), name)
	return h
}

func (h topicHandler) encode(r slog.Record) []byte {
	fields := map[string]any{}
	for _, f := range h.fields {
		logAdd(fields, f.groups, f.attr)
	}
	r.Attrs(func(a slog.Attr) bool {
		logAdd(fields, h.groups, a)
		return true
	})
	return logJSON(r.Time, r.Level, r.Message, fields)
}

// logAdd puts an attribute in its groups, which are objects.
func logAdd(fields map[string]any, groups []string, a slog.Attr) {
	if a.Equal(slog.Attr{}) {
		return
	}
	for _, g := range groups {
		inner, ok := fields[g].(map[string]any)
		if !ok {
			inner = map[string]any{}
			fields[g] = inner
		}
		fields = inner
	}
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		within := groups[:0:0]
		if a.Key != "" {
			within = []string{a.Key}
		}
		for _, member := range v.Group() {
			logAdd(fields, within, member)
		}
		return
	}
	fields[logCut(a.Key)] = logValue(v)
}

// logValue returns a value as it stands in JSON.
func logValue(v slog.Value) any {
	switch v.Kind() {
	case slog.KindBool, slog.KindInt64, slog.KindUint64:
		return v.Any()
	case slog.KindFloat64:
		if f := v.Float64(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	case slog.KindAny:
		var raw []byte
		_, isError := v.Any().(error)
		_, isText := v.Any().(fmt.Stringer)
		err := guard(func() (err error) { raw, err = json.Marshal(v.Any()); return err })
		if !isError && !isText && err == nil && len(raw) <= logText {
			return json.RawMessage(raw)
		}
	}
	var text string
	if err := guard(func() error { text = v.String(); return nil }); err != nil {
		text = err.Error()
	}
	return logCut(text)
}

// logCut returns a text, or its beginning.
func logCut(s string) string {
	if len(s) <= logText {
		return s
	}
	n := logText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// logJSON makes a record of at most logRecord bytes: {"time","level","msg",…}. An attribute of one of these names has an
// underscore after it.
func logJSON(at time.Time, level slog.Level, msg string, attrs map[string]any) []byte {
	head := map[string]any{"level": logLevel(level), "msg": logCut(msg)}
	if !at.IsZero() {
		head["time"] = at.Format(time.RFC3339Nano)
	}
	fields := maps.Clone(head)
	for key, value := range attrs {
		for fields[key] != nil {
			key += "_"
		}
		fields[key] = value
	}
	record, err := json.Marshal(fields)
	if err == nil && len(record) <= logRecord {
		return record
	}
	head["cut"] = true
	record, _ = json.Marshal(head) // texts and a bool always marshal
	if len(record) > logRecord {   // a message of characters that JSON escapes
		head["msg"] = ""
		record, _ = json.Marshal(head)
	}
	return record
}

// logLevel returns the word of the configuration for a level.
func logLevel(level slog.Level) string {
	for _, l := range []slog.Level{slog.LevelError, slog.LevelWarn, slog.LevelInfo} {
		if level >= l {
			return strings.ToLower(l.String())
		}
	}
	return "debug"
}
