package pinout_test

import (
	"testing"

	"rollcall/gpio/pinout"
)

func TestHeader(t *testing.T) {
	t.Parallel()
	lines := map[int]bool{}
	powers := map[string]int{}
	for n := 1; n <= pinout.Pins; n++ {
		bcm, power := pinout.At(n)
		if (bcm < 0) != (power != "") {
			t.Errorf("position %d is %d, %q", n, bcm, power)
		}
		powers[power]++
		if bcm >= 0 {
			if lines[bcm] || pinout.Position(bcm) != n {
				t.Errorf("line %d is at %d and at %d", bcm, n, pinout.Position(bcm))
			}
			lines[bcm] = true
		}
	}
	if len(lines) != 28 || powers["3.3 V"] != 2 || powers["5 V"] != 2 || powers["ground"] != 8 {
		t.Errorf("the header has %d lines and %v, want GPIO0 to GPIO27, 2 × 3.3 V, 2 × 5 V, 8 × ground", len(lines), powers)
	}
	for _, n := range []int{-1, 0, 41} {
		if bcm, power := pinout.At(n); bcm != -1 || power != "" {
			t.Errorf("position %d is %d, %q", n, bcm, power)
		}
	}
	for _, bcm := range []int{-1, 28, 1000} {
		if at := pinout.Position(bcm); at != 0 {
			t.Errorf("line %d is at %d, want nowhere", bcm, at)
		}
	}
}
