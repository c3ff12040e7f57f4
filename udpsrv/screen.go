package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// Sequences of xterm that every terminal of today understands (invisible-island.net/xterm/ctlseqs).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l" // another screen, no cursor, and no line goes on in the next
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	eraseRight  = "\x1b[K"
	eraseBelow  = "\x1b[J"
)

// fullScreen is a terminal that a command has for itself.
type fullScreen struct {
	out  *output
	keys chan string // one key each, as the terminal sends it
}

// withScreen gives f the whole terminal, and makes it what it was before when f ends, in whatever way. in is where the keys
// come from.
func withScreen(in *os.File, out *output, f func(*fullScreen) error) error {
	var before *term.State
	err := withFD(in, func(fd int) (err error) {
		before, err = term.MakeRaw(fd)
		return err
	})
	if err != nil {
		return fmt.Errorf("take the terminal: %w", err)
	}
	s := &fullScreen{out: out, keys: make(chan string, 16)}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		s.read(in, end)
	}()
	defer func() { // also when f panics
		io.WriteString(out, leaveScreen) // a terminal that is gone needs nothing
		err := withFD(in, func(fd int) error { return term.Restore(fd, before) })
		close(end)
		// A terminal that can't be told to stop waiting, as os.Stdin can't, is left to the end of the process.
		if in.SetReadDeadline(time.Now()) == nil {
			<-ended
			_ = in.SetReadDeadline(time.Time{}) // as before
		}
		if err != nil {
			fmt.Fprintf(out, "udpsrv: restore the terminal: %v\n", err)
		}
	}()
	if _, err := io.WriteString(out, enterScreen); err != nil {
		return err
	}
	return f(s)
}

// read takes keys apart until the screen ends.
func (s *fullScreen) read(in io.Reader, end <-chan struct{}) {
	defer close(s.keys)
	b := make([]byte, 256)
	for {
		n, err := in.Read(b)
		for _, key := range splitKeys(string(b[:n])) {
			select {
			case s.keys <- key:
			case <-end:
				return
			}
		}
		if err != nil || n == 0 {
			return
		}
	}
}

// splitKeys takes what a terminal has sent apart: characters, and sequences of the keys that have none.
func splitKeys(s string) (keys []string) {
	for s != "" {
		n := 1
		switch {
		case strings.HasPrefix(s, "\x1b[") || strings.HasPrefix(s, "\x1bO"):
			n = strings.IndexFunc(s[2:], func(r rune) bool { return r >= '@' && r <= '~' })
			if n += 3; n < 3 {
				n = len(s)
			}
		default:
			for i := range s {
				if i > 0 {
					n = i
					break
				}
				n = len(s)
			}
		}
		keys = append(keys, s[:n])
		s = s[n:]
	}
	return keys
}

// show puts lines on the screen, no more and no longer than there is room for.
func (s *fullScreen) show(lines []string, rows int) {
	var b strings.Builder
	b.WriteString(home)
	for i, l := range lines {
		if i == rows {
			break
		}
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(l + eraseRight)
	}
	b.WriteString(eraseBelow)
	io.WriteString(s.out, b.String()) // output remembers the error
}
