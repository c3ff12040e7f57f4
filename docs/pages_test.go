package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rollcall/agents"
	"rollcall/agents/agentstest"
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
	points := agentstest.Example(t, f, "../agents/testdata").Describe().Points
	slices.SortStableFunc(points, func(a, b reports.Point) int { return strings.Compare(a.Path, b.Path) })
	return points
}

// indent puts an example below its name.
func indent(example string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(example) + "\n") {
		b.WriteString("    " + line)
	}
	return b.String()
}
