package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestNamedTests: the tests that a page names are there.
func TestNamedTests(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	for _, pattern := range []string{"../*/*_test.go", "../*/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range declared.FindAllSubmatch(text, -1) {
				there[string(m[1])] = true
			}
		}
	}
	page, err := os.ReadFile("trust.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w+)`").FindAllSubmatch(page, -1)
	if len(named) < 30 {
		t.Errorf("trust.md names %d tests: the table of attacks is not read", len(named))
	}
	for _, m := range named {
		if !there[string(m[1])] {
			t.Errorf("trust.md names %s, which is no test", m[1])
		}
	}
}
