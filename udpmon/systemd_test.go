package main

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/internal/bus/bustest"
)

// systemd is its side of sd_notify: a datagram socket.
type systemd struct {
	t    *testing.T
	conn *net.UnixConn
}

func newSystemd(t *testing.T) systemd {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "")
	t.Setenv("WATCHDOG_PID", "")
	return systemd{t, conn}
}

// next returns the next state, or "" if none comes within the time. Several lines of one state are joined.
func (s systemd) next(within time.Duration) string {
	s.t.Helper()
	if err := s.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		s.t.Fatal(err)
	}
	b := make([]byte, 200)
	n, err := s.conn.Read(b)
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(string(b[:n]), "\n", " ")
}

func (s systemd) want(states ...string) {
	s.t.Helper()
	var got []string
	for range states {
		got = append(got, s.next(limit))
	}
	if !slices.Equal(got, states) {
		s.t.Fatalf("systemd is told %q, want %q", got, states)
	}
}

// READY=1 comes when sweeps and clients are answered, after each reload once, and STOPPING=1 before the end.
func TestSystemdIsTold(t *testing.T) {
	s := newSystemd(t)
	d := startDaemon(t, "")
	s.want("READY=1")
	if h := sweepOne(t, d.port, time.Second); h == nil {
		t.Error("READY=1 before a sweep is answered")
	}
	bustest.Dial(t, d.url())
	for _, doc := range []string{"", "broken: [", "discovery:\n  legacy: false\n", "host: pi2\n"} {
		d.write(d.port, d.broker, doc)
		d.hup <- syscall.SIGHUP
		s.want("RELOADING=1", "READY=1")
		if want := map[bool]string{true: "pi2", false: "pi1"}[strings.HasPrefix(doc, "host")]; d.name(d.port) != want {
			t.Errorf("after %q READY=1 came before the host is %s", doc, want)
		}
	}
	d.stop()
	s.want("STOPPING=1")
	if more := s.next(20 * time.Millisecond); more != "" {
		t.Errorf("systemd is told %q after the end", more)
	}
}

// With a broker that is not there, READY=1 comes after a short wait.
func TestReadyWithoutBroker(t *testing.T) {
	s := newSystemd(t)
	cfg := testConfig(t)
	cfg.Broker = config.Broker{URL: "tcp://" + at(freePort(t))}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- supervise(ctx, cfg, nil, nil, quiet()) }()
	if early := s.next(300 * time.Millisecond); early != "" {
		t.Errorf("systemd is told %q before the broker was waited for", early)
	}
	cancel() // a stop meanwhile is not kept waiting, and tells nothing wrong
	s.want("STOPPING=1")
	if err := <-done; err != nil {
		t.Errorf("supervise = %v", err)
	}
}

// The watchdog is patted while the embedded broker answers its own host, and not when it does not.
func TestWatchdog(t *testing.T) {
	s := newSystemd(t)
	t.Setenv("WATCHDOG_USEC", "40000")
	b := startBed(t, nil)
	s.want("READY=1", "WATCHDOG=1", "WATCHDOG=1")
	if err := b.m.healthy(); err != nil {
		t.Errorf("healthy = %v", err)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	if b.m.healthy() == nil {
		t.Error("without a connection to the embedded broker the daemon is healthy")
	}
}
