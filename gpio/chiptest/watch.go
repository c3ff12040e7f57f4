package chiptest

import (
	"testing"
	"time"
)

// Watcher is a Board that can look at a line all the time. Every change of its level counts, however short it was.
type Watcher interface {
	Changes(offset int) int // how often the level has changed so far
}

// watch looks at the level of a line until the returned function is called, which wants it never to have been another one. A
// board that does not count changes is looked at over and over meanwhile.
func watch(t *testing.T, b Board, offset, level int) (stays func(what string)) {
	t.Helper()
	if w, ok := b.(Watcher); ok {
		before := w.Changes(offset)
		return func(what string) {
			t.Helper()
			wantLevel(t, b, offset, level, "of a line that was "+what)
			if n := w.Changes(offset) - before; n != 0 {
				t.Errorf("the level changed %d times while the line was %s, want 0", n, what)
			}
		}
	}
	stop, looked := make(chan struct{}), make(chan int)
	go func() { // ends when stays is called, or with the test
		wrong := 0
		for {
			if b.Level(offset) != level {
				wrong++
			}
			select {
			case <-stop:
				looked <- wrong
				return
			case <-t.Context().Done():
				return
			default:
			}
		}
	}()
	return func(what string) {
		t.Helper()
		close(stop)
		select {
		case wrong := <-looked:
			if wrong > 0 {
				t.Errorf("the level was not %d %d times while the line was %s, want never", level, wrong, what)
			}
		case <-time.After(patience):
			t.Fatalf("no look at the level for %v", patience)
		}
		wantLevel(t, b, offset, level, "of a line that was "+what)
	}
}
