// Command agentd runs the agents that the host's configuration names, all in one process or, with --only, some of them. Each is
// a service on the host's MQTT broker.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"rollcall/agents"
	"rollcall/config"
	"rollcall/internal/man"
	"rollcall/internal/run"
)

// version is set by the linker (Makefile).
var version = "dev"

func main() {
	run.Main(func(ctx context.Context, args []string, hup <-chan os.Signal, stdout, stderr io.Writer) int {
		return command(ctx, args, hup, agents.All(), stdout, stderr)
	})
}

// daemon is what the flags say.
type daemon struct {
	path      string
	only      []string
	check     bool
	factories []agents.Factory
	hup       <-chan os.Signal
	log       *slog.Logger
}

// command runs the program with its arguments and returns its exit status. Each value from hup reads the configuration again.
func command(ctx context.Context, args []string, hup <-chan os.Signal, factories []agents.Factory, stdout, stderr io.Writer) int {
	d := daemon{factories: factories, hup: hup, log: run.Logger(stderr)}
	started := false
	cmd := &cobra.Command{
		Use:           "agentd",
		Short:         "Run this host's agents as services on its MQTT broker",
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := d.load()
			if err != nil {
				return err
			}
			runner, err := agents.NewRunner(c)
			if err != nil {
				return err
			}
			if d.check {
				_, err := fmt.Fprintln(stdout, "configuration is good")
				return err
			}
			started = true
			return d.run(cmd.Context(), runner)
		},
	}
	cmd.Flags().StringVar(&d.path, "config", "", "configuration file; without it the defaults hold")
	cmd.Flags().StringSliceVar(&d.only, "only", nil, "run only the agent of this name; may be given more than once")
	cmd.Flags().BoolVar(&d.check, "check", false, "check the configuration and exit")
	cmd.AddCommand(newVersion(stdout), man.Command(manual()))
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return run.ExitOK
	}
	fmt.Fprintf(stderr, "agentd: %v\n", err)
	if _, ok := errors.AsType[*config.Error](err); started && !ok {
		return run.ExitFailed
	}
	return run.ExitUsage
}

// newVersion makes the command that prints the version.
func newVersion(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(stdout, "agentd %s %s/%s %s\n", version, runtime.GOOS, runtime.GOARCH, runtime.Version())
			return err
		},
	}
}

// manual is what the manual page says beside the flags.
func manual() man.Config {
	return man.Config{Section: 8, Version: version, About: []man.Part{
		{Title: "FILES", Text: `  /etc/rollcall/rollcall.yaml  the configuration
  /var/lib/rollcall            what set-ups and counters are saved in`},
		{Title: "SIGNALS", Text: "SIGHUP reads the configuration again. SIGINT and SIGTERM end the daemon: outputs take their safe values."},
		{Title: "EXIT STATUS", Text: "0 it was told to stop, 1 it failed, 2 the command line or the configuration is wrong."},
	}, See: []string{"udpmon(8)", "udpsrv(1)"}}
}

// load reads the configuration.
func (d daemon) load() (agents.RunnerConfig, error) {
	conf, err := config.Load(d.path)
	return agents.RunnerConfig{File: d.path, Config: conf, Factories: d.factories, Only: slices.Clone(d.only), Log: d.log}, err
}

// run runs the agents until ctx ends.
func (d daemon) run(ctx context.Context, r *agents.Runner) error {
	defer run.Notify(run.Stopping)
	return run.Tasks(ctx,
		run.Task{Name: "agents", Run: r.Run},
		run.Watchdog(r.Healthy),
		run.Task{Name: "systemd", Run: func(ctx context.Context) error {
			select {
			case <-r.Ready():
				run.Notify(run.Ready)
			case <-ctx.Done():
			}
			return nil
		}},
		run.Task{Name: "reload", Run: func(ctx context.Context) error { return d.reloads(ctx, r) }},
	)
}

// reloads puts the configuration in force again at each value from hup. One that is refused leaves the old one in force.
func (d daemon) reloads(ctx context.Context, r *agents.Runner) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.hup:
		}
		run.Notify(run.Reloading)
		c, err := d.load()
		if err == nil {
			err = r.Reload(ctx, c.Config)
		}
		switch {
		case err == nil:
			d.log.Info("new configuration in force")
		case ctx.Err() == nil:
			d.log.Error("new configuration refused, the old one stays in force", "err", err)
		}
		run.Notify(run.Ready)
	}
}
