package agents

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// nutCertutil is Debian's program that makes the databases of certificates which its upsd reads (libnss3-tools).
const nutCertutil = "/usr/bin/certutil"

// certificates makes a database with a certificate for the names (as certutil's --extSAN has them), has upsd use it, and returns
// the certificate in PEM, as the documents tell an admin to.
func (s *nutServer) certificates(folder, names string) []byte {
	s.t.Helper()
	dir, noise := filepath.Join(s.dir, folder), make([]byte, 64)
	if err := os.Mkdir(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	if _, err := rand.Read(noise); err != nil {
		s.t.Fatal(err)
	}
	s.write("noise", string(noise))
	certutil := func(args ...string) []byte {
		s.t.Helper()
		out, err := exec.CommandContext(s.t.Context(), nutCertutil, append([]string{"-d", "sql:" + dir}, args...)...).Output()
		if err != nil {
			s.t.Fatalf("certutil %q: %v", args, err)
		}
		return out
	}
	certutil("-N", "--empty-password")
	certutil("-S", "-n", "upsd", "-x", "-s", "CN=upsd of the test", "--extSAN", names, "-t", "CTu,u,u", "-v", "12", "-k", "rsa", "-g", "2048",
		"-z", filepath.Join(s.dir, "noise"))
	s.conf = fmt.Sprintf("CERTPATH %s\nCERTIDENT upsd \"\"\nDISABLE_WEAK_SSL true\n", dir)
	return certutil("-L", "-n", "upsd", "-a")
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
