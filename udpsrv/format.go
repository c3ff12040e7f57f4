package main

import (
	"io"

	"github.com/spf13/cobra"
)

// format is how a command prints what it knows: for people, or for programs with --json or --yaml. Both have the same structure
// and the same names.
type format struct{ json, yaml bool }

// flags adds --json and --yaml; what says what is printed so, such as "the answer".
func (f *format) flags(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVar(&f.json, "json", false, "print "+what+" as JSON")
	cmd.Flags().BoolVar(&f.yaml, "yaml", false, "print "+what+" as YAML")
}

// asked reports whether the output is for programs.
func (f *format) asked() bool { return f.json || f.yaml }

// print prints v, the only document of the command: JSON in one line, or YAML.
func (f *format) print(w io.Writer, v any) error {
	if f.yaml {
		return printYAML(w, v)
	}
	return printJSON(w, v)
}

// next prints v, one document of several: JSON in a line of its own, or YAML behind a line of three dashes.
func (f *format) next(w io.Writer, v any) error {
	if !f.yaml {
		return printJSON(w, v)
	}
	doc, err := toYAML(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append([]byte("---\n"), doc...))
	return err
}

// oneFormat refuses --json beside --yaml, on every command that has them.
func oneFormat(cmd *cobra.Command) error {
	if cmd.Flags().Changed("json") && cmd.Flags().Changed("yaml") {
		return usagef("--json and --yaml: only one of them can be")
	}
	return nil
}
