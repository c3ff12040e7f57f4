package trust

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// newKey makes a key for a test.
func newKey(t testing.TB, comment string) Key {
	t.Helper()
	k, err := NewKey(comment)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func write(t testing.TB, path, text string, mode fs.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

func TestKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "id_ed25519")
	type made struct {
		k     Key
		fresh bool
		err   error
	}
	got := make([]made, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			k, fresh, err := LoadOrMakeKey(path, "me@here")
			got[i] = made{k, fresh, err}
		})
	}
	wg.Wait()
	fresh := 0
	for _, m := range got {
		if m.err != nil {
			t.Fatal(m.err)
		}
		if !m.k.Public().Equal(got[0].k.Public()) {
			t.Error("two programs that start at once have two keys")
		}
		if m.fresh {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d programs say that they made the key, want 1", fresh)
	}
	for file, want := range map[string]fs.FileMode{path: 0o600, path + ".pub": 0o644} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %v", file, info.Mode(), err, want)
		}
	}
	line, err := os.ReadFile(path + ".pub")
	if err != nil || string(line) != got[0].k.Public().String()+"\n" || !strings.HasSuffix(string(line), " me@here\n") {
		t.Errorf("public line is %q, %v", line, err)
	}
}

// TestKeyOthersCanRead holds every mode that lets somebody else see the key.
func TestKeyOthersCanRead(t *testing.T) {
	t.Parallel()
	text := string(newKey(t, "c").marshal())
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666} {
		path := write(t, filepath.Join(t.TempDir(), "key"), text, mode)
		_, err := LoadKey(path)
		if _, ok := errors.AsType[*PermissionError](err); !ok || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("LoadKey with mode %v = %v, want the chmod line", mode, err)
		}
	}
	for _, mode := range []fs.FileMode{0o600, 0o400} {
		if _, err := LoadKey(write(t, filepath.Join(t.TempDir(), "key"), text, mode)); err != nil {
			t.Errorf("LoadKey with mode %v = %v", mode, err)
		}
	}
}

// ssh-keygen reads our keys, and we read its.
func TestKeysAreThoseOfSSH(t *testing.T) {
	t.Parallel()
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("no ssh-keygen on this machine")
	}
	dir := t.TempDir()
	ours := filepath.Join(dir, "ours")
	k, _, err := LoadOrMakeKey(ours, "alice@laptop")
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		out, err := exec.Command(keygen, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("ssh-keygen %q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got, want := run("-y", "-f", ours), k.Public().String(); got != want {
		t.Errorf("ssh-keygen reads %q from our key, want %q", got, want)
	}
	if got := run("-l", "-f", ours+".pub"); !strings.Contains(got, k.Public().Fingerprint()+" alice@laptop") {
		t.Errorf("ssh-keygen -l says %q, we say %s", got, k.Public().Fingerprint())
	}
	theirs := filepath.Join(dir, "theirs")
	run("-q", "-t", "ed25519", "-N", "", "-C", "bob@desk", "-f", theirs)
	k, err = LoadKey(theirs)
	if err != nil || k.Public().String() != run("-y", "-f", theirs) {
		t.Errorf("LoadKey of ssh-keygen's = %v, %v", k.Public(), err)
	}
	for name, want := range map[string][]string{"rsa": {"-t", "rsa", "-b", "2048", "-N", ""}, "locked": {"-t", "ed25519", "-N", "secret"}} {
		run(append([]string{"-q", "-f", filepath.Join(dir, name)}, want...)...)
		if _, err := LoadKey(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), "ssh-keygen") {
			t.Errorf("LoadKey of a key of %s = %v, want what to do", name, err)
		}
	}
}

func TestLoadKeyRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	whole := string(newKey(t, "c").marshal())
	for name, text := range map[string]string{
		"empty": "", "no key": "hello", "cut": whole[:len(whole)/2], "other": strings.ReplaceAll(whole, "OPENSSH", "RSA"),
		"long": whole + strings.Repeat("x", maxKeyFile),
	} {
		if k, err := LoadKey(write(t, filepath.Join(dir, name), text, 0o600)); err == nil {
			t.Errorf("LoadKey of %s = %v, want an error", name, k.Public())
		}
	}
	if _, err := LoadKey(dir); err == nil {
		t.Error("a folder is a key")
	}
	if _, err := LoadKey(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadKey of nothing = %v", err)
	}
}

// Both ends compute the same secret, nobody else does.
func TestShared(t *testing.T) {
	t.Parallel()
	for range 50 {
		a, b, c := newKey(t, "a"), newKey(t, "b"), newKey(t, "c")
		ab, err := a.Shared(b.Public().Key)
		ba, err2 := b.Shared(a.Public().Key)
		cb, err3 := c.Shared(b.Public().Key)
		if err := errors.Join(err, err2, err3); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(ab, ba) || bytes.Equal(ab, cb) {
			t.Errorf("secrets are %x, %x and the stranger's %x", ab, ba, cb)
		}
	}
}

// The X25519 key computed from the public half is the one that belongs to the private half.
func TestMontgomery(t *testing.T) {
	t.Parallel()
	for range 200 {
		k := newKey(t, "")
		s := scalar(k.private)
		private, err := ecdh.X25519().NewPrivateKey(s[:])
		if err != nil {
			t.Fatal(err)
		}
		u, err := Montgomery(k.Public().Key)
		if err != nil || !bytes.Equal(u[:], private.PublicKey().Bytes()) {
			t.Fatalf("Montgomery(%x) = %x, %v, want %x", k.Public().Key, u, err, private.PublicKey().Bytes())
		}
	}
	// The points of small order, from Cremers and Jackson, "Prime, Order Please!", and what is no point at all.
	for _, s := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000", // order 1
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // 2
		"0000000000000000000000000000000000000000000000000000000000000000", // 4
		"0000000000000000000000000000000000000000000000000000000000000080", // 4
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // 8
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85", // 8
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", // 8
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", // 8
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p+1
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"0200000000000000000000000000000000000000000000000000000000000000", // not on the curve
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		if u, err := Montgomery(b); err == nil {
			t.Errorf("Montgomery(%s) = %x, want an error", s, u)
		}
	}
	if _, err := Montgomery(ed25519.PublicKey{1}); err == nil {
		t.Error("a key of one byte is taken")
	}
}

func FuzzParsePrivate(f *testing.F) {
	f.Add(newKey(f, "alice").marshal())
	f.Add([]byte("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := parsePrivate(b)
		if err != nil {
			return
		}
		again, err := parsePrivate(k.marshal())
		if err != nil || again.Public().String() != k.Public().String() {
			t.Errorf("key %v is %v, %v when read again", k.Public(), again.Public(), err)
		}
	})
}

func TestReplace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "dir", "key")
	for range 2 {
		k := newKey(t, "c")
		if err := k.Replace(path); err != nil {
			t.Fatal(err)
		}
		if got, err := LoadKey(path); err != nil || !got.Public().Equal(k.Public()) {
			t.Errorf("LoadKey = %v, %v", got.Public(), err)
		}
	}
}
