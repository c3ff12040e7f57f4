package broker

import (
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// Bounds of a topic or filter. mochi makes a node of about 1 KB of each level and walks them in quadratic time, so that one
// message of 64 KiB of slashes would cost 60 MB and seconds.
const (
	maxTopicLen    = 4096
	maxTopicLevels = 128
)

// validTopic reports whether a message may be published to topic, as far as its form goes. UTF-8 and NUL have been looked at
// by the decoder.
func validTopic(topic string) bool {
	return topic != "" && withinBounds(topic) && !strings.ContainsAny(topic, "+#")
}

// validFilter reports whether filter can be subscribed to: + and # stand alone in a level, # in the last one only.
func validFilter(filter string) bool {
	filter = shared(filter)
	if filter == "" || !withinBounds(filter) {
		return false
	}
	for level := range strings.SplitSeq(filter, "/") {
		if len(level) > 1 && strings.ContainsAny(level, "+#") {
			return false
		}
	}
	i := strings.IndexByte(filter, '#')
	return i < 0 || i == len(filter)-1
}

func withinBounds(s string) bool {
	return len(s) <= maxTopicLen && strings.Count(s, "/") < maxTopicLevels
}

// shared returns what a shared subscription ($share/GROUP/FILTER) matches; other filters it returns as they are.
func shared(filter string) string {
	if !mqtt.IsSharedFilter(filter) {
		return filter
	}
	_, filter, _ = strings.Cut(filter, "/")
	_, filter, _ = strings.Cut(filter, "/")
	return filter
}

// reserved reports whether a topic belongs to the broker itself, as $SYS does.
func reserved(topic string) bool { return strings.HasPrefix(topic, "$") }
