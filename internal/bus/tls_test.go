package bus_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"rollcall/internal/bus"
)

// certificate makes a self-signed certificate for name.
func certificate(name string) (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, der, err
}

// trust makes a certificate for localhost that is among the system's roots, as far as this process goes.
func trust() (tls.Certificate, func(), error) {
	dir, err := os.MkdirTemp("", "bus")
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	cert, der, err := certificate("localhost")
	if err != nil {
		return cert, nil, err
	}
	file := filepath.Join(dir, "roots.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return cert, nil, err
	}
	return cert, func() { _ = os.RemoveAll(dir) }, os.Setenv("SSL_CERT_FILE", file)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	strange, _, err := certificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		cert   tls.Certificate
		host   string
		scheme string
		want   string // in the reason of OnDown; "" for a connection
	}{
		"trusted":      {trusted, "localhost", "mqtts", ""},
		"not trusted":  {strange, "localhost", "ssl", "certificate"},
		"another name": {trusted, "127.0.0.1", "tls", "certificate"},
		"no TLS":       {trusted, "127.0.0.1", "tcp", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if tt.scheme != "tcp" {
				l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{tt.cert}})
			}
			h := beHostileOn(t, l, func(p peer, cp packets.ControlPacket) bool { p.polite(cp); return true })
			_, port, err := net.SplitHostPort(h.addr)
			if err != nil {
				t.Fatal(err)
			}
			conf := bus.Config{URL: tt.scheme + "://" + net.JoinHostPort(tt.host, port)}
			seen := watch(&conf)
			c, _ := start(t, conf)
			if tt.want != "" {
				if err := receive(t, seen.down, "OnDown"); !strings.Contains(err.Error(), tt.want) {
					t.Errorf("OnDown(%v), want %q", err, tt.want)
				}
				return
			}
			if err := c.Wait(within(t, patience)); err != nil {
				t.Fatal(err)
			}
			if err := c.Publish(within(t, patience), bus.Message{Topic: "/x", QoS: 1}); err != nil {
				t.Error(err)
			}
		})
	}
}
