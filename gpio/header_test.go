package gpio_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/warthog618/gpiod/device/rpi"

	"rollcall/gpio"
)

// named returns a chip whose lines have these names.
func named(label string, names ...string) gpio.ChipInfo {
	c := gpio.ChipInfo{Name: "gpiochip0", Label: label}
	for i, n := range names {
		c.Lines = append(c.Lines, gpio.LineInfo{Offset: i, Name: n})
	}
	return c
}

// numbered returns a chip with lines GPIO0 and so on.
func numbered(label string, lines int) gpio.ChipInfo {
	names := make([]string, lines)
	for i := range names {
		names[i] = fmt.Sprintf("GPIO%d", i)
	}
	return named(label, names...)
}

// mainline names its lines as the device tree of Linux itself does for a Raspberry Pi, which Debian's kernel has.
func mainline() gpio.ChipInfo {
	return named("pinctrl-bcm2835", "ID_SDA", "ID_SCL", "SDA1", "SCL1", "GPIO_GCLK", "GPIO5", "GPIO6", "SPI_CE1_N",
		"SPI_CE0_N", "SPI_MISO", "SPI_MOSI", "SPI_SCLK", "GPIO12", "GPIO13", "TXD1", "RXD1", "GPIO16", "GPIO17")
}

func TestFind(t *testing.T) {
	t.Parallel()
	pi := numbered("pinctrl-bcm2711", 28)
	other := named("ft232h", "ADBUS0", "", "ADBUS2", "GPIO25", "led", "LED", "pin7", "Led")
	for _, test := range []struct {
		chip gpio.ChipInfo
		pin  string
		want int
	}{
		{pi, "25", 25}, {pi, "0", 0}, {pi, "27", 27}, {pi, "007", 7},
		{pi, "GPIO25", 25}, {pi, "gpio25", 25}, {pi, " GPIO0 ", 0},
		{pi, "pin22", 25}, {pi, "PIN3", 2}, {pi, "j8P40", 21}, {pi, "J8p27", 0},
		{mainline(), "GPIO2", 2}, {mainline(), "sda1", 2}, {mainline(), "pin3", 2}, {mainline(), "pin11", 17}, {mainline(), "GPIO_GCLK", 4},
		{other, "ADBUS2", 2}, {other, "pin7", 6}, {other, "pin22", 3}, {other, "led", 4}, {other, "LED", 5},
	} {
		got, err := test.chip.Find(test.pin)
		if err != nil || got != test.want {
			t.Errorf("%s: Find(%q) = %d, %v, want %d", test.chip.Label, test.pin, got, err, test.want)
		}
	}
}

func TestFindErrors(t *testing.T) {
	t.Parallel()
	pi := numbered("pinctrl-bcm2835", 28)
	other := named("ft232h", "ADBUS0", "ADBUS1", "led", "LED", "Led", "", "")
	for _, test := range []struct {
		chip gpio.ChipInfo
		pin  string
		want string
	}{
		{pi, "", `pin "": is empty; give an offset (25), the name of a line (GPIO25) or a header position (pin22)`},
		{pi, " \t", `is empty`},
		{pi, "28", `pin "28": gpiochip0 (pinctrl-bcm2835) has the lines 0 to 27`},
		{pi, "99999999999999999999", `has the lines 0 to 27`},
		{pi, "-1", `has no such line`},
		{pi, "+1", `has no such line`},
		{pi, "0x11", `has no such line`},
		{pi, "GPIO28", `pin "GPIO28": gpiochip0 (pinctrl-bcm2835) has no such line; near it are GPIO2, GPIO8, GPIO18`},
		{pi, "GPIO", `near it are GPIO0, GPIO1, GPIO2`},
		{pi, "GIPO17", `near it are GPIO1`},
		{pi, "buzzer", `has no such line; give an offset (25)`},
		{pi, "pin1", `pin "pin1": is 3.3 V power, not a line`},
		{pi, "pin17", `is 3.3 V power, not a line`},
		{pi, "pin2", `is 5 V power, not a line`},
		{pi, "J8p4", `is 5 V power, not a line`},
		{pi, "pin6", `is ground, not a line`},
		{pi, "pin0", `the header has the positions 1 to 40`},
		{pi, "pin41", `the header has the positions 1 to 40`},
		{other, "pin22", `is GPIO25 on the header of a Raspberry Pi, but gpiochip0 (ft232h) has no line of that name`},
		{other, "GPIO1", `has no such line`},
		{other, "lED", `the lines 2 and 3 of gpiochip0 (ft232h) have this name; give the offset`},
		{other, "adbus9", `near it are ADBUS0, ADBUS1`},
		{gpio.ChipInfo{Name: "none"}, "0", `pin "0": none has no lines`},
		{pi, strings.Repeat("x", 1<<20), `longer than the name of any line`},
	} {
		got, err := test.chip.Find(test.pin)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Find(%.40q) = %d, %v, want error %q", test.chip.Label, test.pin, got, err, test.want)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("Find(%.40q): error of %d bytes", test.pin, len(err.Error()))
		}
	}
}

// TestHeader compares the table of the header with gpiod's own, which is another one's work.
func TestHeader(t *testing.T) {
	t.Parallel()
	chip := numbered("pinctrl-bcm2835", 28)
	lines := 0
	for position := range 42 {
		want, wantErr := rpi.Pin(fmt.Sprintf("J8p%d", position))
		got, err := chip.Find(fmt.Sprintf("pin%d", position))
		if (err == nil) != (wantErr == nil) || err == nil && got != want {
			t.Errorf("pin%d = %d, %v; gpiod has %d, %v", position, got, err, want, wantErr)
		}
		if err == nil {
			lines++
		}
	}
	if lines != 28 {
		t.Errorf("the header has %d lines, want 28", lines)
	}
}

func FuzzFind(f *testing.F) {
	for _, pin := range []string{"", "25", "-1", "GPIO25", "pin22", "J8p1", "pin", "gpio", "GPIO_GCLK", "99999999999999999999", "é", "\xff", "pin\x00"} {
		f.Add(pin)
	}
	f.Fuzz(func(t *testing.T, pin string) {
		for _, c := range []gpio.ChipInfo{numbered("pinctrl-bcm2835", 28), mainline(), named("x", "", "A", "a", "A"), {},
			named("pinctrl-rp1", "GPIO1", pin), named(pin, pin, "", strings.ToUpper(pin), "GPIO3", "gpio3")} {
			offset, err := c.Find(pin)
			if err != nil {
				if err.Error() == "" || offset != 0 {
					t.Errorf("Find(%q) = %d, %q, want 0 and a reason", pin, offset, err)
				}
				continue
			}
			if offset < 0 || offset >= len(c.Lines) {
				t.Errorf("Find(%q) = %d, of %d lines", pin, offset, len(c.Lines))
			}
			if again, err := c.Find(strconv.Itoa(offset)); err != nil || again != offset {
				t.Errorf("Find(%d) = %d, %v", offset, again, err)
			}
			if n := c.HeaderPin(offset); n > 0 && !strings.HasPrefix(strings.ToLower(strings.TrimSpace(pin)), "j8p") { // which could be a line's name here
				if again, err := c.Find(fmt.Sprintf("J8p%d", n)); err != nil || again != offset {
					t.Errorf("%s: HeaderPin(%d) = %d, where Find finds %d, %v", c, offset, n, again, err)
				}
			}
		}
	})
}
