package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"rollcall/reports"
)

// topView is what the person at the terminal has chosen to see.
type topView struct {
	view    string
	order   string
	reverse bool
	filter  topFilter
	text    string // of the filter

	typing bool   // the filter is being typed
	typed  string // so far
	wrong  string // why it is none

	first int // row that is shown at the top
	page  int // rows that fit
	rows  int // rows there are
}

// Rows of the screen that are not of the table.
const (
	rowsAbove = 2 // the summary, and what is wrong
	rowsBelow = 1 // the keys
)

const topHelp = "q quit  arrows scroll  / filter  s sort  r reverse  v view"

// columns of each view. Names get what room they need; what changes has the same width from screen to screen.
func (v *topView) columns() []column {
	host := column{head: "HOST", least: 8, fit: 24}
	service := column{head: "SERVICE", least: 8, fit: 20}
	status := column{head: "STATUS", least: 7, whole: true, style: topStatusStyle}
	rate := column{head: "MSG/S", least: 5, right: true, whole: true}
	age := column{head: "AGE", least: 4, right: true, whole: true, style: warningStyle("!")}
	switch v.view {
	case viewHosts:
		return []column{host, {head: "ADDRESS", least: 15, fit: 39}, status, {head: "SERVICES", least: 8, right: true, whole: true}, rate, {head: "NOTE", least: 15, most: 200}}
	case viewServices:
		return []column{host, service, {head: "FUNCTION", least: 8, fit: 16, spare: true}, status, {head: "POINTS", least: 6, right: true, whole: true}, age, rate, {head: "NOTE", least: 10, most: 200}}
	}
	return []column{host, service, status, {head: "POINT", least: 12, fit: 40}, {head: "VALUE", least: 12, most: 60}, {head: "UNIT", least: 4, fit: 8, spare: true}, age, rate}
}

// cells of a row in the view.
func (v *topView) cells(r topRow, now time.Time) []string {
	rate := perSecond(r.rate)
	switch v.view {
	case viewHosts:
		return []string{r.host, r.addr, r.status, strconv.Itoa(r.count), rate, reports.OneLine(r.note)}
	case viewServices:
		return []string{r.host, r.service, r.function, r.status, strconv.Itoa(r.count), r.age(now), rate, reports.OneLine(r.note)}
	}
	value := reports.OneLine(r.value)
	if r.path == "" {
		value = reports.OneLine(r.note)
	}
	return []string{r.host, r.service, r.status, r.path, value, brief(r.unit), r.age(now), rate}
}

// topStatusStyle is statusStyle, and for a host whose broker can't be read.
func topStatusStyle(status string) style {
	if status == "unread" {
		return yellow
	}
	return statusStyle(status)
}

// chosen returns the rows that the filter covers, in order.
func (v *topView) chosen(m *topModel) []topRow {
	rows := slices.DeleteFunc(m.rows(v.view), func(r topRow) bool { return !v.filter.covers(r) })
	sortRows(rows, v.order, v.reverse)
	return rows
}

// table prints rows as a table.
func (v *topView) table(w io.Writer, rows []topRow, now time.Time, live bool) error {
	t := newTable(w, v.columns()...)
	for _, r := range rows {
		t.add(v.cells(r, now)...)
	}
	if t.live = live; live {
		t.print()
	}
	return t.flush()
}

// lines returns the screen.
func (v *topView) lines(m *topModel, term terminal, columns, rows int, now time.Time) []string {
	all := v.chosen(m)
	v.rows, v.page = len(all), max(1, rows-rowsAbove-rowsBelow-1) // and the head of the table
	v.first = max(0, min(v.first, v.rows-v.page))
	term.columns = columns
	var b strings.Builder
	out := &output{w: &b, term: &term}
	summary, note := v.summary(m, now), v.note(m)
	fmt.Fprintln(out, paint(out, bold, shorten(clean(summary), columns)))
	fmt.Fprintln(out, paint(out, yellow, shorten(clean(note), columns)))
	_ = v.table(out, all[v.first:min(v.rows, v.first+v.page)], now, true) // a strings.Builder takes everything
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for len(lines) < rows-rowsBelow {
		lines = append(lines, "")
	}
	return append(lines[:max(0, rows-rowsBelow)], v.bottom(out, columns))
}

// summary says how much there is.
func (v *topView) summary(m *topModel, now time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	services, offline, points, rate := 0, 0, 0, 0.0
	for _, t := range m.hosts {
		rate += t.rate
		services += len(t.services)
		for _, s := range t.services {
			points += len(s.points)
			if s.status == reports.Offline {
				offline++
			}
		}
	}
	text := plural(len(m.hosts), "host") + ", " + plural(services, "service")
	if offline > 0 {
		text += fmt.Sprintf(" (%d offline)", offline)
	}
	return fmt.Sprintf("%s  %s, %s, %s messages/s", now.Format(time.TimeOnly), text, plural(points, "point"), perSecond(rate))
}

// note is the last warning, or why a host can't be read.
func (v *topView) note(m *topModel) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var unread []string
	for _, t := range m.hosts {
		if t.problem != "" {
			unread = append(unread, t.name+": "+t.problem)
		}
	}
	slices.Sort(unread)
	return cmp.Or(strings.Join(unread, "; "), m.note)
}

// bottom is the last line: the keys and what is chosen, or the filter that is being typed.
func (v *topView) bottom(out *output, columns int) string {
	if v.typing {
		text := "filter: " + v.typed + "_"
		if v.wrong != "" {
			text += "  (" + v.wrong + ")"
		}
		return shorten(clean(text), columns)
	}
	order := v.order
	if v.reverse {
		order += " reversed"
	}
	text := fmt.Sprintf("%s by %s", v.view, order)
	if v.text != "" {
		text += ", filter " + v.text
	}
	if v.rows > v.page {
		text += fmt.Sprintf(", %d-%d of %d", v.first+1, min(v.rows, v.first+v.page), v.rows)
	}
	return paint(out, dim, shorten(clean(text+"   "+topHelp), columns))
}

// press takes a key in; it returns true for one that ends top.
func (v *topView) press(key string) (quit bool) {
	if v.typing {
		v.typeKey(key)
		return false
	}
	switch key {
	case "q", "Q", "\x03", "\x04": // Ctrl-C, Ctrl-D: a raw terminal makes no signals of them
		return true
	case "/":
		v.typing, v.typed, v.wrong = true, v.text, ""
	case "s":
		v.order = after(topOrders, v.order)
		v.first = 0
	case "r":
		v.reverse = !v.reverse
	case "v", "\t":
		v.view = after(topViews, v.view)
		v.first = 0
	case "\x1b":
		v.filter, v.text = nil, ""
	default:
		v.scroll(key)
	}
	return false
}

// scroll moves the rows that are shown; lines keeps them in bounds.
func (v *topView) scroll(key string) {
	switch key {
	case "\x1b[A", "\x1bOA", "k":
		v.first--
	case "\x1b[B", "\x1bOB", "j":
		v.first++
	case "\x1b[5~", "\x1b[D", "\x1bOD", "b":
		v.first -= v.page
	case "\x1b[6~", "\x1b[C", "\x1bOC", " ":
		v.first += v.page
	case "\x1b[H", "\x1bOH", "\x1b[1~", "g":
		v.first = 0
	case "\x1b[F", "\x1bOF", "\x1b[4~", "G":
		v.first = v.rows
	}
}

// typeKey takes a key of a filter that is being typed in.
func (v *topView) typeKey(key string) {
	const most = 200
	switch r, _ := utf8.DecodeRuneInString(key); {
	case key == "\r" || key == "\n":
		f, err := parseTopFilter(v.typed)
		if err != nil {
			v.wrong = err.Error()
			return
		}
		v.filter, v.text, v.typing, v.first = f, v.typed, false, 0
	case key == "\x1b" || key == "\x03":
		v.typing = false
	case key == "\x7f" || key == "\b":
		_, n := utf8.DecodeLastRuneInString(v.typed)
		v.typed = v.typed[:len(v.typed)-n]
	case key == "\x15": // Ctrl-U
		v.typed = ""
	case len(v.typed) < most && unicode.IsPrint(r) && r != utf8.RuneError && !strings.HasPrefix(key, "\x1b"):
		v.typed += key
	}
}

// after returns the word behind the one given, the first behind the last.
func after(words []string, word string) string {
	return words[(slices.Index(words, word)+1)%len(words)]
}
