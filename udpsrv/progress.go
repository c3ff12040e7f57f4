package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Times of what is said while a command takes long.
const (
	progressAfter = time.Second
	progressEvery = 200 * time.Millisecond
)

// eraseLine goes to the begin of the line and erases it (ECMA-48 §8.3.41, EL).
const eraseLine = "\r\x1b[K"

// statusLine is one line on a terminal that says what is being done. Whoever writes to the same terminal has it erased first.
type statusLine struct {
	on *output // stderr, a terminal that can move its cursor

	mu    sync.Mutex
	doing []*progress // the last one is shown
	shown bool
	mid   bool // the cursor stands in a line of what was printed
}

// progress is something that takes a while. A nil one is not shown.
type progress struct {
	line   *statusLine
	began  time.Time
	text   string
	cancel chan struct{}
	ended  sync.WaitGroup
	once   sync.Once
}

// withStatusLine has out and err make room for a line on err's terminal, if that is one that can erase a line.
func withStatusLine(out, err *output) {
	if err.term == nil || err.term.dumb {
		return
	}
	s := &statusLine{on: err}
	err.status = s
	if out.term != nil {
		out.status = s
	}
}

// begin says what is being done if it takes longer than a second and stderr is a terminal. The caller calls end.
func (a *app) begin(format string, args ...any) *progress {
	s := a.err.status
	if s == nil {
		return nil
	}
	p := &progress{line: s, began: time.Now(), text: fmt.Sprintf(format, args...), cancel: make(chan struct{})}
	s.mu.Lock()
	s.doing = append(s.doing, p)
	s.mu.Unlock()
	p.ended.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-p.cancel:
				return
			case now := <-tick.C:
				s.draw(p, now)
			}
		}
	})
	return p
}

// beginStill is begin for what may ask something on the terminal itself, as ssh does: it is shown at once and never again.
func (a *app) beginStill(format string, args ...any) *progress {
	s := a.err.status
	if s == nil {
		return nil
	}
	p := &progress{line: s, text: fmt.Sprintf(format, args...), cancel: make(chan struct{})}
	s.mu.Lock()
	s.doing = append(s.doing, p)
	s.mu.Unlock()
	s.draw(p, time.Time{}.Add(progressAfter))
	return p
}

// set changes what is said.
func (p *progress) set(format string, args ...any) {
	if p == nil {
		return
	}
	p.line.mu.Lock()
	defer p.line.mu.Unlock()
	p.text = fmt.Sprintf(format, args...)
}

// end erases the line. It may be called more than once.
func (p *progress) end() {
	if p != nil {
		p.once.Do(p.finish)
	}
}

func (p *progress) finish() {
	close(p.cancel)
	p.ended.Wait()
	s := p.line
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doing = slices.DeleteFunc(s.doing, func(o *progress) bool { return o == p })
	s.erase()
}

// draw shows what is being done, if that is p and it has taken long enough.
func (s *statusLine) draw(p *progress, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	took := now.Sub(s.doing[0].began)
	if s.doing[len(s.doing)-1] != p || took < progressAfter || s.mid {
		return
	}
	text := clean(p.text) + " …"
	if !p.began.IsZero() {
		text += fmt.Sprintf(" %ds", int(took.Seconds()))
	}
	s.shown = true
	// A terminal that is gone is seen by whatever is printed next.
	_, _ = s.on.w.Write([]byte(eraseLine + paint(s.on, dim, shorten(text, columnsOf(s.on)-1))))
}

// erase takes the line away. The mutex is held.
func (s *statusLine) erase() {
	if s.shown {
		_, _ = s.on.w.Write([]byte(eraseLine)) // as in draw
		s.shown = false
	}
}

// over writes b to the terminal that the line is on.
func (s *statusLine) over(b []byte, write func([]byte) (int, error)) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	if len(b) > 0 {
		s.mid = b[len(b)-1] != '\n'
	}
	return write(b)
}
