//go:build !linux

package pwm

import (
	"testing"

	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
)

// benchChips returns the chips to measure on.
func benchChips() []benchChip {
	return []benchChip{{"memory", func(*testing.B) (gpio.Chip, int) { return gpiotest.Sim(), lineOffset }}}
}
