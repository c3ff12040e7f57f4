package config

import (
	"fmt"
	"log/slog"
	"slices"
)

// LogLevel says which records of a service's log are published on its log topic: those of the level and above.
type LogLevel string

// The levels. LogOff, for none, stands in the file as off.
const (
	LogOff   LogLevel = ""
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

// UnmarshalText takes off, debug, info, warn and error.
func (l *LogLevel) UnmarshalText(b []byte) error {
	const off = "off"
	words := []string{off, string(LogDebug), string(LogInfo), string(LogWarn), string(LogError)}
	switch word := string(b); {
	case word == off:
		*l = LogOff
	case slices.Contains(words, word):
		*l = LogLevel(word)
	default:
		return fmt.Errorf("%s is no level; %s", show(word), Suggest(word, words))
	}
	return nil
}

// Level returns the least level that is published, or nil for none.
func (l LogLevel) Level() *slog.Level {
	var level slog.Level
	switch l {
	case LogDebug:
		level = slog.LevelDebug
	case LogInfo:
		level = slog.LevelInfo
	case LogWarn:
		level = slog.LevelWarn
	case LogError:
		level = slog.LevelError
	default:
		return nil
	}
	return &level
}
