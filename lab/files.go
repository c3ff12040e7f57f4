package lab

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Files returns the files below root, each by its path from there with a / before it, in order.
func Files(t testing.TB, root string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, strings.TrimPrefix(path, root))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}
