// Command udpmon is the host daemon of Rollcall: it answers "who are you?" on UDP, republishes the question on the host's own
// MQTT broker, holds that broker where the host has none, and keeps the map of the hosts that this one has heard.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"rollcall/config"
	"rollcall/internal/man"
	"rollcall/internal/run"
)

// version is set by the linker (Makefile).
var version = "dev"

// settleAfter is how long the start takes at most; then what only it has needed is given back.
const settleAfter = 10 * time.Second

func main() {
	run.Main(command)
}

// command runs the program with its arguments and returns its exit status. Each value from hup reloads the configuration.
func command(ctx context.Context, args []string, hup <-chan os.Signal, stdout, stderr io.Writer) int {
	var path string
	var check bool
	failure := run.ExitUsage // until the daemon runs, what goes wrong is the user's to mend
	cmd := &cobra.Command{
		Use:           "udpmon",
		Short:         "Answer \"who are you?\" for this host and hold its MQTT broker",
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(path)
			if err == nil {
				err = checkFaces(cfg)
			}
			if err != nil {
				return err
			}
			if check {
				fmt.Fprintln(stdout, "configuration is good")
				return nil
			}
			failure = run.ExitFailed
			log := run.Logger(stderr)
			defer time.AfterFunc(settleAfter, run.Settle).Stop()
			return supervise(cmd.Context(), cfg, func() (config.Config, error) { return config.Load(path) }, hup, log)
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "configuration file; without it the defaults hold")
	cmd.Flags().BoolVar(&check, "check", false, "check the configuration and exit")
	cmd.AddCommand(man.Command(manual()))
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetHelpCommand(&cobra.Command{Use: "help", Hidden: true, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return cmd.Help() }})
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(stderr, "udpmon: %v\n", err)
		if _, ok := errors.AsType[*config.Error](err); ok {
			return run.ExitUsage
		}
		return failure
	}
	return run.ExitOK
}

// manual is what the manual page says beside the flags.
func manual() man.Config {
	return man.Config{Section: 8, Version: version, About: []man.Part{
		{Title: "FILES", Text: `  /etc/rollcall/rollcall.yaml         the configuration
  /etc/rollcall/authorized_operators  who may ask and control
  /var/lib/rollcall                   the host's id and key, set-ups, what the broker retains`},
		{Title: "SIGNALS", Text: "SIGHUP reads the configuration again: all of it holds, or nothing. SIGINT and SIGTERM end the daemon."},
		{Title: "EXIT STATUS", Text: "0 it was told to stop, 1 it failed, 2 the command line or the configuration is wrong."},
	}, See: []string{"agentd(8)", "udpsrv(1)"}}
}
