package agents

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// nutPeer is the other end of a connection: what it receives is kept, and answer says what it sends.
type nutPeer struct {
	address string
	mu      sync.Mutex
	got     []string
}

// startNUTPeer serves one connection after the other on loopback until the end of the test. secure, if there is one, is what
// STARTTLS does.
func startNUTPeer(t *testing.T, secure *tls.Config, answer func(line string) string) *nutPeer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &nutPeer{address: l.Addr().String()}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(conn, secure, answer) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return p
}

func (p *nutPeer) serve(conn net.Conn, secure *tls.Config, answer func(line string) string) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(nutDeadline)) // a test that forgets to close ends all the same
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		p.mu.Lock()
		p.got = append(p.got, line)
		p.mu.Unlock()
		if _, err := io.WriteString(conn, answer(line)); err != nil {
			return
		}
		if line == "STARTTLS" && secure != nil {
			conn = tls.Server(conn, secure)
			r = bufio.NewReader(conn)
		}
	}
}

func (p *nutPeer) received() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.got, "\n")
}

// nutPlays answers as an upsd with one UPS does.
func nutPlays(line string) string {
	switch {
	case strings.HasPrefix(line, "LIST VAR"):
		return "BEGIN LIST VAR a\nVAR a ups.status \"OL\"\nEND LIST VAR a\n"
	case line == "LIST UPS":
		return "BEGIN LIST UPS\nUPS a \"b c\"\nEND LIST UPS\n"
	}
	return "OK\n"
}

// nutAnswers makes answers of which the one to LIST VAR is another.
func nutAnswers(list string) func(string) string {
	return func(line string) string {
		if strings.HasPrefix(line, "LIST VAR") {
			return list
		}
		return nutPlays(line)
	}
}
