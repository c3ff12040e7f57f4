package main

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Hangul letters that join the one before them: a terminal draws them in its cell.
const firstJoined, lastJoined = 0x1160, 0x11ff

// runeCells returns how many cells of a terminal a character takes: 2 for wide ones of East Asia and most emoji (Unicode's
// UAX #11), 0 for those that combine with the one before them.
func runeCells(r rune) int {
	switch {
	case r < 0x300: // nothing here is wide or combines
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) || r >= firstJoined && r <= lastJoined:
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// cells returns how many cells of a terminal a text takes that has no control characters.
func cells(s string) (n int) {
	for _, r := range s {
		n += runeCells(r)
	}
	return n
}

// cut splits a text after as many whole characters as most cells hold, with what combines with the last of them.
func cut(s string, most int) (head, tail string) {
	n := 0
	for i, r := range s {
		if n += runeCells(r); n > most {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// shorten returns a text of at most most cells; where it was longer it ends in "…".
func shorten(s string, most int) string {
	if cells(s) <= most {
		return s
	}
	if most <= 0 {
		return ""
	}
	head, _ := cut(s, most-1)
	return head + "…"
}

// wrap breaks a text into lines of at most most cells: between words, and inside words that are longer than a line.
func wrap(s string, most int) (lines []string) {
	most = max(most, 2) // one wide character
	for _, paragraph := range strings.Split(s, "\n") {
		line := ""
		for word := range strings.SplitSeq(paragraph, " ") {
			if line != "" && cells(line)+1+cells(word) <= most {
				line += " " + word
				continue
			}
			if line != "" {
				lines = append(lines, line)
			}
			for line = word; cells(line) > most; {
				var head string
				head, line = cut(line, most)
				lines = append(lines, head)
			}
		}
		lines = append(lines, line)
	}
	return lines
}
