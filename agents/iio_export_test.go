package agents

import "testing"

// IIORoot makes a fixture tree and returns its root.
func IIORoot(t *testing.T, name string) string { return newIIOTree(t, name).root }
