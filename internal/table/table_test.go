package table

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func good(_ string, v []byte) error {
	if !bytes.HasPrefix(v, []byte("v")) {
		return errors.New("no v")
	}
	return nil
}

// open opens the table of a test and closes it at its end.
func open(t *testing.T, path string) (*Table, map[string][]byte, string) {
	t.Helper()
	var log bytes.Buffer
	tab, all, err := Open(path, "things", good, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tab.Close() }) // twice is harmless
	return tab, all, log.String()
}

func TestPut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "t.db")
	tab, all, _ := open(t, path)
	if len(all) != 0 {
		t.Errorf("a new table has %q", all)
	}
	for _, changes := range []map[string][]byte{{"a": []byte("v1"), "b": []byte("v2")}, {"a": nil, "c": []byte("v3"), "gone": nil}, {"b": []byte("v4")}} {
		if err := tab.Put(changes); err != nil {
			t.Fatal(err)
		}
	}
	if err := tab.Put(map[string][]byte{"d": []byte("v5"), "": []byte("v")}); err == nil {
		t.Error("an entry without a key is taken")
	}
	if _, _, err := Open(path, "things", good, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrInUse) {
		t.Errorf("the second to open it: %v, want %v", err, ErrInUse)
	}
	if err := tab.Close(); err != nil {
		t.Fatal(err)
	}
	_, all, log := open(t, path)
	if diff := cmp.Diff(all, map[string][]byte{"b": []byte("v4"), "c": []byte("v3")}); diff != "" || log != "" {
		t.Errorf("after a restart (-got +want):\n%s\n%s", diff, log)
	}
}

// A file that is not sound is put aside, whole, and a new one made; one that can't be opened at all is an error.
func TestCorrupt(t *testing.T) {
	t.Parallel()
	whole := filepath.Join(t.TempDir(), "whole.db")
	tab, _, _ := open(t, whole)
	many := map[string][]byte{}
	for i := range 500 {
		many[strings.Repeat("k", i+1)] = []byte("v")
	}
	if err := tab.Put(many); err != nil {
		t.Fatal(err)
	}
	if err := tab.Close(); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	noise := bytes.Clone(sound)
	for i := 2 * os.Getpagesize(); i < len(noise); i++ {
		noise[i] = 0xa5
	}
	for name, doc := range map[string][]byte{"text": []byte("not a database"), "cut": sound[:len(sound)/2], "noise": noise} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "t.db")
			if err := os.WriteFile(path, doc, 0o600); err != nil {
				t.Fatal(err)
			}
			tab, all, log := open(t, path)
			if len(all) != 0 || !strings.Contains(log, "level=ERROR") {
				t.Errorf("it has %d entries; log %q", len(all), log)
			}
			if err := tab.Put(map[string][]byte{"a": []byte("v")}); err != nil {
				t.Error(err)
			}
			aside, err := filepath.Glob(path + ".corrupt-*")
			if err != nil || len(aside) != 1 {
				t.Fatalf("aside: %q, %v", aside, err)
			}
			if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(kept, doc) {
				t.Errorf("the file is not kept as it was: %v", err)
			}
		})
	}
	t.Run("folder", func(t *testing.T) {
		t.Parallel()
		if _, _, err := Open(t.TempDir(), "things", good, slog.New(slog.DiscardHandler)); err == nil || errors.Is(err, ErrCorrupt) {
			t.Errorf("Open of a folder = %v", err)
		}
	})
}

// Another's table, and an entry that Check refuses, are not taken.
func TestForeign(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ bucket, value string }{"bucket": {"others", "v"}, "entry": {"things", "x"}} {
		path := filepath.Join(t.TempDir(), name)
		db, err := OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket([]byte(tt.bucket))
			if err != nil {
				return err
			}
			return b.Put([]byte("k"), []byte(tt.value))
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		if _, all, log := open(t, path); len(all) != 0 || !strings.Contains(log, "moved aside") {
			t.Errorf("%s: %q, log %q", name, all, log)
		}
	}
}
