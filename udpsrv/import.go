package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"rollcall/config"
	"rollcall/config/janitoo"
)

// importing is the options of import janitoo.
type importing struct {
	out      string
	password string
	format
}

// imported is what import --json and --yaml print.
type imported struct {
	YAML  string       `json:"yaml"`
	Notes []importNote `json:"notes"`
}

// importNote is a line that was not carried over.
type importNote struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	Text string `json:"text"`
}

func newImport(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Turn another system's configuration into one of Rollcall's",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("import takes one of janitoo, got %q", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error { return usagef("import takes one of janitoo") },
	}
	cmd.AddCommand(newImportJanitoo(a))
	return cmd
}

func newImportJanitoo(a *app) *cobra.Command {
	var i importing
	cmd := &cobra.Command{
		Use:   "janitoo FILE.conf...",
		Short: "Turn the configuration of Janitoo's servers into a rollcall.yaml",
		Long: `Turn the configuration of the Janitoo servers of one host into a rollcall.yaml: buses and components into agents, addresses, names,
locations and heartbeats into the face janitoo, polls and the broker. Every line that could not be carried over is named on stderr,
as FILE:LINE, with the reason. Passwords are not copied into it. FILE - is stdin.`,
		Example: "  udpsrv import janitoo /etc/janitoo/jnt_hostsensor.conf\n  udpsrv import janitoo /opt/janitoo/etc/*.conf -o rollcall.yaml\n  agentd --check --config rollcall.yaml",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) > janitoo.MaxFiles {
				return usagef("janitoo takes 1 to %d files, got %d", janitoo.MaxFiles, len(args))
			}
			return nil
		},
		RunE: action(func(ctx context.Context, args []string) error { return i.run(ctx, a, args) }),
	}
	cmd.Flags().StringVarP(&i.out, "output", "o", "", "file to write to; default: stdout")
	cmd.Flags().StringVar(&i.password, "password-file", "", "file to put the broker's password into, which the configuration then names; an absolute path")
	i.format.flags(cmd, "the configuration and the lines that were not carried over")
	return cmd
}

func (i *importing) run(ctx context.Context, a *app, files []string) error {
	if i.asked() && i.out != "" {
		return usagef("--json and --yaml go to stdout, and not with -o")
	}
	if i.password != "" && !filepath.IsAbs(i.password) {
		return usagef("--password-file: %q is no absolute path", i.password)
	}
	var sources []janitoo.Source
	for _, name := range files {
		open, shown := func() (io.ReadCloser, error) { return os.Open(name) }, name
		if name == "-" {
			open, shown = a.stdin, "stdin"
		}
		doc, err := readDocument(ctx, open, shown)
		if err != nil {
			return err
		}
		sources = append(sources, janitoo.Source{Name: shown, Data: []byte(doc)})
	}
	result, err := janitoo.Import(sources, janitoo.Options{PasswordFile: i.password})
	if err != nil {
		return err
	}
	if result.Password != "" && i.password != "" {
		if err := config.Save(i.password, []byte(result.Password+"\n")); err != nil {
			return err
		}
	}
	if i.asked() {
		o := imported{YAML: string(result.YAML), Notes: []importNote{}}
		for _, n := range result.Notes {
			o.Notes = append(o.Notes, importNote(n))
		}
		return i.print(a.out, o)
	}
	for _, n := range result.Notes {
		fmt.Fprintln(a.err, clean(n.String()))
	}
	if i.out != "" {
		if err := writeWhole(i.out, result.YAML); err != nil {
			return fmt.Errorf("write %s: %w", i.out, err)
		}
		return nil
	}
	_, err = io.WriteString(a.out, cleanDocument(string(result.YAML)))
	return err
}
