package discover

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// secret reads n bytes, written in hex, from the file in dir. If there is none it makes it with random bytes: whoever of
// several processes comes first wins, the others read what it wrote, and nobody ever reads half a file.
func secret(dir, name string, n int, mode fs.FileMode) ([]byte, error) {
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = create(dir, path, n, mode); err != nil {
			return nil, err
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s (every daemon of the host must be able to): %w", path, err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(b) != n {
		return nil, fmt.Errorf("read %s: not %d hex digits; remove it to have a new one made", path, 2*n)
	}
	return b, nil
}

// create writes a temporary file and links it to path; a link fails if path has come to be meanwhile, which is fine.
func create(dir, path string, n int, mode fs.FileMode) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make state folder: %w", err)
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // a leftover of this name harms nobody
	b := make([]byte, n)
	rand.Read(b) //nolint:errcheck // never fails, by its documentation
	_, err = f.WriteString(hex.EncodeToString(b) + "\n")
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create %s: %w", path, err)
	}
	return nil
}
