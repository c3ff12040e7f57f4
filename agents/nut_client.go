package agents

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// Bounds of what upsd sends. It cuts its own lines at 512 bytes (NUT_NET_ANSWER_MAX), and a large UPS has some 200 variables.
const (
	nutMaxLine  = 4096
	nutMaxLines = 4096
	nutMaxList  = 512 << 10
	nutMaxWord  = 256
	nutMaxFile  = 64 << 10
)

// nutPatience is how long New, and an exchange whose context has no end, may take; nutParting is for the last word.
const (
	nutPatience = 5 * time.Second
	nutParting  = 500 * time.Millisecond
)

// nutError is a refusal of upsd, which leaves the connection usable.
type nutError struct{ word, advice string }

// Error says what upsd said and what to do.
func (e *nutError) Error() string { return "upsd says " + e.word + ": " + e.advice }

// nutClient is the connection to an upsd. It is made anew when it is lost.
type nutClient struct {
	o       nutOptions
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	conn    net.Conn
	r       *bufio.Reader
	address string // host and port
	ups     string // found at the first connection if the options do not say
}

// list returns all variables of the UPS. If a connection of before has ended, as it does when upsd was started anew and after
// a minute in silence, it tries once more with a new one.
func (c *nutClient) list(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, nutPatience)
	defer cancel()
	old := c.conn != nil
	vars, err := c.try(ctx)
	if _, refused := errors.AsType[*nutError](err); err != nil && !refused && old && !nutLate(ctx, err) {
		vars, err = c.try(ctx)
	}
	if err != nil && nutLate(ctx, err) {
		err = fmt.Errorf("upsd at %s does not answer: %w", c.address, cmp.Or(ctx.Err(), context.DeadlineExceeded))
	}
	return vars, err
}

// nutLate reports whether the error is that of a context that has ended. The connection, which has the same deadline, may see it
// first.
func nutLate(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded)
}

// try is list on one connection, which is given up if it is no longer in step.
func (c *nutClient) try(ctx context.Context) (map[string]string, error) {
	if c.conn == nil {
		conn, err := c.dial(ctx, "tcp", c.address)
		if err != nil {
			return nil, fmt.Errorf("connect to upsd (nut-server, with a LISTEN line for this address in upsd.conf): %w", err)
		}
		c.adopt(conn)
		if err := c.during(ctx, func() error { return c.greet(ctx) }); err != nil {
			c.drop()
			return nil, err
		}
	}
	var vars map[string]string
	err := c.during(ctx, func() (err error) { vars, err = c.variables(); return err })
	if _, refused := errors.AsType[*nutError](err); err != nil && !refused {
		c.drop()
	}
	if c.o.Username != "" && nutHas(vars["ups.status"], "FSD") {
		c.close() // a primary that shuts down waits (HOSTSYNC) until everyone who has logged in is gone
	}
	return vars, err
}

func (c *nutClient) adopt(conn net.Conn) {
	c.conn, c.r = conn, bufio.NewReaderSize(conn, nutMaxLine)
}

// drop ends the connection.
func (c *nutClient) drop() {
	if c.conn != nil {
		_ = c.conn.Close() // it is given up whatever that says
	}
	c.conn, c.r = nil, nil
}

// close ends the connection with a word, so that upsd does not log a client that vanished.
func (c *nutClient) close() {
	if c.conn != nil {
		_ = c.conn.SetDeadline(time.Now().Add(nutParting)) // without one, closing is all that is left
		_, _ = io.WriteString(c.conn, "LOGOUT\n")
	}
	c.drop()
}

// during calls f, whose reads and writes end when ctx does.
func (c *nutClient) during(ctx context.Context, f func() error) error {
	conn := c.conn
	deadline, _ := ctx.Deadline() // list sees to it that there is one
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // fails only on a closed one
	err := f()
	if !stop() {
		return errors.Join(err, ctx.Err()) // its deadline may be spoilt at any time: not to be used again
	}
	return err
}

// greet does what comes before the first question: encrypt, find the UPS, log in.
func (c *nutClient) greet(ctx context.Context) error {
	if c.o.secure() {
		if err := c.startTLS(ctx); err != nil {
			return err
		}
	}
	if c.ups == "" {
		if err := c.find(); err != nil {
			return err
		}
	}
	if c.o.Username == "" {
		return nil
	}
	if !c.o.secure() && !c.o.PlainPassword && !nutLoopback(c.conn.RemoteAddr()) {
		return fmt.Errorf("the password is not sent to %s in plain text: set ca_file or fingerprint for TLS, or plain_password: true", c.conn.RemoteAddr())
	}
	password, err := c.o.password()
	if err != nil {
		return err
	}
	for _, line := range []string{"USERNAME " + nutQuote(c.o.Username), "PASSWORD " + nutQuote(password), "LOGIN " + nutQuote(c.ups)} {
		if err := c.expectOK(line); err != nil {
			verb, _, _ := strings.Cut(line, " ")
			return fmt.Errorf("%s: %w", strings.ToLower(verb), err)
		}
	}
	return nil
}

// nutLoopback reports whether the address is this machine.
func nutLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// startTLS encrypts the connection and checks whom it is with.
func (c *nutClient) startTLS(ctx context.Context) error {
	config, err := c.o.tls(c.address)
	if err != nil {
		return err
	}
	if err := c.expectOK("STARTTLS"); err != nil {
		return fmt.Errorf("starttls: %w", err)
	}
	if c.r.Buffered() > 0 { // somebody in between has put words there that would be taken for upsd's own
		return errors.New("starttls: upsd has sent more than its answer before the encryption")
	}
	conn := tls.Client(c.conn, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("starttls: %w", err)
	}
	c.adopt(conn)
	return nil
}

// tls returns how upsd's certificate is checked.
func (o nutOptions) tls(address string) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if o.Fingerprint != "" {
		want, err := nutFingerprint(o.Fingerprint)
		if err != nil {
			return nil, err
		}
		// The pin takes the place of the chain and the name.
		return &tls.Config{ServerName: host, InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
			got := sha256.Sum256(s.PeerCertificates[0].Raw)
			if subtle.ConstantTimeCompare(got[:], want) != 1 {
				return fmt.Errorf("its certificate has the fingerprint %x, not the one of the options", got)
			}
			return nil
		}}, nil
	}
	pem, err := nutFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s has no certificate in PEM", o.CAFile)
	}
	return &tls.Config{ServerName: host, RootCAs: pool}, nil
}

// nutFingerprint reads a SHA-256 fingerprint as openssl x509 -fingerprint -sha256 prints it, with or without colons.
func nutFingerprint(s string) ([]byte, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil || len(b) != sha256.Size {
		return nil, fmt.Errorf("%.80q is not the %d bytes of a SHA-256 fingerprint in hexadecimal", s, sha256.Size)
	}
	return b, nil
}

// nutFile reads a small file.
func nutFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(f, nutMaxFile+1))
	if err == nil && len(b) > nutMaxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, nutMaxFile)
	}
	return b, err
}

// password returns the password. Its file is read at every connection, so that it can be changed.
func (o nutOptions) password() (string, error) {
	if o.PasswordFile == "" {
		return o.Password, nil
	}
	b, err := nutFile(o.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("password_file: %w", err)
	}
	word := strings.TrimRight(string(b), "\r\n")
	if err := nutPlain(word); err != nil || word == "" {
		return "", fmt.Errorf("password_file: %s does not hold one line with a password", o.PasswordFile)
	}
	return word, nil
}
