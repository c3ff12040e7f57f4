package agentstest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"rollcall/agents"
)

// Example opens the agent that a factory's example makes, and closes it when the test ends. One that reads what a machine happens to have
// reads a Pi 4: NAME_pi4.txtar in testdata, which is the folder of that name in agents.
func Example(t testing.TB, f agents.Factory, testdata string) agents.Agent {
	t.Helper()
	deps := agents.Deps{Service: f.Name, StateDir: t.TempDir()}
	if archive, err := txtar.ParseFile(filepath.Join(testdata, f.Name+"_pi4.txtar")); err == nil {
		deps.Root = t.TempDir()
		unpack(t, archive, deps.Root)
	}
	o := f.Defaults()
	if err := decode(f.Example, o); err != nil {
		t.Fatalf("example of %s: %v", f.Name, err)
	}
	a, err := f.New(o, deps)
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// unpack makes the tree of an archive, in which the file "links" has a symbolic link a line, and "want" is for its own test.
func unpack(t testing.TB, archive *txtar.Archive, root string) {
	t.Helper()
	at := func(name string) string {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, file := range archive.Files {
		switch file.Name {
		case "want":
		case "links":
			for line := range strings.Lines(string(file.Data)) {
				name, to, _ := strings.Cut(strings.TrimSpace(line), " ")
				if err := os.Symlink(to, at(name)); err != nil {
					t.Fatal(err)
				}
			}
		default:
			if err := os.WriteFile(at(file.Name), file.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
