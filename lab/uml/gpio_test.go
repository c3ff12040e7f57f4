//go:build linux

package uml_test

import (
	"testing"

	"rollcall/lab/uml"
)

// TestGPIO runs the tests of package gpio that need a kernel's chips.
func TestGPIO(t *testing.T) {
	t.Parallel()
	uml.RunTests(t, "rollcall/gpio", "^TestKernel")
}
