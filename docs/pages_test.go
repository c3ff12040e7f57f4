package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"rollcall/agents"
	"rollcall/config"
	"rollcall/reports"
	"rollcall/reports/markdown"
)

// TestAgentPages compares docs/agents with what the agents say of themselves.
func TestAgentPages(t *testing.T) {
	if *update {
		if err := os.MkdirAll("agents", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]bool{}
	for _, f := range agents.All() {
		path := filepath.Join("agents", f.Name+".md")
		want[path] = true
		page := agentPage(t, f)
		if *update {
			if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != page {
			t.Errorf("docs/%s is not what the agent says: run make docs (%v)", path, err)
		}
	}
	pages, err := filepath.Glob("agents/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pages {
		if !want[path] {
			t.Errorf("docs/%s is of no agent: remove it", path)
		}
	}
}

// agentPage makes the page of an agent: what it is for, how it is wired, its options, an example, and the points that the example
// has.
func agentPage(t *testing.T, f agents.Factory) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\nThis page is generated (`make docs`).\n\n", f.Name, f.Doc)
	if f.Wiring != "" {
		fmt.Fprintf(&b, "## Wiring\n\n%s\n\n", strings.TrimSpace(f.Wiring))
	}
	b.WriteString("## Options\n\nBelow `agents: " + f.Name + ":` in the host's file, beside those of [every agent](../configuration.md#agents):\n\n")
	keyTable(&b, config.Keys("", f.Defaults()))
	if f.Example != "" {
		fmt.Fprintf(&b, "## Example\n\n```yaml\nagents:\n  %s:\n%s```\n\n", f.Name, indent(f.Example))
	}
	b.WriteString("## Points of the example\n\n")
	markdown.Points(&b, examplePoints(t, f), nil)
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// examplePoints returns the points of the agent that the example makes. One that reads what a machine happens to have reads a Pi 4.
func examplePoints(t *testing.T, f agents.Factory) []reports.Point {
	t.Helper()
	deps := agents.Deps{Service: f.Name, StateDir: t.TempDir()}
	if archive, err := txtar.ParseFile(filepath.Join("../agents/testdata", f.Name+"_pi4.txtar")); err == nil {
		deps.Root = t.TempDir()
		unpack(t, archive, deps.Root)
	}
	o := f.Defaults()
	node, err := config.ParseNode("example", []byte(f.Example))
	if err == nil {
		err = node.Decode(o)
	}
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.New(o, deps)
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	points := a.Describe().Points
	slices.SortStableFunc(points, func(a, b reports.Point) int { return strings.Compare(a.Path, b.Path) })
	return points
}

// unpack makes the tree of an archive, in which the file "links" has a symbolic link a line, and "want" is for its own test.
func unpack(t *testing.T, archive *txtar.Archive, root string) {
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

// indent puts an example below its name.
func indent(example string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(example) + "\n") {
		b.WriteString("    " + line)
	}
	return b.String()
}
