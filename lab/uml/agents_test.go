//go:build linux

package uml_test

import (
	"testing"

	"rollcall/lab/uml"
)

// TestAgents runs the tests of the agents that need a kernel's devices.
func TestAgents(t *testing.T) {
	t.Parallel()
	uml.RunTests(t, "rollcall/agents", "^TestKernel")
}
