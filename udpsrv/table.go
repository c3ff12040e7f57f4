package main

import (
	"cmp"
	"io"
	"slices"
	"strings"
)

// column is a column of a table.
type column struct {
	head  string
	least int  // cells; of a table whose rows are printed as they come, which can't know the widest
	most  int  // cells that such a table gives it where the terminal has room
	fit   int  // cells that such a table gives it where the rows at hand need them
	right bool // its cells stand at the right, as numbers do
	whole bool // it is never shortened
	wraps bool // what is too long for it goes on in the next line, and is not shortened
	spare bool // it is left out where the terminal is too narrow for all
	gap   int  // spaces before it; 0: two
	style func(text string) style
}

// narrowest is how few cells are left of a column that is shortened.
const narrowest = 4

// table is a table that fits the terminal that it is printed on. Where it is printed elsewhere, nothing is shortened or left out.
type table struct {
	w    io.Writer
	cols []column
	rows [][]string
	live bool // rows are printed as they come

	blank bool // a cell that is empty shows as such, and not as "-"

	headed bool
}

// newTable returns a table that is printed by flush, once all its rows are known.
func newTable(w io.Writer, cols ...column) *table { return &table{w: w, cols: cols} }

// newLiveTable returns a table whose rows are printed as they come.
func newLiveTable(w io.Writer, cols ...column) *table { return &table{w: w, cols: cols, live: true} }

// add adds a row. A cell that is empty shows as "-", unless blank is set; whatever could move a terminal's cursor is escaped.
func (t *table) add(texts ...string) {
	row := make([]string, len(t.cols))
	for i := range row {
		text := ""
		if i < len(texts) {
			text = clean(texts[i])
		}
		if row[i] = text; text == "" && !t.blank {
			row[i] = "-"
		}
	}
	t.rows = append(t.rows, row)
	if t.live {
		t.print()
	}
}

// flush prints the table, which has its head even without rows.
func (t *table) flush() error {
	if !t.live {
		t.print()
	}
	if o, ok := t.w.(*output); ok {
		return o.failed
	}
	return nil
}

// print prints the rows that are there and forgets them.
func (t *table) print() {
	columns := columnsOf(t.w)
	widths := t.widths(columns)
	var b strings.Builder
	if !t.headed {
		heads := make([]string, len(t.cols))
		for i, c := range t.cols {
			heads[i] = c.head
		}
		t.write(&b, heads, widths, columns, true)
		t.headed = true
	}
	for _, row := range t.rows {
		t.write(&b, row, widths, columns, false)
	}
	t.rows = t.rows[:0]
	io.WriteString(t.w, b.String()) // output remembers the error
}

// gapBefore returns how many spaces stand before a column.
func (t *table) gapBefore(i int) int {
	if i == 0 {
		return 0
	}
	return cmp.Or(t.cols[i].gap, 2)
}

// room returns how many cells the table takes with these widths; a column of the width 0 is left out.
func (t *table) room(widths []int) (n int) {
	for i, w := range widths {
		if w > 0 {
			n += w + t.gapBefore(i)
		}
	}
	return n
}

// widths returns how wide each column is on a terminal with so many columns, 0 for one that is left out.
func (t *table) widths(columns int) []int {
	out := make([]int, len(t.cols))
	for i, c := range t.cols {
		out[i] = max(c.least, cells(c.head))
		for _, row := range t.rows {
			if !t.live {
				out[i] = max(out[i], cells(row[i]))
			} else if c.fit > out[i] {
				out[i] = max(out[i], min(c.fit, cells(row[i])))
			}
		}
	}
	if columns == 0 {
		return out
	}
	for i := len(out) - 1; i >= 0 && t.room(out) > columns; i-- {
		if t.cols[i].spare {
			out[i] = 0
		}
	}
	t.shrink(out, columns)
	t.grow(out, columns)
	return out
}

// shrink takes from the widest columns until the table fits.
func (t *table) shrink(widths []int, columns int) {
	for over := t.room(widths) - columns; over > 0; {
		widest, second := -1, 0
		for i, w := range widths {
			switch {
			case t.cols[i].whole || w <= narrowest:
			case widest < 0 || w > widths[widest]:
				if widest >= 0 {
					second = max(second, widths[widest])
				}
				widest = i
			default:
				second = max(second, w)
			}
		}
		if widest < 0 {
			return // it can't be helped
		}
		less := min(over, max(1, widths[widest]-max(second, narrowest)))
		widths[widest] -= less
		over -= less
	}
}

// grow gives what room there is to the columns that may have it, as equally as they take it.
func (t *table) grow(widths []int, columns int) {
	for more, grown := columns-t.room(widths), true; more > 0 && grown; {
		grown = false
		for i, c := range t.cols {
			if widths[i] > 0 && widths[i] < c.most && more > 0 {
				widths[i]++
				more--
				grown = true
			}
		}
	}
}

// write writes a row in as many lines as its cells need.
func (t *table) write(b *strings.Builder, row []string, widths []int, columns int, head bool) {
	for line := 0; ; line++ {
		var text strings.Builder
		blank, more := 0, false
		for i, c := range t.cols {
			if widths[i] == 0 {
				continue
			}
			rest := row[i]
			if columns > 0 && !c.whole {
				rest = t.part(c, rest, widths[i], line)
				more = more || t.part(c, row[i], widths[i], line+1) != ""
			} else if line > 0 {
				rest = ""
			}
			blank += t.gapBefore(i)
			fill := max(0, widths[i]-cells(rest))
			if rest == "" {
				blank += fill
				continue
			}
			if c.right {
				blank, fill = blank+fill, 0
			}
			text.WriteString(strings.Repeat(" ", blank) + t.paint(c, row[i], rest, head))
			blank = fill
		}
		b.WriteString(text.String() + "\n")
		if !more {
			return
		}
	}
}

// part returns what stands of a cell in a line of its row, "" where nothing is left.
func (t *table) part(c column, text string, width, line int) string {
	if !c.wraps {
		if line > 0 {
			return ""
		}
		return shorten(text, width)
	}
	if lines := wrap(text, width); line < len(lines) {
		return lines[line]
	}
	return ""
}

// paint returns a part of a cell as it looks on the table's terminal.
func (t *table) paint(c column, whole, part string, head bool) string {
	switch {
	case head:
		return paint(t.w, bold, part)
	case c.style != nil:
		return paint(t.w, c.style(whole), part)
	}
	return part
}

// statusStyle is the style of a service's status.
func statusStyle(status string) style {
	switch {
	case status == "online":
		return green
	case status == "offline":
		return red
	}
	return plain
}

// warningStyle is for cells that say something only where it is not as it should be, such as "(stale)".
func warningStyle(words ...string) func(string) style {
	return func(text string) style {
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) }) {
			return yellow
		}
		return plain
	}
}
