package agents

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

func TestNUTOptions(t *testing.T) {
	t.Parallel()
	pin := strings.Repeat("ab:", 31) + "AB"
	for doc, want := range map[string]string{
		"poll: 500ms":          "nut.yaml:1: poll: 500ms is too often",
		"address: \"\"":        "is not a host or host:port",
		"address: \":3493\"":   "is not a host or host:port",
		"address: \"a\\nb\"":   "control character",
		"ups: \"a\\nFSD b\"":   "control character",
		"username: a":          "needs password_file",
		"password: a":          "username: is missing",
		"plain_password: true": "username: is missing",
		"username: a\npassword: b\npassword_file: /c":                 "one of them is enough",
		"ca_file: /a\nfingerprint: \"" + pin + "\"":                   "one of them decides",
		"fingerprint: \"abcd\"":                                       "is not the 32 bytes",
		"username: a\npassword: b\nplain_password: true\nca_file: /a": "without TLS",
		"sim: true\nups: a":                                           "made-up UPS has no name",
		"adress: x":                                                   "adress",
	} {
		o := nutFactory().Defaults()
		node, err := config.ParseNode("nut.yaml", []byte(doc))
		if err == nil {
			err = node.Decode(o)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", doc, err, want)
		}
	}
	for address, want := range map[string]string{"a": "a:3493", "a:1": "a:1", "::1": "[::1]:3493", "[::1]": "[::1]:3493", "[::1]:5": "[::1]:5", "10.0.0.1": "10.0.0.1:3493"} {
		if got := nutAddress(address); got != want {
			t.Errorf("nutAddress(%q) = %q, want %q", address, got, want)
		}
	}
}

func TestNUTWords(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		`VAR su700 ups.mfr "APC"`:  {"VAR", "su700", "ups.mfr", "APC"}, // RFC 9271 §4.2.10
		`UPS dummy "Test \"UPS\""`: {"UPS", "dummy", `Test "UPS"`}, `A "x \\ # y" ""`: {"A", `x \ # y`, ""},
		``: nil, `  OK   Goodbye `: {"OK", "Goodbye"}, `a\ b`: {"a b"}, `"\#"`: {"#"},
	} {
		if got, err := nutWords(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("nutWords(%s) = %q, %v, want %q", line, got, err, want)
		}
	}
	for line, want := range map[string]error{`a "b`: errNUTQuote, `a\`: errNUTEscape, "a\tb": errNUTControl, `"a"b`: errNUTGlued, `a"b"`: errNUTGlued, "\"\\\x01\"": errNUTControl} {
		if got, err := nutWords(line); err != want {
			t.Errorf("nutWords(%q) = %q, %v, want %v", line, got, err, want)
		}
	}
}

func FuzzNUTWords(f *testing.F) {
	for _, s := range []string{"", `VAR a b "c d"`, `ERR ACCESS-DENIED`, `a "b`, `"\\\""`, "a\x00", `x\#y #`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := nutWords(line)
		if err != nil {
			return
		}
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = nutQuote(w)
		}
		if again, err := nutWords(strings.Join(quoted, " ")); err != nil || !slices.Equal(again, words) {
			t.Errorf("%q is %q, and written again %q, %v", line, words, again, err)
		}
	})
}

func TestNUTStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]string{
		"OL CHRG": "on line power, charging", "OB DISCHRG LB": "on battery, discharging, battery low", "FSD OL": "forced shutdown, on line power",
		"OL BOOST OVER": "on line power, boosting low voltage, overloaded", "OL ECO": "on line power, ECO", "": "unknown",
	} {
		if got := nutExplain(status); got != want {
			t.Errorf("%s is %q, want %q", status, got, want)
		}
	}
	words := ""
	for _, f := range nutFlags() {
		words += f.word + " "
		if f.says == "" || !strings.HasPrefix(f.help, f.word+": ") || !nutHas("x "+f.word, f.word) || nutHas("x"+f.word, f.word) {
			t.Errorf("flag %+v", f)
		}
	}
	if words != "OL OB LB HB RB CHRG DISCHRG BYPASS CAL OFF OVER TRIM BOOST FSD ALARM " {
		t.Errorf("flags %s", words)
	}
}

func TestNUTNumber(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]float64{"13.70": 13.7, "100": 100, "00012": 12, " -5.5 ": -5.5} {
		if got, err := nutNumber(s); err != nil || got != want {
			t.Errorf("nutNumber(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "NA", "inf", "nan", "0x10", "1_0", "13,7", "1e999"} {
		if got, err := nutNumber(s); err == nil {
			t.Errorf("nutNumber(%q) = %v", s, got)
		}
	}
}

// The made-up UPS is the same at the same time, says what it is, and goes through an outage.
func TestNUTSimulated(t *testing.T) {
	t.Parallel()
	at := time.Unix(0, 0)
	n, err := newNUT(nutOptions{Sim: true}, nutSimulator{func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]string{0: "OL CHRG", 9 * time.Minute: "OB DISCHRG", 599 * time.Second: "OB DISCHRG LB", 15 * time.Minute: "OL CHRG"} {
		at = time.Unix(0, 0).Add(after)
		if got := nutSimulated(at); got["ups.status"] != want {
			t.Errorf("after %v: %v, want %s", after, got, want)
		}
	}
	if !n.Describe().Simulated {
		t.Error("it does not say that it is made up")
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

func TestNUTBadPeers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(string) string
		want   string
	}{
		"long line":       {nutAnswers(strings.Repeat("x", nutMaxLine+1) + "\n"), "a line of more than 4096 bytes"},
		"endless":         {nutAnswers("BEGIN LIST VAR a\n" + strings.Repeat("VAR a b \"c\"\n", nutMaxLines+1)), "a list of more than 4096 lines"},
		"another list":    {nutAnswers("BEGIN LIST UPS\n"), "to a question for a list"},
		"another UPS":     {nutAnswers("BEGIN LIST VAR a\nVAR b c \"d\"\n"), "in a list of VAR a"},
		"no list":         {nutAnswers("OK\n"), "to a question for a list"},
		"words":           {nutAnswers("BEGIN LIST VAR a\nVAR a b c d\n"), "a variable has 3 words"},
		"error in list":   {nutAnswers("BEGIN LIST VAR a\nERR DATA-STALE\n"), "in a list upsd says DATA-STALE"},
		"quote":           {nutAnswers("BEGIN LIST VAR a\nVAR a b \"c\n"), "a quote is not closed"},
		"empty line":      {nutAnswers("\n"), "it is empty"},
		"no status":       {nutAnswers("BEGIN LIST VAR a\nEND LIST VAR a\n"), "has no ups.status"},
		"not ready":       {nutAnswers("BEGIN LIST VAR a\nVAR a ups.status \"WAIT\"\nEND LIST VAR a\n"), "WAIT: the driver gets nothing"},
		"several UPSes":   {func(string) string { return "BEGIN LIST UPS\nUPS a \"\"\nUPS b \"\"\nEND LIST UPS\n" }, `set ups to one of ["a" "b"]`},
		"no UPS":          {func(string) string { return "BEGIN LIST UPS\nEND LIST UPS\n" }, "upsd has no UPS"},
		"access":          {func(string) string { return "ERR ACCESS-DENIED\n" }, "lets this host not in"},
		"unknown refusal": {func(string) string { return "ERR NEW-WORD\n" }, "upsd says NEW-WORD: see upsd's log"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := nutOptions{Address: startNUTPeer(t, nil, c.answer).address}
			if _, err := newNUT(o, newNUTClient(o, new(net.Dialer).DialContext)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A peer that says nothing holds nobody up: the question ends with its context.
func TestNUTSilent(t *testing.T) {
	t.Parallel()
	o := nutOptions{Address: startNUTPeer(t, nil, func(string) string { return "" }).address, UPS: "a"}
	c := newNUTClient(o, new(net.Dialer).DialContext)
	defer c.close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.list(ctx); err == nil || !strings.Contains(err.Error(), "does not answer: context deadline exceeded") {
		t.Errorf("silence: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := c.list(ended); err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("ended: %v", err)
	}
}

// nutCertificate makes a certificate for 127.0.0.1, which vouches for itself.
func nutCertificate(t *testing.T) (pemFile string, pin string, config *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "upsd"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pemFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(pemFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return pemFile, hex.EncodeToString(sum[:]), &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func TestNUTTLS(t *testing.T) {
	t.Parallel()
	ca, pin, secure := nutCertificate(t)
	otherCA, otherPin, _ := nutCertificate(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o      nutOptions
		answer func(string) string
		want   string
	}{
		"ca":           {nutOptions{CAFile: ca}, nutPlays, ""},
		"pin":          {nutOptions{Fingerprint: strings.ToUpper(pin)}, nutPlays, ""},
		"other ca":     {nutOptions{CAFile: otherCA}, nutPlays, "certificate"},
		"other pin":    {nutOptions{Fingerprint: otherPin}, nutPlays, "has the fingerprint " + pin},
		"no ca":        {nutOptions{CAFile: "/no/such/file"}, nutPlays, "ca_file: open /no/such/file"},
		"empty ca":     {nutOptions{CAFile: empty}, nutPlays, "no certificate in PEM"},
		"refused":      {nutOptions{CAFile: ca}, func(string) string { return "ERR FEATURE-NOT-CONFIGURED\n" }, "starttls: upsd says FEATURE-NOT-CONFIGURED: this upsd does no TLS"},
		"words put in": {nutOptions{CAFile: ca}, func(string) string { return "OK STARTTLS\nBEGIN LIST UPS\n" }, "more than its answer before the encryption"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			peer := startNUTPeer(t, secure, c.answer)
			c.o.Address, c.o.Username, c.o.Password = peer.address, "me", "secret word"
			n, err := newNUT(c.o, newNUTClient(c.o, new(net.Dialer).DialContext))
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := n.Close(); err != nil {
					t.Error(err)
				}
				if got := peer.received(); !strings.HasPrefix(got, "STARTTLS\nLIST UPS\nUSERNAME \"me\"\nPASSWORD \"secret word\"\nLOGIN \"a\"\nLIST VAR \"a\"") {
					t.Errorf("upsd received %q", got)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if got := peer.received(); strings.Contains(got, "secret") || strings.Contains(got, "USERNAME") {
				t.Errorf("upsd, which is not trusted, received %q", got)
			}
		})
	}
}

// nutElsewhere is a connection whose other end is said to be another host, which no test may talk to.
type nutElsewhere struct{ net.Conn }

func (nutElsewhere) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 3493}
}

func TestNUTPlainPassword(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{false, true} {
		peer := startNUTPeer(t, nil, nutPlays)
		o := nutOptions{Address: "192.0.2.7", UPS: "a", Username: "me", Password: "secret", PlainPassword: told}
		n, err := newNUT(o, newNUTClient(o, func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "192.0.2.7:3493" {
				return nil, fmt.Errorf("dial %s", address)
			}
			conn, err := new(net.Dialer).DialContext(ctx, network, peer.address)
			return nutElsewhere{conn}, err
		}))
		sent := strings.Contains(peer.received(), "secret")
		if told && (err != nil || !sent) || !told && (err == nil || sent || !strings.Contains(err.Error(), "plain_password: true")) {
			t.Errorf("told %v: sent %v, %v", told, sent, err)
		}
		if err == nil {
			_ = n.Close()
		}
	}
}

// A variable that the UPS no longer has is an error of its point alone.
func TestNUTVariables(t *testing.T) {
	t.Parallel()
	vars := nutVars{"ups.status": "OL", "battery.charge": "100", "battery.runtime": "1799.6", "ups.mfr": " A\xff ", "battery.chemistry": "Li"}
	n, err := newNUT(nutOptions{}, nutFixed(vars))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	for path, want := range map[string]any{"battery/runtime": int64(1800), "ups/manufacturer": "A�", "battery/chemistry": "Li"} {
		if r, err := n.Sample(t.Context(), path); err != nil || r.Value != want {
			t.Errorf("%s = %v, %v, want %v", path, r.Value, err, want)
		}
	}
	vars["battery.charge"], vars["battery.runtime"] = "250", "-5" // what the descriptions rule out is no value
	_, err = n.SampleAll(t.Context(), []string{"battery/charge", "battery/runtime"})
	if want := "battery/charge: the UPS says \"250\", which is more than 100\nbattery/runtime: the UPS says \"-5\", which is less than 0"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	delete(vars, "battery.charge")
	vars["battery.runtime"] = "NA"
	readings, err := n.SampleAll(t.Context(), []string{"battery/charge", "battery/runtime", "ups/status"})
	if len(readings) != 1 || readings[0].Value != "OL" || err == nil ||
		err.Error() != "battery/charge: the UPS no longer has battery.charge\nbattery/runtime: the UPS says \"NA\", which is no number" {
		t.Errorf("%v, %v", readings, err)
	}
	if _, err := n.Sample(t.Context(), "on_battery"); reports.CodeOf(err) != reports.CodeUnknown {
		t.Errorf("an event was read: %v", err)
	}
}

// nutFixed is a UPS that says what the test says.
type nutFixed nutVars

func (f nutFixed) list(context.Context) (map[string]string, error) { return f, nil }

func (nutFixed) close() {}
