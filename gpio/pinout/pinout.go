// Package pinout is the 40-pin header of a Raspberry Pi as a table. It is apart from package gpio so that a laptop can print the
// header without the kernel's interfaces.
package pinout

import "slices"

// Positions of the 40-pin header that are no lines.
const (
	power3V3 = -1 - iota
	power5V
	ground
)

// header is the 40-pin header of a Raspberry Pi: which BCM line is at a position, or what else. Position 1 is the first entry.
// Source: Raspberry Pi documentation, "GPIO and the 40-pin header",
// https://www.raspberrypi.com/documentation/computers/raspberry-pi.html#gpio, and the schematics of the Pi 4 (J8).
func header() [Pins]int {
	return [Pins]int{
		power3V3, power5V,
		2, power5V,
		3, ground,
		4, 14,
		ground, 15,
		17, 18,
		27, ground,
		22, 23,
		power3V3, 24,
		10, ground,
		9, 25,
		11, 8,
		ground, 7,
		0, 1, // ID_SD and ID_SC, for the EEPROM of a HAT
		5, ground,
		6, 12,
		13, ground,
		19, 16,
		26, 20,
		ground, 21,
	}
}

// At returns what is at a position of the 40-pin header of a Raspberry Pi, from 1: Broadcom's number of the line, which is
// its offset on the header's chip; or, with bcm -1, the power: "3.3 V", "5 V" or "ground".
func At(position int) (bcm int, power string) {
	pins := header()
	if position < 1 || position > len(pins) {
		return -1, ""
	}
	switch bcm := pins[position-1]; bcm {
	case power3V3:
		return -1, "3.3 V"
	case power5V:
		return -1, "5 V"
	case ground:
		return -1, "ground"
	default:
		return bcm, ""
	}
}

// Pins is how many positions the header has.
const Pins = 40

// Position returns where Broadcom's line is on the header, from 1, or 0 if it is not there.
func Position(bcm int) int {
	if bcm < 0 {
		return 0
	}
	pins := header()
	return slices.Index(pins[:], bcm) + 1
}
