package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestManual: every command has a page, in which all its flags stand, and neither groff nor mandoc finds a fault in any.
func TestManual(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man1")
	l := newLaptop(t)
	l.want(exitOK, "man", dir)
	a := &app{in: strings.NewReader(""), out: &output{}, err: &output{}}
	root := newRoot(a)
	pages := 0
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		file := filepath.Join(dir, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("%s has no page: %v", cmd.CommandPath(), err)
			return
		}
		pages++
		for _, name := range []string{"json", "to", "broker"} {
			if f := cmd.Flag(name); f != nil && !strings.Contains(string(text), `\-\-`+name) {
				t.Errorf("%s does not tell of --%s", file, name)
			}
		}
		for _, c := range cmd.Commands() {
			if !c.Hidden && c.Name() != "help" {
				check(c)
			}
		}
	}
	check(root)
	files, err := filepath.Glob(dir + "/*.1")
	if err != nil || len(files) != pages || pages < 15 {
		t.Errorf("%d pages of %d commands, %v", len(files), pages, err)
	}
	for _, tool := range [][]string{{"groff", "-man", "-Tutf8", "-wall", "-z"}, {"mandoc", "-Tlint", "-Wwarning"}} {
		if _, err := exec.LookPath(tool[0]); err != nil {
			t.Logf("%s is missing", tool[0])
			continue
		}
		if out, err := exec.Command(tool[0], append(tool[1:], files...)...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v: %s", tool[0], err, out)
		}
	}
}
