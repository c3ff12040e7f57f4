package trust

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Secrets are what an operator shares with hosts, by the host's public key; see discover.Secret.
type Secrets = map[[ed25519.PublicKeySize]byte][32]byte

// A file of secrets is this line, the operator's public key, and for each host its public key and the secret.
const (
	secretsMagic  = "rollcall pair secrets 1\n"
	secretsHead   = len(secretsMagic) + ed25519.PublicKeySize
	secretsRecord = ed25519.PublicKeySize + 32
)

// LoadSecrets reads the file of secrets of that operator. It is there to save time: one that is not there, of another operator
// or damaged holds none. One that others could read is refused, as a private key is.
func LoadSecrets(path string, operator PublicKey) (Secrets, error) {
	b, err := readOwn(path, 0o077, "chmod 600", int64(secretsHead+maxKnown*secretsRecord))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case len(b) < secretsHead || (len(b)-secretsHead)%secretsRecord != 0 || string(b[:secretsHead]) != secretsMagic+string(operator.Key):
		return nil, nil
	}
	out := make(Secrets, len(b)/secretsRecord)
	for b = b[secretsHead:]; len(b) > 0; b = b[secretsRecord:] {
		out[[ed25519.PublicKeySize]byte(b)] = [32]byte(b[ed25519.PublicKeySize:])
	}
	return out, nil
}

// SaveSecrets replaces the file of secrets of the operator, readable by its owner alone.
func SaveSecrets(path string, operator PublicKey, all Secrets) error {
	if len(all) > maxKnown {
		return fmt.Errorf("save secrets of %d hosts: more than %d", len(all), maxKnown)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make folder of secrets: %w", err)
	}
	b := make([]byte, 0, secretsHead+len(all)*secretsRecord)
	b = append(append(b, secretsMagic...), operator.Key...)
	for host, s := range all {
		b = append(append(b, host[:]...), s[:]...)
	}
	return writeFile(path, b, 0o600)
}
