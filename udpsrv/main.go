// Command udpsrv asks the network who is there, and reads, sets, controls and sets up the services that answered.
//
// Exit status: 0 something was found or done, 1 nothing was found or a command failed, 2 the command line is wrong. Results go
// to stdout; times, counts, warnings and errors to stderr, each error on one line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit statuses.
const (
	exitOK    = 0
	exitFail  = 1
	exitUsage = 2
)

// run is the whole program: arguments and standard streams in, exit status out.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return runIn(ctx, os.Getenv, args, stdin, stdout, stderr)
}

// runIn is run in an environment.
func runIn(ctx context.Context, getenv func(string) string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{in: stdin, out: &output{w: stdout, term: terminalOf(stdout, getenv)}, err: &output{w: stderr, term: terminalOf(stderr, getenv)}}
	withStatusLine(a.out, a.err)
	root := newRoot(a)
	root.SetArgs(keepNegative(args))
	cmd, err := root.ExecuteContextC(ctx)
	failed, ok := errors.AsType[*failure](err)
	switch {
	case a.out.failed != nil:
		err = fmt.Errorf("write to stdout: %w", a.out.failed)
	case ok:
		err = failed.err
	case err != nil:
		a.errorf("%s (see %s --help)", clean(err.Error()), cmd.CommandPath())
		return exitUsage
	}
	if err != nil {
		a.errorf("%s", clean(err.Error()))
		return exitFail
	}
	return exitOK
}

// app is what the commands share: the standard streams and the global flags.
type app struct {
	in  io.Reader
	out *output // what was asked for
	err *output // all else

	broker   string // --broker
	named    *brokerURL
	cache    string    // --cache
	keys     string    // --keys
	identity *identity // once it was needed
	verbose  bool      // --verbose
}

// errorf prints one line about something that went wrong.
func (a *app) errorf(format string, args ...any) {
	a.say(red, "udpsrv:", format, args...)
}

// say prints one line to stderr that begins with a word in a style.
func (a *app) say(s style, word, format string, args ...any) {
	fmt.Fprintf(a.err, "%s %s\n", paint(a.err, s, word), fmt.Sprintf(format, args...))
}

// warnf prints one line about something that a person should know and that does not stop the command.
func (a *app) warnf(format string, args ...any) {
	a.say(yellow, "udpsrv: warning:", "%s", clean(fmt.Sprintf(format, args...)))
}

// log returns the logger that --verbose asks for, or one that says nothing.
func (a *app) log() *slog.Logger {
	if !a.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// failure is an error of a command that was well asked; every other error is one of usage.
type failure struct{ err error }

// Error returns the text of the error.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap returns the error.
func (f *failure) Unwrap() error { return f.err }

// usageError is a mistake in the command line that only the command itself could see.
type usageError struct{ text string }

// Error returns the text.
func (u *usageError) Error() string { return u.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// action makes a RunE of a function: what it returns is a failure, unless it is a usageError.
func action(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := f(cmd.Context(), restoreNegative(args))
		if _, ok := errors.AsType[*usageError](err); ok || err == nil {
			return err
		}
		return &failure{err}
	}
}
