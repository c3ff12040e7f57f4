// Package table keeps small tables of keys and values in files of bbolt, so that what was written is there after a crash, a kill or
// a power cut. It opens such a file without trusting what is in it, and moves one that is not sound aside.
package table

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const lockTimeout = 500 * time.Millisecond

// Errors that callers test for.
var (
	ErrCorrupt = errors.New("store is corrupt")
	ErrInUse   = errors.New("in use by another process")
)

// OpenFile opens a file of bbolt, which it makes where there is none. The error is ErrInUse when another process has it, and
// ErrCorrupt when a new file would help.
func OpenFile(path string) (*bbolt.DB, error) {
	var file *os.File // bbolt forgets it when it panics
	opts := &bbolt.Options{Timeout: lockTimeout, NoStatistics: true, OpenFile: func(name string, flag int, mode fs.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag, mode)
		file = f
		return f, err
	}}
	var db *bbolt.DB
	err := Contain(func() (err error) {
		db, err = bbolt.Open(path, 0o600, opts)
		return err
	})
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s is %w", path, ErrInUse)
	case errors.As(err, new(syscall.Errno)):
		return nil, err
	case errors.Is(err, ErrCorrupt): // bbolt has panicked
		_ = file.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return nil, fmt.Errorf("open %s: %w: %w", path, ErrCorrupt, err) // it does not like what is in the file
}

// Contain runs f, which uses a memory-mapped file that may be damaged: bbolt panics, or touches memory that is not there,
// where it trusts what it reads. The error is ErrCorrupt then.
func Contain(f func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, r)
		}
	}()
	return f()
}

// Whole returns ErrCorrupt where the file is shorter than what a transaction sees of it.
func Whole(tx *bbolt.Tx, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return fmt.Errorf("%w: %d of %d bytes are there", ErrCorrupt, info.Size(), tx.Size())
	}
	return nil
}

// Aside moves a file that is not sound out of the way, and returns where it is now.
func Aside(path string) (string, error) {
	aside := path + ".corrupt-" + time.Now().UTC().Format("20060102T150405.000000")
	if err := os.Rename(path, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return aside, nil
}

// Table is a table that is open. One goroutine at a time may use it.
type Table struct {
	db     *bbolt.DB
	bucket []byte
}

// Open opens the table of a name in a file that has no other, and reads it. Check says what is wrong with an entry; a file that
// has such a one, or is damaged, is moved aside, loudly, and a new one made.
func Open(path, name string, check func(key string, value []byte) error, log *slog.Logger) (*Table, map[string][]byte, error) {
	t, all, err := try(path, name, check)
	if !errors.Is(err, ErrCorrupt) {
		return t, all, err
	}
	aside, moved := Aside(path)
	if moved != nil {
		return nil, nil, fmt.Errorf("move corrupt table aside: %w", errors.Join(moved, err))
	}
	log.Error("A TABLE MAY BE LOST: it was corrupt and has been moved aside", "table", name, "file", path, "moved_to", aside, "err", err)
	return try(path, name, check)
}

func try(path, name string, check func(string, []byte) error) (*Table, map[string][]byte, error) {
	db, err := OpenFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("table %s: %w", name, err)
	}
	t := &Table{db: db, bucket: []byte(name)}
	all := map[string][]byte{}
	err = Contain(func() error { return db.View(func(tx *bbolt.Tx) error { return t.read(tx, path, all, check) }) })
	if err != nil {
		return nil, nil, fmt.Errorf("read table %s of %s: %w", name, path, errors.Join(err, t.Close()))
	}
	return t, all, nil
}

func (t *Table) read(tx *bbolt.Tx, path string, all map[string][]byte, check func(string, []byte) error) error {
	if err := Whole(tx, path); err != nil {
		return err
	}
	return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		if !bytes.Equal(name, t.bucket) {
			return fmt.Errorf("%w: bucket %.32q is not ours", ErrCorrupt, name)
		}
		return b.ForEach(func(k, v []byte) error {
			if err := check(string(k), v); err != nil {
				return fmt.Errorf("%w: entry %.40q: %w", ErrCorrupt, k, err)
			}
			all[string(k)] = bytes.Clone(v)
			return nil
		})
	})
}

// Put writes entries in one transaction, all or nothing; one with a nil value is removed. They are on the disk when it returns nil.
func (t *Table) Put(changes map[string][]byte) error {
	err := Contain(func() error {
		return t.db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(t.bucket)
			if err != nil {
				return err
			}
			for k, v := range changes {
				if v == nil {
					err = b.Delete([]byte(k))
				} else {
					err = b.Put([]byte(k), v)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("write table %s: %w", t.bucket, err)
	}
	return nil
}

// Close closes the file.
func (t *Table) Close() error {
	if err := t.db.Close(); err != nil {
		return fmt.Errorf("close table %s: %w", t.bucket, err)
	}
	return nil
}
