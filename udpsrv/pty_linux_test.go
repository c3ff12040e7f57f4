package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// tty is a pseudo-terminal, and a person who looks at its screen.
type tty struct {
	t      *testing.T
	master *os.File
	slave  *os.File // what a program takes for its terminal

	mu      sync.Mutex
	raw     []byte
	screen  *screen
	changed chan struct{} // closed and made anew with each change
	done    chan struct{} // closed when nothing more comes
}

// openTTY opens a pseudo-terminal of that size.
func openTTY(t *testing.T, columns, rows int) *tty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	y := &tty{t: t, master: master, slave: slave, screen: newScreen(columns, rows), changed: make(chan struct{}), done: make(chan struct{})}
	y.resize(columns, rows)
	go y.read()
	t.Cleanup(func() {
		slave.Close()
		<-y.done // the last one who held the other side has gone
		master.Close()
	})
	return y
}

// resize changes the size, as the window of a terminal does.
func (y *tty) resize(columns, rows int) {
	y.t.Helper()
	if err := unix.IoctlSetWinsize(int(y.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(columns)}); err != nil {
		y.t.Fatal(err)
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	first := y.screen.first
	y.screen = newScreen(columns, rows)
	y.screen.first = first
}

func (y *tty) read() {
	defer close(y.done)
	b := make([]byte, 4096)
	for {
		n, err := y.master.Read(b)
		y.mu.Lock()
		y.raw = append(y.raw, b[:n]...)
		y.screen.write(b[:n])
		close(y.changed)
		y.changed = make(chan struct{})
		y.mu.Unlock()
		if err != nil { // EIO: the other side is closed
			return
		}
	}
}

// press types keys.
func (y *tty) press(keys string) {
	y.t.Helper()
	if _, err := y.master.WriteString(keys); err != nil {
		y.t.Fatal(err)
	}
}

// state returns the settings of the terminal.
func (y *tty) state() unix.Termios {
	y.t.Helper()
	var s *unix.Termios
	err := withFD(y.slave, func(fd int) (err error) {
		s, err = unix.IoctlGetTermios(fd, unix.TCGETS)
		return err
	})
	if err != nil {
		y.t.Fatal(err)
	}
	return *s
}

// until waits until the screen is as wanted, and returns it.
func (y *tty) until(what string, is func(text string) bool) string {
	y.t.Helper()
	ctx, cancel := context.WithTimeout(y.t.Context(), 30*time.Second)
	defer cancel()
	for {
		y.mu.Lock()
		text, changed := y.screen.String(), y.changed
		y.mu.Unlock()
		if is(text) {
			return text
		}
		select {
		case <-changed:
		case <-ctx.Done():
			y.t.Fatalf("never seen: %s; the screen:\n%s", what, text)
		}
	}
}

// sees waits until all the texts are on the screen, and returns it.
func (y *tty) sees(texts ...string) string {
	y.t.Helper()
	return y.until(strings.Join(texts, ", "), func(text string) bool {
		for _, want := range texts {
			if !strings.Contains(text, want) {
				return false
			}
		}
		return true
	})
}

// written returns all bytes that came.
func (y *tty) written() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	return string(y.raw)
}

// env is an environment for runIn.
func env(list ...string) func(string) string {
	return func(name string) string {
		for _, s := range list {
			if value, ok := strings.CutPrefix(s, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

// screen is what a terminal shows, as far as udpsrv's sequences go. With another screen (?1049) the first one comes back later.
type screen struct {
	columns, rows int
	cell          [][]string
	x, y          int
	hidden        bool // its cursor is
	first         *screen
	rest          []byte
}

func newScreen(columns, rows int) *screen {
	s := &screen{columns: columns, rows: rows}
	for range rows {
		s.cell = append(s.cell, make([]string, columns))
	}
	return s
}

// String returns the lines without the blanks at their ends.
func (s *screen) String() string {
	var lines []string
	for _, row := range s.cell {
		var b strings.Builder
		for _, c := range row {
			switch c {
			case "":
				b.WriteByte(' ')
			case "\x00": // the second half of a wide one
			default:
				b.WriteString(c)
			}
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

func (s *screen) write(b []byte) {
	s.rest = append(s.rest, b...)
	for len(s.rest) > 0 {
		n := s.step(s.rest)
		if n == 0 {
			return // the rest of a sequence is still to come
		}
		s.rest = s.rest[n:]
	}
}

// step takes one character or sequence in and returns its length.
func (s *screen) step(b []byte) int {
	switch b[0] {
	case '\r':
		s.x = 0
		return 1
	case '\n':
		if s.y++; s.y == s.rows {
			s.cell, s.y = append(s.cell[1:], make([]string, s.columns)), s.rows-1
		}
		return 1
	case 0x1b:
		end := bytes.IndexFunc(b, func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' })
		if end < 0 {
			return 0
		}
		s.sequence(string(b[1:end]), b[end])
		return end + 1
	}
	if !utf8.FullRune(b) {
		return 0
	}
	r, n := utf8.DecodeRune(b)
	s.put(r)
	return n
}

func (s *screen) put(r rune) {
	w := runeCells(r)
	if w == 0 {
		s.cell[s.y][max(0, s.x-1)] += string(r)
		return
	}
	if s.x+w > s.columns {
		s.x = 0
		s.step([]byte{'\n'})
	}
	s.cell[s.y][s.x] = string(r)
	if w == 2 {
		s.cell[s.y][s.x+1] = "\x00"
	}
	s.x += w
}

func (s *screen) sequence(args string, final byte) {
	switch args + string(final) {
	case "[H":
		s.x, s.y = 0, 0
	case "[K":
		clear(s.cell[s.y][min(s.x, s.columns):])
	case "[J":
		clear(s.cell[s.y][min(s.x, s.columns):])
		for _, row := range s.cell[min(s.y+1, s.rows):] {
			clear(row)
		}
	case "[?25l":
		s.hidden = true
	case "[?25h":
		s.hidden = false
	case "[?1049h":
		kept := *s
		*s = *newScreen(s.columns, s.rows)
		s.first, s.rest = &kept, kept.rest
	case "[?1049l":
		if s.first != nil {
			rest := s.rest
			*s = *s.first
			s.rest = rest
		}
	}
}
