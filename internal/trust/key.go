package trust

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Key is a private key with its comment.
type Key struct {
	private ed25519.PrivateKey
	comment string
}

// NewKey makes a key.
func NewKey(comment string) (Key, error) {
	if err := checkComment(comment); err != nil {
		return Key{}, err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("make key: %w", err)
	}
	return Key{private, comment}, nil
}

// Public returns the public half.
func (k Key) Public() PublicKey {
	if k.private == nil {
		return PublicKey{}
	}
	return PublicKey{k.private.Public().(ed25519.PublicKey), k.comment}
}

// Private returns the key itself, to sign with.
func (k Key) Private() ed25519.PrivateKey { return k.private }

// Shared returns the secret that only this key and the other, of which the public half is given, can compute: X25519 of the
// two Ed25519 keys (see Montgomery). It is to be hashed before use.
func (k Key) Shared(other ed25519.PublicKey) ([]byte, error) {
	u, err := Montgomery(other)
	if err != nil {
		return nil, err
	}
	public, err := ecdh.X25519().NewPublicKey(u[:])
	if err != nil {
		return nil, err
	}
	s := scalar(k.private)
	private, err := ecdh.X25519().NewPrivateKey(s[:])
	if err != nil {
		return nil, err
	}
	return private.ECDH(public)
}

// maxKeyFile is the size of the largest file that can be a key.
const maxKeyFile = 16 << 10

// LoadKey reads a private key. One that others could read is refused.
func LoadKey(path string) (Key, error) {
	b, err := readOwn(path, 0o077, "chmod 600", maxKeyFile)
	if err != nil {
		return Key{}, err
	}
	k, err := parsePrivate(b)
	if err != nil {
		return Key{}, fmt.Errorf("read key %s: %w", path, err)
	}
	return k, nil
}

// LoadOrMakeKey reads the private key, or makes one if there is none. Whoever of several programs comes first wins, and nobody
// ever reads half a key. fresh is true for who made it.
func LoadOrMakeKey(path, comment string) (k Key, fresh bool, err error) {
	k, err = LoadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, false, err
	}
	made, err := NewKey(comment)
	if err != nil {
		return Key{}, false, err
	}
	err = made.create(path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return Key{}, false, err
	}
	if k, err = LoadKey(path); err != nil {
		return Key{}, false, err
	}
	return k, k.Public().Equal(made.Public()), nil
}

// Replace writes the key over the one at path.
func (k Key) Replace(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make folder of key: %w", err)
	}
	if err := writeFile(path, k.marshal(), 0o600); err != nil {
		return err
	}
	return k.writePublic(path)
}

// create writes a key that is not there yet; fs.ErrExist if somebody was faster.
func (k Key) create(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make folder of key: %w", err)
	}
	tmp, err := writeTemp(path, k.marshal(), 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp) //nolint:errcheck // a leftover of this name harms nobody
	if err := os.Link(tmp, path); err != nil {
		return fmt.Errorf("create key %s: %w", path, err)
	}
	return k.writePublic(path)
}

func (k Key) writePublic(path string) error {
	return writeFile(path+".pub", []byte(k.Public().String()+"\n"), 0o644)
}

// writeFile replaces a file, the old or the new whole.
func writeFile(path string, b []byte, mode fs.FileMode) error {
	tmp, err := writeTemp(path, b, mode)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(tmp))
	}
	return nil
}

// writeTemp writes a file beside path and returns its name.
func writeTemp(path string, b []byte, mode fs.FileMode) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// PermissionError says that a file's mode lets others do what they must not, and how to mend it.
type PermissionError struct {
	Path string
	Mode fs.FileMode
	Mend string // the command
}

// Error returns what is wrong and the command that mends it.
func (e *PermissionError) Error() string {
	return fmt.Sprintf("%s has mode %04o, which is too open: %s", e.Path, e.Mode.Perm(), e.Mend)
}

// readOwn reads a file of at most most bytes that has none of the bits of its mode; mend is what to do about one that has.
func readOwn(path string, bits fs.FileMode, mend string, most int64) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.Mode().Perm()&bits != 0 && ownedModes:
		return nil, &PermissionError{path, info.Mode(), mend + " " + path}
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("read %s: it has more than %d bytes", path, most)
	}
	return b, nil
}

// openRegular opens a file that is none of those which keep their reader waiting.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a file", path)
	}
	return os.Open(path)
}

// ID returns the id of the public half.
func (k Key) ID() ID { return k.Public().ID() }
