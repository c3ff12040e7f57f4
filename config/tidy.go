package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Tidy removes the temporary files that a crash, or a power cut, in the Save of these files has left beside them. It is for the start of
// a program, while nobody saves them. Folders that are not there have nothing in them.
func Tidy(paths ...string) error {
	var errs []error
	for _, path := range paths {
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("look for what a crash has left of %s: %w", path, err))
		}
		for _, e := range entries {
			if isLeft(e.Name(), filepath.Base(path)) && e.Type().IsRegular() {
				errs = append(errs, os.Remove(filepath.Join(filepath.Dir(path), e.Name())))
			}
		}
	}
	return errors.Join(errs...)
}

// isLeft reports whether a name is one that replace gives a temporary file of the file base: os.CreateTemp puts digits for the star.
func isLeft(name, base string) bool {
	middle, ok := strings.CutPrefix(name, "."+base+".")
	if ok {
		middle, ok = strings.CutSuffix(middle, tempSuffix)
	}
	return ok && middle != "" && strings.Trim(middle, "0123456789") == ""
}
