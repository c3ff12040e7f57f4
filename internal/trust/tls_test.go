package trust

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// meet has a client and a server shake hands and exchange a byte; it returns what each side says of it.
func meet(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for _, c := range []net.Conn{a, b} {
		if err := c.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		_, err := io.ReadFull(s, make([]byte, 1))
		if err == nil {
			_, err = s.Write([]byte{1})
		}
		_ = a.Close()
		done <- err
	}()
	c := tls.Client(b, client)
	_, clientErr = c.Write([]byte{1})
	if clientErr == nil {
		_, clientErr = io.ReadFull(c, make([]byte, 1))
	}
	_ = b.Close()
	return <-done, clientErr
}

func TestTLS(t *testing.T) {
	t.Parallel()
	host, operator, stranger := newKey(t, "host"), newKey(t, "op"), newKey(t, "stranger")
	errNo := errors.New("not authorized")
	server, err := host.ServerTLS(func(k PublicKey) error {
		if !k.Equal(operator.Public()) {
			return errNo
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	client := func(k Key, pinned Key) *tls.Config {
		c, err := k.ClientTLS(pinned.Public())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := client(operator, host)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	bare := client(operator, host)
	bare.Certificates, bare.GetClientCertificate = nil, nil
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, rsaKey.Public(), rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	other := client(operator, host)
	other.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: rsaKey}, nil
	}
	for name, tt := range map[string]struct {
		client                 *tls.Config
		serverWant, clientWant string // "" for none
	}{
		"both known":          {client(operator, host), "", ""},
		"unknown operator":    {client(stranger, host), "not authorized", "bad certificate"},
		"another host":        {client(operator, stranger), "bad certificate", "somebody may stand between"},
		"TLS 1.2":             {old, "unsupported versions", "protocol version"},
		"no certificate":      {bare, "didn't provide a certificate", "certificate required"},
		"another kind of key": {other, "not one of an Ed25519 key", "bad certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			serverErr, clientErr := meet(t, server, tt.client)
			for _, got := range []struct {
				err  error
				want string
			}{{serverErr, tt.serverWant}, {clientErr, tt.clientWant}} {
				if (got.err == nil) != (got.want == "") || got.err != nil && !strings.Contains(got.err.Error(), got.want) {
					t.Errorf("got %v, want %q", got.err, got.want)
				}
			}
		})
	}
}

func TestPEM(t *testing.T) {
	t.Parallel()
	k := newKey(t, "c")
	cert, err := k.CertificatePEM()
	if err != nil {
		t.Fatal(err)
	}
	private, err := k.PrivatePEM()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair(cert, private); err != nil {
		t.Error(err)
	}
	block, _ := pem.Decode(cert)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := CertificateKey(c); err != nil || !got.Equal(k.Public()) || c.Subject.CommonName != CommonName(k.Public()) {
		t.Errorf("certificate is of %v, %v with the name %q", got, err, c.Subject.CommonName)
	}
}
