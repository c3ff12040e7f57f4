package census

import (
	"testing"
	"time"
)

// TestSecondCopy looks at the copies of the first request that a sweep sends in a network of a few hosts: one where many answer it, two
// where few do, and the second waits for replies that are not read yet.
func TestSecondCopy(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer int           // to the first copy, at once
		known  int           // of them
		busy   time.Duration // for which replies are not read
		want   int           // copies
		after  time.Duration // that the second one is sent at the earliest
	}{
		"nobody":              {0, 0, 0, 2, atOnceCopyGap},
		"few":                 {crowd - 1, 0, 0, 2, atOnceCopyGap},
		"many":                {crowd, 0, 0, 1, 0},
		"many, unread":        {crowd, 0, 30 * time.Millisecond, 1, 0},
		"nobody, unread":      {0, 0, 30 * time.Millisecond, 2, 30 * time.Millisecond},
		"nobody, never read":  {0, 0, time.Second, 2, holdMost},
		"some of those known": {crowd, 100, 0, 1, 0},
		"few of those known":  {crowd - 1, 100, 0, 2, atOnceCopyGap},
		"all of those known":  {3, 3, 0, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			salt := uint64(0)
			c := Config{Sweep: 1, Open: true, Most: smallNetwork, Limit: 5 * time.Second, Filter: 1200, Salt: func() uint64 { salt++; return salt }}
			for i := range tt.known {
				c.Known = append(c.Known, idOf(i))
			}
			s := New(c)
			copies, read := 0, false
			for now := time.Duration(0); ; {
				if now >= tt.busy && copies > 0 && !read {
					read = true
					for i := range tt.answer {
						s.Hear(Heard{ID: idOf(i), Seq: 1, First: 1, Tx: 1}, now)
					}
				}
				s.Socket(0, now < tt.busy, false)
				asks, wake, done := s.Next(now)
				if done || len(asks) > 0 && asks[0].Round > 1 {
					if copies != tt.want {
						t.Errorf("%d copies, want %d", copies, tt.want)
					}
					return
				}
				for range asks {
					if copies++; copies == 2 && now < tt.after {
						t.Errorf("second copy sent at %v, want %v at the earliest", now, tt.after)
					}
				}
				now = max(wake, now+100*time.Microsecond)
				if read || tt.answer == 0 {
					continue
				}
				now = min(now, max(tt.busy, time.Millisecond))
			}
		})
	}
}
