package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Error is something wrong in a file, at a line.
type Error struct {
	File string
	Line int // 0: the file as a whole
	Text string
	Err  error
}

// Error returns file:line: text, always in one line. What is not known is left out.
func (e *Error) Error() string {
	text := oneLine(e.Text)
	file := oneLine(e.File)
	switch {
	case file == "" && e.Line == 0:
		return text
	case file == "":
		return fmt.Sprintf("line %d: %s", e.Line, text)
	case e.Line == 0:
		return file + ": " + text
	}
	return fmt.Sprintf("%s:%d: %s", file, e.Line, text)
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

// pathError is what At returns.
type pathError struct {
	path string
	err  error
}

func (e *pathError) Error() string {
	if e.path == "" {
		return e.err.Error()
	}
	return showPath(e.path) + ": " + e.err.Error()
}

func (e *pathError) Unwrap() error { return errors.Unwrap(e.err) }

// At returns an error about the value at a dotted path, for use in Validate methods: Decode turns it into an *Error with
// the line. A path that is not in the document gets the line of the closest parent that is; "" is the document itself.
func At(path, format string, args ...any) error {
	return &pathError{path: path, err: fmt.Errorf(format, args...)}
}

// Errorf returns an *Error about the value at the dotted path below the node, with its file, its line and its whole path.
// It is for checks that are made after decoding.
func (n Node) Errorf(path, format string, args ...any) error {
	return n.wrap(At(path, format, args...))
}

// wrap gives err, which At may have made, the node's file, line and path. An *Error has them already.
func (n Node) wrap(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	path, cause := "", err
	if e, ok := errors.AsType[*pathError](err); ok {
		path, cause = e.path, e.err
	}
	text := cause.Error()
	if full := joinPath(n.path, path); full != "" {
		text = showPath(full) + ": " + text
	}
	return &Error{File: n.file, Line: n.Line(path), Text: text, Err: cause}
}

// joinPath joins two dotted paths, either of which may be empty or, the second, begin with an index.
func joinPath(a, b string) string {
	if a == "" || b == "" || b[0] == '[' {
		return a + b
	}
	return a + "." + b
}

// Longest texts from outside that an error repeats, in bytes.
const (
	maxShownPath  = 120
	maxShownValue = 60
)

// showPath returns a path as it stands in an error: cut, and quoted where it has characters that could mislead.
func showPath(path string) string {
	plain := func(r rune) bool { return r > ' ' && r != '"' && r != '\\' && unicode.IsPrint(r) }
	if strings.ContainsFunc(path, func(r rune) bool { return !plain(r) }) {
		return quote(path, maxShownPath)
	}
	return cut(path, maxShownPath)
}

// quote returns s quoted for an error, cut to at most n bytes.
func quote(s string, n int) string {
	if short := cut(s, n); short != s {
		return strconv.Quote(strings.TrimSuffix(short, "…")) + "…"
	}
	return strconv.Quote(s)
}

// show quotes a value from outside for an error.
func show(s string) string { return quote(s, maxShownValue) }

// cut returns s, or its first n bytes at most and an ellipsis.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// oneLine returns s with line breaks joined by semicolons and all else that is no printable character escaped.
func oneLine(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")
	var b strings.Builder
	for _, r := range s {
		if r == utf8.RuneError || (r != ' ' && !unicode.IsPrint(r)) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Suggest returns the end of a message about an unknown word: the known word that it probably means, or all of them.
func Suggest(word string, known []string) string {
	best, least := "", 1+len(word)/3
	if len(word) <= maxShownValue {
		for _, k := range known {
			if d := EditDistance(strings.ToLower(word), strings.ToLower(k)); d <= least && (best == "" || d < least) {
				best, least = k, d
			}
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %q?", best)
	case len(known) == 0:
		return "none is known here"
	}
	return "known are " + strings.Join(known, ", ")
}

// EditDistance returns how many insertions, deletions, changes and swaps of neighbouring bytes make b of a.
func EditDistance(a, b string) int {
	before, above := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			row[j+1] = min(above[j]+change, above[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}
