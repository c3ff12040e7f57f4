package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"rollcall/internal/man"
)

// version is set by the linker (-X main.version=…).
var version string

// newRoot returns the command with all its subcommands.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "udpsrv",
		Short: "Ask the network who is there; read, set and set up what answers",
		Long: `udpsrv asks every host of the network "who are you?" by UDP, and shows which services they have.
It reads, sets, controls and sets up these services over the MQTT broker of their host.

Exit status: 0 found or done, 1 nothing found or a failed command, 2 wrong usage.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			for cmd.SuggestionsMinimumDistance = 1; cmd.SuggestionsMinimumDistance <= 2; cmd.SuggestionsMinimumDistance++ {
				if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
					return usagef("unknown command %q, did you mean %q?", args[0], near[0])
				}
			}
			return usagef("unknown command %q", args[0])
		},
		RunE: func(*cobra.Command, []string) error { return usagef("a command is missing") },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneFormat(cmd); err != nil {
				return err
			}
			if a.broker == "" {
				return nil
			}
			b, err := parseBroker(a.broker)
			if err != nil {
				return usagef("--broker: %v", err)
			}
			a.named = &b
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&a.broker, "broker", "", "MQTT broker to use, as mqtt://[user:password@]host[:port]; default: the host's own, found by a sweep")
	f.StringVar(&a.cache, "cache", "", "file that remembers the hosts found; default: rollcall/hosts.json in the user's cache folder")
	f.StringVar(&a.keys, "keys", "", "folder of the operator key and of known_hosts; default: rollcall in the user's configuration folder")
	f.BoolVar(&a.verbose, "verbose", false, "say on stderr what is being done")
	root.AddCommand(newSweep(a), newGet(a), newSet(a), newControl(a), newSetup(a), newSpy(a), newTop(a), newDocs(a), newExport(a), newImport(a), newKeyCommand(a), newTrust(a), newEnroll(a), newVersion(a), man.Command(manual()))
	root.AddCommand(newDoctor(a))
	root.AddCommand(newNetwork(a), newNode(a), newQuery(a))
	root.SetHelpCommand(newHelp())
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.AddCommand(newLogs(a))
	strictCompletion(root)
	completeFlags(a, root)
	_ = root.RegisterFlagCompletionFunc("broker", completeHosts(a, 0)) // it is there, and asked for once
	return root
}

// build is what the version command prints.
type build struct {
	Version string `json:"version"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Go      string `json:"go"`
}

// thisBuild returns what this program was built from, and for what.
func thisBuild() build {
	v := version
	if info, ok := debug.ReadBuildInfo(); ok && v == "" {
		v = info.Main.Version
	}
	return build{cmp.Or(v, "(devel)"), runtime.GOOS, runtime.GOARCH, runtime.Version()}
}

func newVersion(a *app) *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: action(func(context.Context, []string) error {
			b := thisBuild()
			if f.asked() {
				return f.print(a.out, b)
			}
			_, err := fmt.Fprintf(a.out, "udpsrv %s %s/%s %s\n", b.Version, b.OS, b.Arch, b.Go)
			return err
		}),
	}
	f.flags(cmd, "it")
	return cmd
}

// newHelp is cobra's help command, except that an unknown topic is an error of usage.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("no help about %q", strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// strictCompletion makes cobra's completion command, which has one subcommand a shell, and has it refuse any other.
func strictCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Args = cobra.ArbitraryArgs
			c.RunE = func(_ *cobra.Command, args []string) error {
				return usagef("completion takes one of bash, fish, powershell, zsh, got %q", args)
			}
		}
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, got %q", cmd.Name(), args[0])
	}
	return nil
}

// exactly refuses any number of arguments but n; what says in words what they are.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("%s takes %s, got %d arguments", cmd.Name(), what, len(args))
		}
		return nil
	}
}

// negativeMark stands before an argument that is a negative number, so that it is not taken for a flag. No argument of a
// process can have a NUL.
const negativeMark = "\x00"

// keepNegative marks arguments that are negative numbers, as in `udpsrv set host/gpio/offset -5`.
func keepNegative(args []string) []string {
	out := make([]string, len(args)) // not nil: cobra would take os.Args
	for i, s := range args {
		out[i] = s
		if i > 0 && strings.HasPrefix(args[i-1], "-") {
			continue // may be the value of a flag
		}
		if _, err := strconv.ParseFloat(s, 64); err == nil && strings.HasPrefix(s, "-") {
			out[i] = negativeMark + s
		}
	}
	return out
}

// restoreNegative takes the marks of keepNegative away.
func restoreNegative(args []string) []string {
	out := make([]string, len(args))
	for i, s := range args {
		out[i] = strings.TrimPrefix(s, negativeMark)
	}
	return out
}
