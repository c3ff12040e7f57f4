package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// Save writes a file so that a power cut at any moment leaves the old content or the new: a temporary file in the same
// folder, write, fsync, rename, fsync of the folder. Mode 0600; missing folders are made with 0750. An error means that the
// old content stands. A symbolic link at path is replaced by the file.
//
// A crash may leave a file named .<name>.*.tmp in the folder; nothing reads it, and Tidy removes it.
func Save(path string, data []byte) error {
	if err := save(osDisk(), path, data); err != nil {
		return fmt.Errorf("save %s: %w", path, err)
	}
	return nil
}

// tempSuffix ends the names of temporary files.
const tempSuffix = ".tmp"

// disk is what save needs of the system, so that tests can have each step fail.
type disk struct {
	mkdirAll func(dir string) error
	create   func(dir, pattern string) (tempFile, error)
	rename   func(from, to string) error
	remove   func(path string) error
	syncDir  func(dir string) error
}

type tempFile interface {
	io.WriteCloser
	Name() string
	Sync() error
}

func osDisk() disk {
	return disk{
		mkdirAll: func(dir string) error { return os.MkdirAll(dir, 0o750) },
		create:   func(dir, pattern string) (tempFile, error) { return os.CreateTemp(dir, pattern) }, // mode 0600
		rename:   os.Rename,
		remove:   os.Remove,
		syncDir:  syncDir,
	}
}

// syncDir makes the names in a folder survive a power cut. Some file systems can't and say EINVAL; Windows has no such call.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err = d.Sync(); errors.Is(err, syscall.EINVAL) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

func save(d disk, path string, data []byte) error {
	dir := filepath.Dir(path)
	old, err := os.ReadFile(path)
	existed := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.makeFolder(dir); err != nil {
		return err
	}
	if err := d.replace(path, data); err != nil {
		return err
	}
	if err := d.syncDir(dir); err != nil {
		return errors.Join(err, d.restore(path, old, existed))
	}
	return nil
}

// makeFolder makes dir and those above it that are missing, and makes their names survive a power cut.
func (d disk) makeFolder(dir string) error {
	var parents []string
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break // anything else that is wrong, mkdirAll says
		}
		parents = append(parents, filepath.Dir(at))
	}
	if err := d.mkdirAll(dir); err != nil {
		return err
	}
	for _, p := range parents {
		if err := d.syncDir(p); err != nil {
			return err
		}
	}
	return nil
}

// replace puts data into place under another name first, and takes that away again if it fails.
func (d disk) replace(path string, data []byte) error {
	f, err := d.create(filepath.Dir(path), "."+filepath.Base(path)+".*"+tempSuffix)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, d.remove(f.Name()))
	}
	return nil
}

// restore undoes a replace.
func (d disk) restore(path string, old []byte, existed bool) error {
	if existed {
		return d.replace(path, old)
	}
	return d.remove(path)
}
