package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"rollcall/internal/trust"
	"rollcall/reports"
)

// mosquitto is the options of trust mosquitto.
type mosquitto struct{ dir, host, state, operators, listen string }

func newTrustMosquitto(a *app) *cobra.Command {
	var o mosquitto
	cmd := &cobra.Command{
		Use:   "mosquitto CERTIFICATE...",
		Short: "On a host whose broker is mosquitto: write its TLS listener, certificates and access rules",
		Long: `On a host whose broker is mosquitto: write a TLS listener with the host's key, the operators' certificates and access rules by
their rights, as files for mosquitto. A CERTIFICATE is what "udpsrv key show --certificate" prints on an operator's laptop; its
key must stand in authorized_operators. Programs of the host itself go on using 127.0.0.1:1883 without TLS. Run it again after
every change of authorized_operators, and have mosquitto started anew.`,
		Example: "  sudo udpsrv trust mosquitto alice.pem bob.pem\n  sudo systemctl restart mosquitto",
		RunE: action(func(_ context.Context, args []string) error {
			if len(args) == 0 {
				return usagef("mosquitto takes at least one CERTIFICATE")
			}
			return o.run(a, args)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "dir", "/etc/mosquitto/conf.d", "folder to write to")
	f.StringVar(&o.host, "host", "", "name of this host; default: that in its key")
	f.StringVar(&o.state, "state-dir", "/var/lib/rollcall", "folder of the host's key")
	f.StringVar(&o.operators, "operators", "/etc/rollcall/authorized_operators", "file of the operators")
	f.StringVar(&o.listen, "listen", "8883", "port, or port and address, of the TLS listener")
	return cmd
}

func (o *mosquitto) run(a *app, certificates []string) error {
	all, err := trust.LoadOperators(o.operators)
	if err != nil {
		return err
	}
	key, err := trust.LoadKey(filepath.Join(o.state, "host_key"))
	if err != nil {
		return err
	}
	if o.host == "" {
		o.host = key.Public().Comment
	}
	if err := reports.ValidName(o.host); err != nil {
		return usagef("--host: %v", err)
	}
	var bundle bytes.Buffer
	has := map[trust.ID]bool{}
	for _, file := range certificates {
		id, raw, err := operatorCertificate(file, all)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		has[id] = true
		bundle.Write(raw)
	}
	for _, op := range all.All() {
		if !has[op.ID()] {
			a.warnf("operator %s has no certificate here and can't connect", op.Comment)
		}
	}
	return o.write(key, all, bundle.Bytes())
}

// operatorCertificate reads a certificate of one of the operators.
func operatorCertificate(file string, all *trust.Operators) (id trust.ID, raw []byte, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return id, nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return id, nil, errors.New("not a certificate; udpsrv key show --certificate prints one")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return id, nil, err
	}
	key, err := trust.CertificateKey(c)
	switch {
	case err != nil:
		return id, nil, err
	case all.Rights(key) == 0:
		return id, nil, fmt.Errorf("key %s is not in authorized_operators", key.Fingerprint())
	case c.Subject.CommonName != trust.CommonName(key) || c.CheckSignatureFrom(c) != nil && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil:
		return id, nil, errors.New("certificate is not one that udpsrv has made: its name is not that of its key")
	}
	return key.ID(), pem.EncodeToMemory(block), nil
}

// write writes the files, the configuration last.
func (o *mosquitto) write(key trust.Key, all *trust.Operators, bundle []byte) error {
	certificate, err := key.CertificatePEM()
	if err != nil {
		return err
	}
	private, err := key.PrivatePEM()
	if err != nil {
		return err
	}
	at := func(name string) string { return filepath.Join(o.dir, name) }
	conf := fmt.Sprintf(`# Written by udpsrv trust mosquitto.
per_listener_settings true

listener 1883 127.0.0.1
allow_anonymous true

listener %s
tls_version tlsv1.3
cafile %s
certfile %s
keyfile %s
require_certificate true
use_identity_as_username true
acl_file %s
`, o.listen, at("rollcall-operators.pem"), at("rollcall-host.pem"), at("rollcall-host.key"), at("rollcall.acl"))
	for _, f := range []struct {
		name string
		text []byte
		mode fs.FileMode
	}{{"rollcall-operators.pem", bundle, 0o644}, {"rollcall-host.pem", certificate, 0o644}, {"rollcall-host.key", private, 0o600},
		{"rollcall.acl", []byte(o.acl(all)), 0o600}, {"rollcall.conf", []byte(conf), 0o644}} {
		if err := writeOver(at(f.name), f.text, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// writeOver replaces a file; it belongs to mosquitto where there is such a user.
func writeOver(path string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".rollcall-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), giveToMosquitto(f), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// acl returns mosquitto's access rules: each operator may read, and publish the commands that his rights allow.
func (o *mosquitto) acl(all *trust.Operators) string {
	var b strings.Builder
	for _, op := range all.All() {
		fmt.Fprintf(&b, "# %s\nuser %s\n", op.Line(), trust.CommonName(op.PublicKey))
		if op.Rights.Has(trust.Read) {
			b.WriteString("topic read #\n")
		}
		for _, verb := range reports.Verbs {
			needed := trust.Control
			switch verb {
			case "get":
				needed = trust.Read
			case "setup":
				needed = trust.Setup
			}
			if op.Rights.Has(needed) {
				for _, topic := range []string{"/" + o.host + "/+/" + verb, "/" + o.host + "/" + verb + "/+"} {
					fmt.Fprintf(&b, "topic write %s\ntopic write %[1]s/#\n", topic)
				}
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
