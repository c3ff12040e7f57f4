package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestGPIOTable compares the table in gpio.md with the features that agents' tests run on both chips.
func TestGPIOTable(t *testing.T) {
	const begin, end = "| feature | chip in memory | gpio-sim in a kernel |\n|---|---|---|\n", "\n\n"
	doc, err := os.ReadFile("gpio.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(doc), begin)
	if !found {
		t.Fatal("gpio.md has no table of features")
	}
	table, after, _ := strings.Cut(rest, end)
	var want []string
	for _, f := range features(t) {
		kernel := "yes"
		if f.notOnKernel != "" {
			kernel = "no: " + f.notOnKernel
		}
		want = append(want, fmt.Sprintf("| %s | yes | %s |", f.name, kernel))
	}
	if got := strings.TrimSpace(table); got == strings.Join(want, "\n") {
		return
	}
	if !*update {
		t.Fatal("the table of features in gpio.md is not that of agents/features_gpio_*_test.go: run make docs")
	}
	if err := os.WriteFile("gpio.md", []byte(before+begin+strings.Join(want, "\n")+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

type feature struct{ name, notOnKernel string }

// features reads the rows of gpioFeatures from the source: a test of another package can't be imported.
func features(t *testing.T) (out []feature) {
	t.Helper()
	files, err := filepath.Glob("../agents/features_gpio_*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		rows := featuresOf(t, file)
		if len(rows) == 0 {
			t.Errorf("no features found in %s", file)
		}
		out = append(out, rows...)
	}
	return out
}

func featuresOf(t *testing.T, path string) (out []feature) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	text := func(e ast.Expr) string {
		lit, ok := e.(*ast.BasicLit)
		if !ok {
			return ""
		}
		s, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ast.Inspect(file, func(n ast.Node) bool {
		list, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		if array, ok := list.Type.(*ast.ArrayType); !ok || fmt.Sprint(array.Elt) != "gpioFeature" {
			return true
		}
		for _, row := range list.Elts {
			cells := row.(*ast.CompositeLit).Elts
			out = append(out, feature{name: text(cells[0]), notOnKernel: text(cells[1])})
		}
		return false
	})
	return out
}
