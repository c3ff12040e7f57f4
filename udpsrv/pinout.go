package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"rollcall/gpio/pinout"
)

// pathChip is the point of a gpio service that says what its chip and the lines of it are.
const pathChip = "chip"

// chipValue is the value of that point.
type chipValue struct {
	Name  string     `json:"name"`
	Label string     `json:"label"`
	Lines []chipLine `json:"lines"`
}

// chipLine is a line of the chip.
type chipLine struct {
	Offset    int             `json:"offset"`
	Name      string          `json:"name"`
	Pin       json.RawMessage `json:"pin"` // position on the header: 22 or "pin22"; see position
	Direction string          `json:"direction"`
	Consumer  string          `json:"consumer"`
	Used      bool            `json:"used"`
	Ours      bool            `json:"ours"`
	Path      string          `json:"path"` // the point of the service that it is
	Pull      string          `json:"pull"`
}

// parseChip returns the value as a chip, if it is one.
func parseChip(value json.RawMessage) (chipValue, bool) {
	var c chipValue
	err := json.Unmarshal(value, &c)
	return c, err == nil && c.Lines != nil && c.Name+c.Label != ""
}

// String says which chip it is, and how much of it is in use.
func (c chipValue) String() string {
	name := brief(cmp.Or(c.Name, c.Label))
	if c.Label != "" && c.Label != c.Name && c.Name != "" {
		name += " (" + brief(c.Label) + ")"
	}
	used, ours := 0, 0
	for _, l := range c.Lines {
		if l.Used || l.Ours {
			used++
		}
		if l.Ours {
			ours++
		}
	}
	return fmt.Sprintf("%s: %s, %d in use, %d of them by this service", name, plural(len(c.Lines), "line"), used, ours)
}

// print prints the chip as pinout does if it is that of a Raspberry Pi's header, and any other as a list.
func (c chipValue) print(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s\n\n", c); err != nil {
		return err
	}
	at, ok := c.onHeader()
	if !ok {
		return printLines(w, c.Lines)
	}
	if err := printHeader(w, at); err != nil {
		return err
	}
	return c.printBeside(w)
}

// printBeside prints what the chip has beside the header's lines, as far as it is in use.
func (c chipValue) printBeside(w io.Writer) error {
	var used []chipLine
	free := 0
	for _, l := range c.Lines {
		switch {
		case l.position() > 0:
		case l.Used || l.Ours:
			used = append(used, l)
		default:
			free++
		}
	}
	if free > 0 {
		fmt.Fprintf(w, "\n%s not on the header and free\n", plural(free, "line"))
	}
	if len(used) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\n%s not on the header and in use:\n\n", plural(len(used), "line"))
	return printLines(w, used)
}

// position returns the line's position on the header, or 0.
func (l chipLine) position() int {
	digits := strings.TrimPrefix(strings.Trim(string(l.Pin), `"`), "pin")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > pinout.Pins {
		return 0
	}
	return n
}

// onHeader returns the lines by their position, and whether all lines of the header are there.
func (c chipValue) onHeader() (at [pinout.Pins + 1]*chipLine, all bool) {
	for i, l := range c.Lines {
		if n := l.position(); n > 0 && at[n] == nil {
			at[n] = &c.Lines[i]
		}
	}
	for n := 1; n <= pinout.Pins; n++ {
		if bcm, _ := pinout.At(n); bcm >= 0 && at[n] == nil {
			return at, false
		}
	}
	return at, true
}

// printHeader prints the header as it lies on the board: odd positions at the left, even ones at the right, each side from its
// edge to the pin.
func printHeader(w io.Writer, at [pinout.Pins + 1]*chipLine) error {
	t := newTable(w, column{head: "IN USE BY"}, column{head: "DIRECTION", whole: true}, column{head: "LINE", right: true}, column{head: "PIN", right: true, whole: true},
		column{head: "PIN", gap: 1, whole: true}, column{head: "LINE"}, column{head: "DIRECTION", whole: true}, column{head: "IN USE BY"})
	t.blank = true
	for n := 1; n < pinout.Pins; n += 2 {
		left, right := headerCells(n, at[n]), headerCells(n+1, at[n+1])
		t.add(left[2], left[1], left[0], strconv.Itoa(n), strconv.Itoa(n+1), right[0], right[1], right[2])
	}
	return t.flush()
}

// headerCells returns what a position of the header is, its direction, and who uses it.
func headerCells(n int, l *chipLine) [3]string {
	bcm, power := pinout.At(n)
	if power != "" || l == nil {
		return [3]string{power, "", ""}
	}
	name := "GPIO" + strconv.Itoa(bcm)
	if l.Name != "" && !strings.EqualFold(l.Name, name) {
		name += " " + brief(l.Name)
	}
	return [3]string{name, l.wiring(), l.user()}
}

// printLines prints lines as a list.
func printLines(w io.Writer, lines []chipLine) error {
	t := newTable(w, column{head: "LINE", whole: true}, column{head: "NAME"}, column{head: "PIN", whole: true}, column{head: "DIRECTION"}, column{head: "IN USE BY"})
	for _, l := range lines {
		pin := ""
		if n := l.position(); n > 0 {
			pin = strconv.Itoa(n)
		}
		t.add(strconv.Itoa(l.Offset), brief(l.Name), pin, l.wiring(), l.user())
	}
	return t.flush()
}

// wiring returns the direction of the line, and its pull where one was asked for.
func (l chipLine) wiring() string {
	if l.Pull == "" {
		return brief(l.Direction)
	}
	return strings.TrimSpace(brief(l.Direction) + " pull " + brief(l.Pull))
}

// user returns the point that the line is, or who else holds it; "" if it is free.
func (l chipLine) user() string {
	switch {
	case l.Path != "":
		return brief(l.Path)
	case l.Consumer != "":
		return brief(l.Consumer)
	case l.Ours:
		return "this service"
	case l.Used:
		return "the kernel"
	}
	return ""
}

// brief returns s safe on a terminal and no longer than any honest name.
func brief(s string) string {
	const most = 64
	return shorten(clean(s), most)
}
