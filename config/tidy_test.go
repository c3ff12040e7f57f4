package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What a power cut leaves of a Save is gone after Tidy, and nothing else is.
func TestTidy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.yaml")
	d := osDisk()
	d.rename = func(string, string) error { return errFault }
	d.remove = func(string) error { return errFault } // the power is gone
	for range 2 {
		if err := save(d, path, []byte("new")); !errors.Is(err, errFault) {
			t.Fatal(err)
		}
	}
	kept := []string{"a.yaml", ".a.yaml", ".a.yaml.bak.tmp", ".a.yaml..tmp", ".b.yaml.123.tmp", ".a.yaml.123.tmp.x", "a.yaml.123.tmp"}
	for _, name := range kept {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, ".a.yaml.7.tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if before := listing(t, dir); len(before) != len(kept)+3 {
		t.Fatalf("the power cuts have left %v", before)
	}
	if err := Tidy(path, filepath.Join(dir, "none", "b.yaml")); err != nil {
		t.Fatal(err)
	}
	if got := listing(t, dir); len(got) != len(kept)+1 {
		t.Errorf("left are %v", got)
	}
	if err := Tidy(filepath.Join(path, "x")); err == nil {
		t.Error("a file for a folder is no error")
	}
}
