// Command udpmon is the host daemon of Rollcall: it answers "who are you?" on UDP, republishes the question on the host's own
// MQTT broker, holds that broker where the host has none, and keeps the map of the hosts that this one has heard.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"rollcall/config"
)

// version is set by the linker (Makefile).
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	// A daemon that idles: collect early, so that the resident size stays near what is in use.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	code := command(ctx, os.Args[1:], hup, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // wrong flags or a configuration that is refused
)

// command runs the program with its arguments and returns its exit status. Each value from hup reloads the configuration.
func command(ctx context.Context, args []string, hup <-chan os.Signal, stdout, stderr io.Writer) int {
	var path string
	var check bool
	failure := exitUsage // until the daemon runs, what goes wrong is the user's to mend
	cmd := &cobra.Command{
		Use:           "udpmon",
		Short:         "Answer \"who are you?\" for this host and hold its MQTT broker",
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(path)
			if err != nil {
				return err
			}
			if check {
				fmt.Fprintln(stdout, "configuration is good")
				return nil
			}
			failure = exitFailed
			log := newLogger(stderr)
			return supervise(cmd.Context(), cfg, func() (config.Config, error) { return config.Load(path) }, hup, log)
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "configuration file; without it the defaults hold")
	cmd.Flags().BoolVar(&check, "check", false, "check the configuration and exit")
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(stderr, "udpmon: %v\n", err)
		if _, ok := errors.AsType[*config.Error](err); ok {
			return exitUsage
		}
		return failure
	}
	return exitOK
}

// newLogger writes text; systemd's journal has times of its own.
func newLogger(w io.Writer) *slog.Logger {
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
