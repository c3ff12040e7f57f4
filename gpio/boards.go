package gpio

import (
	"slices"
	"strings"

	"rollcall/gpio/pinout"
)

// Board is a kind of Raspberry Pi, and the chip that its header is wired to.
type Board struct {
	Model string // how the kernel's name of such a board begins, in /proc/device-tree/model
	Label string // of the header's chip
	Lines int    // of that chip; the header has the first 28 of them
	Names string // which gpiochip it has been, by kernel
}

// Boards returns the Raspberry Pis, the longer Model before the shorter one that it begins with.
//
// Labels and lines: Linux, drivers/pinctrl/bcm/pinctrl-bcm2835.c (BCM2835_NUM_GPIOS 54, of the BCM2835 to the BCM2837 and the RP3A0
// of the Zero 2; bcm2711_gpio_chip, BCM2711_NUM_GPIOS 58, whose own label came after the first Pi 4: kernels before 5.7 say
// pinctrl-bcm2835 there too), and of the Pi 5 drivers/pinctrl/pinctrl-rp1.c of Raspberry Pi's kernel (RP1_NUM_GPIOS 54).
// Models: arch/arm/boot/dts/bcm28*-rpi-*.dts and bcm2711-rpi-*.dts, which the firmware replaces by its own spelling ("Raspberry Pi
// 3 Model B Plus Rev 1.3"). Names: the chip of the SoC is the first to be probed but on a Pi 5, where those of the BCM2712 itself
// went first until Raspberry Pi's kernel gave RP1 the number 0 by an alias; Raspberry Pi OS links gpiochip4 to it since.
func Boards() []Board {
	const bcm2835, bcm2711, rp1 = "pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1"
	const first, moved = "gpiochip0", "gpiochip4, now gpiochip0"
	return []Board{
		{"Raspberry Pi Compute Module 5", rp1, 54, moved},
		{"Raspberry Pi 500", rp1, 54, moved},
		{"Raspberry Pi 5", rp1, 54, moved},
		{"Raspberry Pi Compute Module 4", bcm2711, 58, first},
		{"Raspberry Pi 400", bcm2711, 58, first},
		{"Raspberry Pi 4", bcm2711, 58, first},
		{"Raspberry Pi Zero 2 W", bcm2835, 54, first},
		{"Raspberry Pi Zero", bcm2835, 54, first},
		{"Raspberry Pi Compute Module", bcm2835, 54, first},
		{"Raspberry Pi 3", bcm2835, 54, first},
		{"Raspberry Pi 2", bcm2835, 54, first},
		{"Raspberry Pi Model", bcm2835, 54, first},
	}
}

// FindBoard returns the kind of board that the kernel calls model.
func FindBoard(model string) (Board, bool) {
	model = strings.TrimRight(model, "\x00\n ")
	for _, b := range Boards() {
		if rest, ok := strings.CutPrefix(model, b.Model); ok && (rest == "" || rest[0] == ' ') {
			return b, true
		}
	}
	return Board{}, false
}

// HeaderLabels returns the labels that the chip of a Raspberry Pi's header may have, the newest first: a Pi 5 has its header on
// RP1 whatever else it may have.
func HeaderLabels() []string {
	var labels []string
	for _, b := range Boards() {
		if !slices.Contains(labels, b.Label) {
			labels = append(labels, b.Label)
		}
	}
	return labels
}

// HeaderPin returns the position of a line on the 40-pin header of a Raspberry Pi, or 0 for one that is not there. Find finds the
// line at that position.
func (c ChipInfo) HeaderPin(offset int) int {
	if !c.has(offset) {
		return 0
	}
	candidates := []int{offset}
	if bcm, ok := cutNumber(c.Lines[offset].Name, "GPIO"); ok {
		candidates = append(candidates, bcm)
	}
	for _, bcm := range candidates {
		if at, ok := c.findBCM(bcm); ok && at == offset {
			return pinout.Position(bcm)
		}
	}
	return 0
}

// IsHeader tells whether the chip has all lines of a Raspberry Pi's header.
func (c ChipInfo) IsHeader() bool {
	for position := 1; position <= pinout.Pins; position++ {
		bcm, _ := pinout.At(position)
		if _, ok := c.findBCM(bcm); bcm >= 0 && !ok {
			return false
		}
	}
	return true
}
