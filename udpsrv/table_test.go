package main

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCells(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"": 0, "abc": 3, "Küche": 5, "Ku\u0308che": 5, "台所": 4, "ｶﾅ": 2, "Ａ": 2, "😀": 2, "한글": 4, "\u1112\u1161\u11ab": 2, "°C": 2, "e\u20dd": 1, "…": 1} {
		if got := cells(text); got != want {
			t.Errorf("cells(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"abcd", 1, "…"}, {"abcd", 0, ""}, {"台所台所", 5, "台所…"}, {"台所台所", 6, "台所…"}, {"台所台所", 8, "台所台所"},
		{"u\u0308u\u0308u\u0308", 2, "u\u0308…"}, {"", 0, ""},
	} {
		if got := shorten(c.text, c.most); got != c.want {
			t.Errorf("shorten(%q, %d) = %q, want %q", c.text, c.most, got, c.want)
		}
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"one two three", 7, "one two|three"}, {"one", 7, "one"}, {"", 7, ""}, {"longer-than-this x", 6, "longer|-than-|this x"},
		{"台所台所", 5, "台所|台所"}, {"a\nb", 5, "a|b"}, {"台", 1, "台"},
	} {
		if got := strings.Join(wrap(c.text, c.most), "|"); got != c.want {
			t.Errorf("wrap(%q, %d) = %q, want %q", c.text, c.most, got, c.want)
		}
	}
}

// fixed is a terminal of so many columns.
func fixed(b *strings.Builder, columns int, colour bool) *output {
	return &output{w: b, term: &terminal{columns: columns, colour: colour}}
}

func TestTableFits(t *testing.T) {
	t.Parallel()
	fill := func(o *output) {
		tab := newTable(o, column{head: "HOST", whole: true}, column{head: "VALUE"}, column{head: "N", right: true, whole: true}, column{head: "WHY", wraps: true})
		tab.add("pizero2", strings.Repeat("v", 40), "7", "the broker listens on loopback only")
		tab.add("台所", "", "12", "")
		if err := tab.flush(); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		columns int
		want    string
	}{
		{0, "HOST     VALUE                                      N  WHY\n" +
			"pizero2  vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv   7  the broker listens on loopback only\n" +
			"台所     -                                         12  -\n"},
		{50, "HOST     VALUE               N  WHY\n" +
			"pizero2  vvvvvvvvvvvvvvvv…   7  the broker listens\n" +
			"                                on loopback only\n" +
			"台所     -                  12  -\n"},
		{10, "HOST     VAL…   N  WHY\n" +
			"pizero2  vvv…   7  the\n" +
			"                   brok\n" +
			"                   er\n" +
			"                   list\n" +
			"                   ens\n" +
			"                   on\n" +
			"                   loop\n" +
			"                   back\n" +
			"                   only\n" +
			"台所     -     12  -\n"},
	} {
		var b strings.Builder
		o := fixed(&b, c.columns, false)
		if c.columns == 0 {
			o.term = nil
		}
		fill(o)
		if b.String() != c.want {
			t.Errorf("%d columns:\n%s\nwant\n%s", c.columns, b.String(), c.want)
		}
	}
}

func TestTableColours(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	tab := newLiveTable(fixed(&b, 80, true), column{head: "STATUS", least: 8, style: statusStyle}, column{head: "ID"})
	tab.add("online", "1")
	tab.add("offline", "2")
	tab.add("", "3")
	want := "\x1b[1mSTATUS\x1b[0m    \x1b[1mID\x1b[0m\n\x1b[32monline\x1b[0m    1\n\x1b[31moffline\x1b[0m   2\n-         3\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

// FuzzTable gives a table texts and a width: no line is longer than the terminal where that can be, and nothing moves its cursor.
func FuzzTable(f *testing.F) {
	f.Add("pizero2", "a long text with words", 30)
	f.Add("台所\u0308\x1b[2J", "\u202e\u1161", 20)
	f.Fuzz(func(t *testing.T, a, b string, columns int) {
		if columns < 20 || columns > 200 {
			return
		}
		var out strings.Builder
		tab := newTable(fixed(&out, columns, false), column{head: "A"}, column{head: "B", wraps: true}, column{head: "C", whole: true})
		tab.add(a, b, "c")
		_ = tab.flush() // a strings.Builder does not fail
		if !utf8.ValidString(out.String()) || cleanDocument(out.String()) != out.String() {
			t.Errorf("%q is not safe on a terminal", out.String())
		}
		for line := range strings.Lines(out.String()) {
			if n := cells(strings.TrimSuffix(line, "\n")); n > columns {
				t.Errorf("%q takes %d cells of %d", line, n, columns)
			}
		}
	})
}
