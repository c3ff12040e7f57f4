package agents

import (
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// nutCertutil is Debian's program that makes the databases of certificates which its upsd reads (libnss3-tools).
const nutCertutil = "/usr/bin/certutil"

// certificates makes a database with a certificate for the names (as certutil's --extSAN has them) by the very lines that the documents
// tell an admin to run, has upsd use it, and returns the certificate in PEM.
func (s *nutServer) certificates(folder, names string) []byte {
	s.t.Helper()
	dir, group := filepath.Join(s.dir, folder), strconv.Itoa(os.Getgid())
	var script []string
	for line := range strings.Lines(nutWiring) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			script = append(script, command)
		}
	}
	test := strings.NewReplacer("/etc/nut/nss", dir, "ip:192.168.1.7,dns:attic", names, "-g nut", "-g "+group, "chgrp nut", "chgrp "+group, "ca.pem", dir+".pem")
	sh := exec.CommandContext(s.t.Context(), "/bin/sh", "-euc", test.Replace(strings.Join(script, "")))
	if out, err := sh.CombinedOutput(); err != nil || len(script) < 6 {
		s.t.Fatalf("%d lines of the page: %v\n%s", len(script), err, out)
	}
	const path, ident = "CERTPATH /etc/nut/nss", `CERTIDENT upsd ""`
	if !strings.Contains(nutWiring, path) || !strings.Contains(nutWiring, ident) {
		s.t.Fatalf("the page does not name %q and %q", path, ident)
	}
	s.conf = test.Replace(path) + "\n" + ident + "\nDISABLE_WEAK_SSL true\n"
	cert, err := os.ReadFile(dir + ".pem")
	if err != nil {
		s.t.Fatal(err)
	}
	return cert
}

// TestNUTRealTLS speaks TLS with Debian's own upsd, which is built with NSS.
func TestNUTRealTLS(t *testing.T) {
	t.Parallel()
	nutNeeds(t, nutCertutil, "libnss3-tools")
	s := newNUTServer(t)
	cert := s.certificates("nss", "ip:127.0.0.1,dns:localhost")
	s.write("ca.pem", string(cert))
	s.startDriver()
	s.start()
	block, _ := pem.Decode(cert)
	if block == nil {
		t.Fatalf("certutil prints %q", cert)
	}
	pin := fmt.Sprintf("%X", sha256.Sum256(block.Bytes))
	ca := filepath.Join(s.dir, "ca.pem")
	for name, o := range map[string]nutOptions{
		"ca_file":     {CAFile: ca, Username: nutUser, Password: nutSecret},
		"fingerprint": {Fingerprint: pin, Username: nutUser, Password: nutSecret},
		"no login":    {CAFile: ca},
	} {
		n := s.must(o)
		if got, err := s.read(n); err != nil || got["ups/status"] != "OL CHRG" || got["battery/charge"] != 100.0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if _, encrypted := n.source.(*nutClient).conn.(interface{ VerifyHostname(string) error }); !encrypted {
			t.Errorf("%s: the connection is a %T", name, n.source.(*nutClient).conn)
		}
	}
	s.write("other.pem", string(nutOther(t)))
	for name, test := range map[string]struct {
		o    nutOptions
		want string
	}{
		"another CA":          {nutOptions{CAFile: filepath.Join(s.dir, "other.pem")}, "starttls: tls: failed to verify certificate"},
		"another fingerprint": {nutOptions{Fingerprint: strings.Repeat("ab", sha256.Size)}, "starttls: its certificate has the fingerprint"},
		"wrong password":      {nutOptions{CAFile: ca, Username: nutUser, Password: "wrong"}, "login: upsd says ACCESS-DENIED"},
	} {
		if _, err := s.agent(test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
	nutOtherCertificate(t, s, ca)
}

// nutOtherCertificate has upsd come back with another certificate, for another name: an agent that runs reads nothing any more,
// and goes on when the right one is back.
func nutOtherCertificate(t *testing.T, s *nutServer, ca string) {
	t.Helper()
	n, right := s.must(nutOptions{CAFile: ca}), s.conf
	again := func() {
		t.Helper()
		s.upsd.kill()
		s.start()
	}
	other := s.certificates("other", "dns:elsewhere")
	again()
	if got, err := s.read(n); err == nil || len(got) > 0 || !strings.Contains(err.Error(), "starttls: tls: failed to verify certificate") {
		t.Errorf("another certificate: %v, %v", got, err)
	}
	s.write("other.pem", string(other))
	if _, err := s.agent(nutOptions{CAFile: filepath.Join(s.dir, "other.pem")}); err == nil || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("a certificate for another name: %v", err)
	}
	s.conf = ""
	again()
	if _, err := s.read(n); err == nil || !strings.Contains(err.Error(), "starttls: upsd says FEATURE-NOT-CONFIGURED") {
		t.Errorf("upsd without a certificate: %v", err)
	}
	s.conf = right
	again()
	if got, err := s.read(n); err != nil || got["ups/status"] != "OL CHRG" {
		t.Errorf("the certificate is back: %v, %v", got, err)
	}
}

// nutOther returns a certificate that has nothing to do with upsd.
func nutOther(t *testing.T) []byte {
	t.Helper()
	file, _, _ := nutCertificate(t)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
