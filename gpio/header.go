package gpio

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rollcall/config"
	"rollcall/gpio/pinout"
)

// maxPin is longer than any name of a line; the kernel keeps 31 bytes.
const maxPin = 64

// Find returns the offset of the line that pin names: an offset "25", the kernel's name of a line "GPIO25" or "SDA1", or a header
// position "pin22" or "J8p22" of a 40-pin Raspberry Pi header. Letters may be large or small. A name of the kernel goes before
// what it could mean otherwise.
func (c ChipInfo) Find(pin string) (int, error) {
	if len(pin) > maxPin {
		return 0, fmt.Errorf("pin %q…: longer than the name of any line", pin[:maxPin])
	}
	name := strings.TrimSpace(pin)
	if name == "" {
		return 0, fmt.Errorf("pin %q: is empty; %s", pin, c.forms())
	}
	if digits(name) {
		return c.findOffset(name)
	}
	if offset, ok, err := c.findName(name); ok || err != nil {
		return offset, err
	}
	if position, ok := cutNumber(name, "pin", "J8p"); ok {
		return c.findPosition(name, position)
	}
	if bcm, ok := cutNumber(name, "GPIO"); ok && c.isPi() && c.has(bcm) {
		return bcm, nil
	}
	return 0, fmt.Errorf("pin %q: %s has no such line%s", name, c, c.hint(name))
}

func (c ChipInfo) findOffset(name string) (int, error) {
	offset, err := strconv.Atoi(name)
	if err != nil || !c.has(offset) {
		return 0, fmt.Errorf("pin %q: %s", name, c.rangeOf())
	}
	return offset, nil
}

// findName looks for the kernel's names: first as it is written, then without regard to case. Names need not be unique.
func (c ChipInfo) findName(name string) (offset int, ok bool, err error) {
	for _, same := range []func(a, b string) bool{func(a, b string) bool { return a == b }, strings.EqualFold} {
		var offsets []int
		for _, l := range c.Lines {
			if same(l.Name, name) {
				offsets = append(offsets, l.Offset)
			}
		}
		if len(offsets) > 1 {
			return 0, false, fmt.Errorf("pin %q: the lines %d and %d of %s have this name; give the offset", name, offsets[0], offsets[1], c)
		}
		if len(offsets) == 1 {
			return offsets[0], true, nil
		}
	}
	return 0, false, nil
}

// findPosition finds the line at a position of the header.
func (c ChipInfo) findPosition(name string, position int) (int, error) {
	bcm, power := pinout.At(position)
	switch power {
	case "":
	case "ground":
		return 0, fmt.Errorf("pin %q: is ground, not a line", name)
	default:
		return 0, fmt.Errorf("pin %q: is %s power, not a line", name, power)
	}
	if bcm < 0 {
		return 0, fmt.Errorf("pin %q: the header has the positions 1 to %d", name, pinout.Pins)
	}
	line := "GPIO" + strconv.Itoa(bcm)
	if offset, ok, err := c.findName(line); ok || err != nil {
		return offset, err
	}
	if offset, ok := c.findBCM(bcm); ok {
		return offset, nil
	}
	return 0, fmt.Errorf("pin %q: is %s on the header of a Raspberry Pi, but %s has no line of that name", name, line, c)
}

// findBCM finds the line that Broadcom's number of it names.
func (c ChipInfo) findBCM(bcm int) (offset int, ok bool) {
	if offset, ok, err := c.findName("GPIO" + strconv.Itoa(bcm)); ok || err != nil {
		return offset, ok
	}
	return bcm, c.isPi() && c.has(bcm)
}

// isPi tells whether the chip is the bank of a Raspberry Pi, where the number of a line is its offset. Kernels that are not
// Raspberry Pi's own name its lines by their function (SDA1), not by their number.
func (c ChipInfo) isPi() bool { return slices.Contains(HeaderLabels(), c.Label) }

func (c ChipInfo) has(offset int) bool { return offset >= 0 && offset < len(c.Lines) }

// String returns the chip's name, and its label if that is another.
func (c ChipInfo) String() string {
	if c.Label == "" || c.Label == c.Name {
		return c.Name
	}
	return c.Name + " (" + c.Label + ")"
}

func (c ChipInfo) rangeOf() string {
	if len(c.Lines) == 0 {
		return c.String() + " has no lines"
	}
	return fmt.Sprintf("%s has the lines 0 to %d", c, len(c.Lines)-1)
}

func (c ChipInfo) forms() string {
	return "give an offset (25), the name of a line (GPIO25) or a header position (pin22)"
}

// hint says which names are near, or which forms a pin has.
func (c ChipInfo) hint(name string) string {
	const near, most = 2, 3 // edits; names
	var names []string
	for want := 1; want <= near && len(names) == 0; want++ {
		for _, l := range c.Lines {
			if l.Name != "" && len(names) < most && config.EditDistance(strings.ToLower(l.Name), strings.ToLower(name)) == want {
				names = append(names, l.Name)
			}
		}
	}
	if len(names) == 0 {
		return "; " + c.forms()
	}
	return "; near it are " + strings.Join(names, ", ")
}

// cutNumber returns the number after one of the prefixes, whose case does not matter.
func cutNumber(s string, prefixes ...string) (int, bool) {
	for _, p := range prefixes {
		if len(s) > len(p) && strings.EqualFold(s[:len(p)], p) && digits(s[len(p):]) {
			n, err := strconv.Atoi(s[len(p):])
			return n, err == nil
		}
	}
	return 0, false
}

// digits tells whether s is a decimal number without a sign.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
