package gpio_test

import (
	"fmt"
	"strings"
	"testing"

	"rollcall/gpio"
)

// TestFindBoard has the spellings of the firmware, which ends them with a NUL, and of Linux's own device trees.
func TestFindBoard(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ model, want string }{
		{"Raspberry Pi Zero Rev 1.3\x00", "pinctrl-bcm2835"},
		{"Raspberry Pi Zero W Rev 1.1\x00", "pinctrl-bcm2835"},
		{"Raspberry Pi Zero 2 W Rev 1.0\x00", "pinctrl-bcm2835"},
		{"Raspberry Pi Model B Plus Rev 1.2", "pinctrl-bcm2835"},
		{"Raspberry Pi Model B rev2", "pinctrl-bcm2835"},
		{"Raspberry Pi 2 Model B", "pinctrl-bcm2835"},
		{"Raspberry Pi 3 Model A+", "pinctrl-bcm2835"},
		{"Raspberry Pi 3 Model B Plus Rev 1.3\x00", "pinctrl-bcm2835"},
		{"Raspberry Pi Compute Module 3 Plus Rev 1.0", "pinctrl-bcm2835"},
		{"Raspberry Pi Compute Module IO board rev1", "pinctrl-bcm2835"},
		{"Raspberry Pi 4 Model B Rev 1.4\x00", "pinctrl-bcm2711"},
		{"Raspberry Pi 400 Rev 1.0\x00", "pinctrl-bcm2711"},
		{"Raspberry Pi Compute Module 4 Rev 1.0\n", "pinctrl-bcm2711"},
		{"Raspberry Pi Compute Module 4 IO Board", "pinctrl-bcm2711"},
		{"Raspberry Pi 5 Model B Rev 1.0\x00", "pinctrl-rp1"},
		{"Raspberry Pi 500 Rev 1.0\x00", "pinctrl-rp1"},
		{"Raspberry Pi Compute Module 5 Rev 1.0", "pinctrl-rp1"},
		{"Raspberry Pi 50", ""},
		{"BeagleBone Black", ""},
		{"", ""},
	} {
		b, ok := gpio.FindBoard(test.model)
		if b.Label != test.want || ok != (test.want != "") {
			t.Errorf("FindBoard(%q) = %+v, %t, want label %q", test.model, b, ok, test.want)
		}
	}
}

// TestBoards wants no row that another one hides, and every one to name a chip that Find knows as a Raspberry Pi's.
func TestBoards(t *testing.T) {
	t.Parallel()
	boards := gpio.Boards()
	for i, b := range boards {
		if found, ok := gpio.FindBoard(b.Model + " Rev 1.0"); !ok || found != b {
			t.Errorf("FindBoard(%q) = %+v, want %+v", b.Model, found, b)
		}
		for _, earlier := range boards[:i] {
			if strings.HasPrefix(b.Model, earlier.Model+" ") {
				t.Errorf("%q is hidden by %q", b.Model, earlier.Model)
			}
		}
		nameless := gpio.ChipInfo{Label: b.Label, Lines: make([]gpio.LineInfo, b.Lines)}
		if offset, err := nameless.Find("pin22"); err != nil || offset != 25 {
			t.Errorf("%s: Find(pin22) = %d, %v, want 25", b.Label, offset, err)
		}
		if !nameless.IsHeader() {
			t.Errorf("%s: is not a header's chip", b.Label)
		}
	}
	if got, want := fmt.Sprint(gpio.HeaderLabels()), "[pinctrl-rp1 pinctrl-bcm2711 pinctrl-bcm2835]"; got != want {
		t.Errorf("HeaderLabels() = %s, want %s", got, want)
	}
}

// TestHeaderPin wants it to be what Find is, the other way round.
func TestHeaderPin(t *testing.T) {
	t.Parallel()
	for _, c := range []gpio.ChipInfo{
		numbered("pinctrl-bcm2711", 58), numbered("sim", 28), mainline(), named("ft232h", "ADBUS0", "", "GPIO25", "GPIO2", "GPIO4", "GPIO4"), {}} {
		want := map[int]int{}
		for n := 1; n <= 40; n++ {
			if offset, err := c.Find(fmt.Sprintf("pin%d", n)); err == nil {
				want[offset] = n
			}
		}
		for offset := -1; offset < len(c.Lines)+2; offset++ {
			if got := c.HeaderPin(offset); got != want[offset] {
				t.Errorf("%s: HeaderPin(%d) = %d, want %d", c, offset, got, want[offset])
			}
		}
	}
}

func TestIsHeader(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		chip gpio.ChipInfo
		want bool
	}{
		{numbered("pinctrl-rp1", 54), true}, {numbered("sim", 28), true}, {numbered("sim", 27), false},
		{mainline(), false}, {named("raspberrypi-exp-gpio", "BT_ON", "WL_ON"), false}, {gpio.ChipInfo{}, false},
	} {
		if got := test.chip.IsHeader(); got != test.want {
			t.Errorf("%s with %d lines: IsHeader() = %t, want %t", test.chip, len(test.chip.Lines), got, test.want)
		}
	}
}
