package trust

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSecrets(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sub", "pair_secrets")
	op, other := newKey(t, "op").Public(), newKey(t, "other").Public()
	load := func(who PublicKey) Secrets {
		t.Helper()
		got, err := LoadSecrets(path, who)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := load(op); len(got) != 0 {
		t.Errorf("a file that is not there holds %d", len(got))
	}
	want := Secrets{{1}: {2}, {3}: {4}}
	if err := SaveSecrets(path, op, want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, load(op)); d != "" {
		t.Error(d)
	}
	if got := load(other); len(got) != 0 {
		t.Errorf("another operator has %d of them", len(got))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, %v", info.Mode(), err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{nil, good[:10], good[:len(good)-1], append([]byte("x"), good...)} {
		write(t, path, string(b), 0o600)
		if got := load(op); len(got) != 0 {
			t.Errorf("a damaged file of %d bytes holds %d", len(b), len(got))
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = LoadSecrets(path, op)
	if _, ok := errors.AsType[*PermissionError](err); !ok || !strings.Contains(err.Error(), "chmod 600 "+path) {
		t.Errorf("file that others can read: %v", err)
	}
}
