package main

import (
	"io"
	"os"
	"strconv"

	"golang.org/x/term"
)

// terminal is what a stream that is a terminal can do.
type terminal struct {
	file    *os.File
	columns int  // that $COLUMNS says; 0: it says nothing
	colour  bool // it shows colours, and nobody has asked for none
	dumb    bool // it can't move its cursor
}

// terminalOf returns what the stream can do, or nil if it is none, such as a pipe or a file. getenv is os.Getenv, but for tests:
// of the environment NO_COLOR (https://no-color.org: with any text in it), TERM=dumb and COLUMNS count.
func terminalOf(w any, getenv func(string) string) *terminal {
	f, ok := w.(*os.File)
	if !ok || f == nil {
		return nil
	}
	is := false
	if err := withFD(f, func(fd int) error { is = term.IsTerminal(fd); return nil }); err != nil || !is {
		return nil
	}
	t := &terminal{file: f, dumb: getenv("TERM") == "dumb" || !escapes(f)}
	t.colour = !t.dumb && getenv("NO_COLOR") == ""
	if n, err := strconv.Atoi(getenv("COLUMNS")); err == nil && n > 0 {
		t.columns = n
	}
	return t
}

// withFD calls f with the descriptor of a file. Unlike File.Fd it leaves the file as it is: with deadlines.
func withFD(file *os.File, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	if other := conn.Control(func(fd uintptr) { err = f(int(fd)) }); other != nil {
		return other
	}
	return err
}

// defaultColumns is how wide a terminal is that does not say so.
const defaultColumns = 80

// size returns how many columns and rows the terminal has now.
func (t *terminal) size() (columns, rows int) {
	err := withFD(t.file, func(fd int) (err error) {
		columns, rows, err = term.GetSize(fd)
		return err
	})
	if err != nil || columns <= 0 || rows <= 0 { // such as a serial line
		return defaultColumns, 24
	}
	return columns, rows
}

// columnsOf returns how many columns of a terminal w has, or 0 if it is none: then nothing is shortened.
func columnsOf(w io.Writer) int {
	o, ok := w.(*output)
	if !ok || o.term == nil {
		return 0
	}
	if o.term.columns > 0 {
		return o.term.columns
	}
	columns, _ := o.term.size()
	return columns
}

// style is how a text looks on a terminal with colours: the numbers of ECMA-48 §8.3.117 (SGR).
type style string

// The styles there are.
const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

// paint returns text in a style if w is a terminal that shows colours, else as it is.
func paint(w io.Writer, s style, text string) string {
	if o, ok := w.(*output); !ok || o.term == nil || !o.term.colour || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}
