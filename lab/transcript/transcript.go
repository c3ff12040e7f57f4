// Package transcript keeps what a program writes and lets a test wait for a line of it.
package transcript

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
)

// Transcript is what a program has written so far. The zero value is empty; it is safe for concurrent use.
type Transcript struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{} // closed at the next Write; nil while nobody waits
}

// Write adds to the transcript; it never fails.
func (t *Transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
	return t.buf.Write(b)
}

// String returns all that was written.
func (t *Transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// Lines returns the lines written so far.
func (t *Transcript) Lines() []string {
	return strings.Split(strings.TrimSuffix(t.String(), "\n"), "\n")
}

// Wait waits for a line that contains text, one that is there already included, and returns it without its end.
func (t *Transcript) Wait(ctx context.Context, text string) (string, error) {
	for {
		have, changed := t.look()
		for line := range strings.Lines(have) {
			if strings.Contains(line, text) {
				return strings.TrimSuffix(line, "\n"), nil
			}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no line with %q: %w", text, ctx.Err())
		case <-changed:
		}
	}
}

// look returns all that was written and what will tell of more.
func (t *Transcript) look() (string, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.buf.String(), t.changed
}
