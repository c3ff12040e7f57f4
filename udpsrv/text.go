package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// output is a stream that several goroutines may write whole lines to. It remembers the first error.
type output struct {
	mu     sync.Mutex
	w      io.Writer
	term   *terminal   // nil: it is none
	status *statusLine // on the same terminal; nil: none
	failed error
}

// Write writes b and remembers the first error.
func (o *output) Write(b []byte) (int, error) {
	if o.status != nil {
		return o.status.over(b, o.write)
	}
	return o.write(b)
}

func (o *output) write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.w.Write(b)
	if err != nil && o.failed == nil {
		o.failed = err
	}
	return n, err
}

// clean returns s with all that could move a terminal's cursor or hide text written as an escape: control characters, line
// ends, direction marks and bytes that are not UTF-8.
func clean(s string) string { return cleanBut(s, unicode.IsPrint) }

// cleanDocument is clean for a document of several lines: only what YAML can't have raw and direction marks are escaped, so
// that every honest document stays as it is.
func cleanDocument(s string) string {
	return cleanBut(s, func(r rune) bool {
		return strings.ContainsRune("\n\r\t", r) || !unicode.IsControl(r) && !unicode.Is(unicode.Bidi_Control, r)
	})
}

// cleanBut escapes every character of s for which plain is false.
func cleanBut(s string, plain func(rune) bool) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case plain(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		s = s[n:]
	}
	return b.String()
}

// plural returns "1 host" or "2 hosts".
func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}

// listed joins names with commas, the first few of many only.
func listed(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + " and " + strconv.Itoa(len(names)-most) + " more"
}
