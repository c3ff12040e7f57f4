package run

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// Exit statuses of every program here.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2 // wrong flags or a configuration that is refused: trying again can't mend it
)

// Command is a daemon from its arguments to its exit status. ctx ends with SIGINT or SIGTERM; each value from hup is a SIGHUP.
type Command func(ctx context.Context, args []string, hup <-chan os.Signal, stdout, stderr io.Writer) int

// Main runs the daemon of this process and exits with its status.
func Main(c Command) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	// A daemon that idles: collect early, so that the resident size stays near what is in use.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	code := c(ctx, os.Args[1:], hup, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Logger returns a logger that writes text to w, without times where systemd's journal adds its own.
func Logger(w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{}
	if os.Getenv("JOURNAL_STREAM") != "" {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(w, o))
}
