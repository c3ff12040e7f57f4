package agents

import (
	"encoding/json"
	"log/slog"
	"sync"
	"time"
)

// Bounds of what a service remembers of its log.
const (
	tailRecords = 200
	tailBytes   = 32 << 10 // of all records: with them an answer is a message that every broker takes
	tailLevel   = slog.LevelInfo
	tailLive    = time.Minute // for how long records are published after somebody has asked to follow them
)

// logTail keeps the last records of a service's log in memory, whether its log topic is switched on or not, for whoever asks what
// happened. It is safe for concurrent use; a nil one keeps nothing.
type logTail struct {
	mu      sync.Mutex
	records []json.RawMessage // the oldest first
	size    int
	dropped uint64 // records that were too old
}

// wants reports whether records of the level are kept.
func (t *logTail) wants(level slog.Level) bool { return t != nil && level >= tailLevel }

// put keeps a record, and drops the oldest where there are too many. The record is not changed.
func (t *logTail) put(record []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.records = append(t.records, record)
	t.size += len(record)
	for len(t.records) > tailRecords || t.size > tailBytes {
		t.size -= len(t.records[0])
		t.records[0] = nil
		t.records = t.records[1:]
		t.dropped++
	}
}

// LogTail is the data of the result of get/log.
type LogTail struct {
	Records []json.RawMessage `json:"records"`           // {"time","level","msg",…}, the oldest first
	Dropped uint64            `json:"dropped,omitempty"` // older ones, since the service was started
}

// all returns what is kept.
func (t *logTail) all() LogTail {
	t.mu.Lock()
	defer t.mu.Unlock()
	return LogTail{Records: append([]json.RawMessage{}, t.records...), Dropped: t.dropped}
}

// Paths of get that are about the log.
const (
	pathLog     = "log"
	pathLogLive = "log/live" // and have the records that come published for tailLive
)

// getLog answers with the last records of the log. It needs no agent.
func (s *service) getLog(a *asked) {
	if a.Path == pathLogLive {
		s.public.until.Store(time.Now().Add(tailLive).UnixNano())
	}
	a.done(s.tail.all())
}
