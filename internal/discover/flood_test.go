package discover

import (
	"testing"
	"time"
)

// A flood is what comes by the thousand and is good for nothing; a sweep of many hosts, and a burst after a long silence, are none.
func TestSurge(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		every time.Duration // between two datagrams
		count int
		want  bool
	}{
		"50,000 a second":    {20 * time.Microsecond, 2000, true},
		"3,000 a second":     {333 * time.Microsecond, 200, true},
		"1,100 a second":     {900 * time.Microsecond, 1000, false},
		"a burst":            {0, 500, false},
		"one a second":       {time.Second, 100, false},
		"a clock that jumps": {-time.Hour, 100, false},
	} {
		var s surge
		now := time.Now()
		for range tt.count {
			s.add(1, now)
			now = now.Add(tt.every)
		}
		if s.on != tt.want {
			t.Errorf("%s: flood = %v, want %v", name, s.on, tt.want)
		}
		if s.add(1, now.Add(time.Minute)); s.on {
			t.Errorf("%s: it does not end", name)
		}
	}
}
