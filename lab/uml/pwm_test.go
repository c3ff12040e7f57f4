//go:build linux

package uml_test

import (
	"testing"

	"rollcall/lab/uml"
)

// TestPWM runs the tests of package pwm that need a kernel's chips.
func TestPWM(t *testing.T) {
	t.Parallel()
	uml.RunTests(t, "rollcall/gpio/pwm", "^TestKernel")
}
