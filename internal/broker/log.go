package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const maxLimiterKeys = 256

// limiter lets a log line about a key through once an interval.
type limiter struct {
	every time.Duration
	mu    sync.Mutex
	keys  map[string]*limit
}

type limit struct {
	next       time.Time
	suppressed int
}

func newLimiter(every time.Duration) *limiter {
	return &limiter{every: every, keys: map[string]*limit{}}
}

// allow reports whether to log now, and how many lines about the key were left out since the last one.
func (l *limiter) allow(key string) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	k := l.keys[key]
	if k == nil {
		if len(l.keys) >= maxLimiterKeys {
			l.prune(now)
		}
		if len(l.keys) >= maxLimiterKeys {
			key = "" // the rest shares one key, so that many clients cannot flood the log
		}
		if k = l.keys[key]; k == nil {
			k = &limit{}
			l.keys[key] = k
		}
	}
	if now.Before(k.next) {
		k.suppressed++
		return 0, false
	}
	suppressed, k.suppressed, k.next = k.suppressed, 0, now.Add(l.every)
	return suppressed, true
}

func (l *limiter) prune(now time.Time) {
	for key, k := range l.keys {
		if now.After(k.next) {
			delete(l.keys, key)
		}
	}
}

// mochiLog is the slog.Handler that mochi logs to. What it says about single clients and itself is for debugging; lost
// messages are a warning, once a minute. Packets are left out: they hold payloads and passwords.
type mochiLog struct {
	to    slog.Handler
	limit *limiter
}

// Enabled implements slog.Handler.
func (h *mochiLog) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn || h.to.Enabled(ctx, slog.LevelDebug)
}

// Handle implements slog.Handler.
func (h *mochiLog) Handle(ctx context.Context, r slog.Record) error {
	level := slog.LevelDebug
	switch {
	case r.Message == "client store quota reached", r.Message == "packet ids exhausted":
		if _, ok := h.limit.allow(r.Message); ok {
			level = slog.LevelWarn
		}
	case r.Level >= slog.LevelError:
		level = slog.LevelError
	}
	if !h.to.Enabled(ctx, level) {
		return nil
	}
	out := slog.NewRecord(r.Time, level, "mochi: "+r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "pk" && a.Key != "packet" && a.Key != "will" {
			out.AddAttrs(a)
		}
		return true
	})
	return h.to.Handle(ctx, out)
}

// WithAttrs implements slog.Handler.
func (h *mochiLog) WithAttrs(as []slog.Attr) slog.Handler {
	return &mochiLog{to: h.to.WithAttrs(as), limit: h.limit}
}

// WithGroup implements slog.Handler.
func (h *mochiLog) WithGroup(name string) slog.Handler {
	return &mochiLog{to: h.to.WithGroup(name), limit: h.limit}
}
