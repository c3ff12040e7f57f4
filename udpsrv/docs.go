package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"rollcall/reports"
	"rollcall/reports/faces"
)

// documenting is the options of docs.
type documenting struct {
	asking
	format string
	out    string
	values bool
}

// allFormats is the word of --format for every face.
const allFormats = "all"

func newDocs(a *app) *cobra.Command {
	var d documenting
	names := []string{}
	long := &strings.Builder{}
	for _, f := range faces.All() {
		names = append(names, f.Name)
		fmt.Fprintf(long, "  %-12s %s\n", f.Name, f.Doc)
	}
	cmd := &cobra.Command{
		Use:   "docs",
		Short: "Write documents of the cluster from what its services say of themselves",
		Long: `Ask every host "who are you?", read from their brokers what their services say of themselves, and write that as a document.
The same cluster gives the same bytes, unless the last values of its points are asked for with --values.

Formats:
` + long.String() + `  all          every one of them, into a folder

Without -o the document goes to stdout. -o names a file, or a folder, which is one that is there already or ends in a slash.`,
		Example: "  udpsrv docs >cluster.md\n  udpsrv docs --format html --values -o cluster.html\n  udpsrv docs --format asyncapi -o asyncapi.json\n  udpsrv docs --format dot | dot -Tsvg >cluster.svg\n  udpsrv docs --format all -o cluster/",
		Args:    noArgs,
		RunE:    action(func(ctx context.Context, _ []string) error { return d.run(ctx, a) }),
	}
	d.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&d.want, "want", "", "only hosts of this name pattern, or service=PATTERN, class=PATTERN, or several with commas")
	f.StringVar(&d.format, "format", "markdown", "what to write: "+strings.Join(names, ", ")+" or all")
	f.StringVarP(&d.out, "output", "o", "", "file or folder to write to; default: stdout")
	f.BoolVar(&d.values, "values", false, "write the last values of the points as well")
	// The only error is that of a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(append(names, allFormats), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// faces returns the faces that --format names.
func (d *documenting) faces() ([]reports.Face, error) {
	if d.format == allFormats {
		if !isFolder(d.out) {
			return nil, usagef("--format all needs a folder: -o DIR/")
		}
		return faces.All(), nil
	}
	f, ok := faces.Named(d.format)
	if !ok {
		return nil, usagef("--format: %q is none of the formats known", d.format)
	}
	return []reports.Face{f}, nil
}

func (d *documenting) run(ctx context.Context, a *app) error {
	wanted, err := d.faces()
	if err != nil {
		return err
	}
	if err := d.check(); err != nil {
		return err
	}
	rd, cluster, unread, err := a.gather(ctx, &d.asking, d.values)
	if err != nil {
		return err
	}
	if len(unread) > 0 {
		a.warnf("%s", untold(unread))
	}
	if err := errors.Join(rd.distrusted...); err != nil {
		return err
	}
	if len(rd.hosts) == 0 {
		return fmt.Errorf("%w (%s)", errNothing, rd.took())
	}
	for _, f := range wanted {
		if err := d.write(a, f, cluster); err != nil {
			return fmt.Errorf("write %s: %w", f.Name, err)
		}
	}
	return nil
}

// describedOnly returns the services of a host that have a description.
func describedOnly(h reports.Host) (out []reports.Service) {
	for _, s := range h.Services {
		if s.Described {
			out = append(out, s.Service)
		}
	}
	return out
}

// isFolder reports whether a path of -o means a folder.
func isFolder(path string) bool {
	if strings.HasSuffix(path, "/") || strings.HasSuffix(path, string(filepath.Separator)) {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// write makes the document of a face and puts it where -o says.
func (d *documenting) write(a *app, f reports.Face, c reports.Cluster) error {
	whole, err := f.Write(c)
	if err != nil {
		return err
	}
	if d.out == "" {
		_, err := a.out.Write(whole)
		return err
	}
	if !isFolder(d.out) {
		return writeWhole(d.out, whole)
	}
	files := []reports.File{{Name: f.File, Data: whole}}
	if f.Parts != nil {
		parts, err := f.Parts(c)
		if err != nil {
			return err
		}
		files = append(files, parts...)
	}
	for _, part := range files {
		path := filepath.Join(d.out, filepath.FromSlash(part.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := writeWhole(path, part.Data); err != nil {
			return err
		}
	}
	return nil
}

// writeWhole puts a file in place whole or not at all. What is no regular file, such as /dev/stdout or a pipe, is written to.
func writeWhole(path string, data []byte) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		return errors.Join(err, f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".docs-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
