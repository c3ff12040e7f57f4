package trust

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Certificate returns the self-signed certificate of the key. Nobody looks at its dates, names or issuer, only at its key; so
// that a wrong clock is no trouble, it is valid from 2000 to 9999. Its common name is the key's id in hex.
func (k Key) Certificate() (tls.Certificate, error) {
	id := k.Public().ID()
	c := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(append([]byte{1}, id[:]...)),
		Subject:      pkix.Name{CommonName: CommonName(k.Public())},
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.private.Public(), k.private)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k.private}, nil
}

// CommonName returns the common name of the certificate of a key: its id in hex.
func CommonName(p PublicKey) string {
	id := p.ID()
	return hex.EncodeToString(id[:])
}

// CertificatePEM returns the certificate as a PEM file.
func (k Key) CertificatePEM() ([]byte, error) {
	c, err := k.Certificate()
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), nil
}

// PrivatePEM returns the private key as a PEM file of PKCS#8, as OpenSSL reads it.
func (k Key) PrivatePEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// PeerKey returns the key of the other side's certificate.
func PeerKey(s tls.ConnectionState) (PublicKey, error) {
	if len(s.PeerCertificates) == 0 {
		return PublicKey{}, errors.New("no certificate was shown")
	}
	return CertificateKey(s.PeerCertificates[0])
}

// CertificateKey returns the key of a certificate.
func CertificateKey(c *x509.Certificate) (PublicKey, error) {
	key, ok := c.PublicKey.(ed25519.PublicKey)
	if !ok || len(key) != ed25519.PublicKeySize {
		return PublicKey{}, errors.New("certificate is not one of an Ed25519 key")
	}
	return PublicKey{Key: key}, nil
}

// config returns what both sides have in common: TLS 1.3, nothing resumed, and the other side's key judged by check alone.
func (k Key) config(check func(PublicKey) error) (*tls.Config, error) {
	c, err := k.Certificate()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		Certificates:           []tls.Certificate{c},
		GetClientCertificate:   func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil },
		VerifyConnection: func(s tls.ConnectionState) error {
			key, err := PeerKey(s)
			if err != nil {
				return err
			}
			return check(key)
		},
	}, nil
}

// ServerTLS returns the configuration of a host's listener: it lets in whose key check has no error about.
func (k Key) ServerTLS(check func(PublicKey) error) (*tls.Config, error) {
	c, err := k.config(check)
	if err != nil {
		return nil, err
	}
	c.ClientAuth = tls.RequireAnyClientCert
	return c, nil
}

// ClientTLS returns the configuration of an operator's connection to the host with that key, and no other.
func (k Key) ClientTLS(host PublicKey) (*tls.Config, error) {
	c, err := k.config(func(key PublicKey) error {
		if !key.Equal(host) {
			return fmt.Errorf("the broker's key is %s, the host's is %s: somebody may stand between", key.Fingerprint(), host.Fingerprint())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.InsecureSkipVerify = true // the key is pinned: VerifyConnection checks it, with or without authorities
	return c, nil
}
