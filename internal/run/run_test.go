package run_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"rollcall/internal/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTasksFirstFailureEndsAll(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	ended := make(chan struct{})
	err := run.Tasks(t.Context(),
		run.Task{Name: "waits", Run: func(ctx context.Context) error { <-ctx.Done(); close(ended); return ctx.Err() }},
		run.Task{Name: "fails", Run: func(context.Context) error { return boom }},
	)
	if !errors.Is(err, boom) || err.Error() != "fails: boom" {
		t.Errorf("Tasks = %v, want fails: boom", err)
	}
	select {
	case <-ended:
	default:
		t.Error("Tasks returned before the other task had ended")
	}
}

func TestTasksEndWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	err := run.Tasks(ctx,
		run.Task{Name: "a", Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
		run.Task{Name: "b", Run: func(context.Context) error { cancel(); return nil }},
	)
	if err != nil {
		t.Errorf("Tasks = %v, want nil after its own context ended", err)
	}
}

// systemd's side of sd_notify is a datagram socket; the test listens on one.
func TestNotifyAndWatchdog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", "")
	read := func() string {
		b := make([]byte, 100)
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	run.Notify(run.Ready)
	if got := read(); got != "READY=1" {
		t.Errorf("systemd got %q, want READY=1", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	checks := 0
	w := run.Watchdog(func() error {
		if checks++; checks == 1 {
			return errors.New("ill")
		}
		return nil
	})
	go func() { done <- w.Run(ctx) }()
	if got := read(); got != "WATCHDOG=1" {
		t.Errorf("systemd got %q, want WATCHDOG=1", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("watchdog = %v", err)
	}
	if checks < 2 {
		t.Errorf("the watchdog was patted after %d checks, the first of which failed", checks)
	}
}

func TestWatchdogOff(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "")
	if err := run.Watchdog(func() error { return nil }).Run(t.Context()); err != nil {
		t.Errorf("watchdog without systemd = %v, want nil at once", err)
	}
}

func TestLoggerLeavesTimesToTheJournal(t *testing.T) {
	for journal, want := range map[string]bool{"": true, "8:1234": false} {
		t.Setenv("JOURNAL_STREAM", journal)
		var b strings.Builder
		run.Logger(&b).Info("up", "host", "pi")
		if got := strings.Contains(b.String(), "time="); got != want || !strings.HasSuffix(b.String(), "level=INFO msg=up host=pi\n") {
			t.Errorf("with JOURNAL_STREAM=%q it wrote %q", journal, b.String())
		}
	}
}
