package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/internal/discover"
	"rollcall/internal/trust"
)

// doctoring is the options of doctor.
type doctoring struct {
	asking
	format
	config string

	// For tests: where /proc, /sys and /run are, and how a program of the system is run.
	root string
	tool func(ctx context.Context, name string, args ...string) ([]byte, error)
}

// States of a finding.
const (
	isFine  = "ok"
	isWrong = "wrong"
	isNote  = "note"   // worth knowing, nothing to mend
	unseen  = "unseen" // could not be looked at
)

// finding is one thing that was looked at.
type finding struct {
	State string `json:"state"`
	Kind  string `json:"kind"` // interface, firewall, send, clock, key, port, unit, broker, service, host, buffer
	About string `json:"about"`
	Text  string `json:"text"`
	Fix   string `json:"fix,omitempty"` // one line for a shell
}

func newDoctor(a *app) *cobra.Command {
	d := doctoring{tool: runTool}
	cmd := &cobra.Command{
		Use:   "doctor [HOST...]",
		Short: "Find out why a host is not found, or whether all is well here",
		Long: `Find out why a host is not found: doctor looks at this machine (interfaces, packet filter, clock, keys), at what answers a sweep,
and, for each HOST, at everything on the way to it: its address, whether a machine is there, whether its monitor runs and obeys this
key, its broker, its services. Without a HOST it looks at all hosts that answer or are missing. On a host it looks at the host's own
monitor too. Each thing that is wrong comes with the line that mends it; what could not be looked at is said.

Exit status: 0 all is well, 1 something is wrong, 2 wrong usage.`,
		Example: "  udpsrv doctor\n  udpsrv doctor pizero2\n  udpsrv doctor --json | jq '.findings[] | select(.state == \"wrong\")'",
		Args: func(_ *cobra.Command, args []string) error {
			for _, h := range args {
				if !validHost(h) {
					return usagef("%q is no name of a host, no id and no address", h)
				}
			}
			return nil
		},
		ValidArgsFunction: completeHost(a),
		RunE:              action(func(ctx context.Context, args []string) error { return d.run(ctx, a, args) }),
	}
	d.asking.flags(cmd)
	d.format.flags(cmd, "what was looked at")
	cmd.Flags().StringVar(&d.config, "config", "/etc/rollcall/rollcall.yaml", "configuration of this machine's own monitor, if it is a host")
	return cmd
}

// completeHost completes the name of a host from the cache.
func completeHost(a *app) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, typed string) (words []string, _ cobra.ShellCompDirective) {
		quiet := *a
		quiet.err = &output{w: io.Discard}
		for _, e := range quiet.openCache().Hosts {
			if strings.HasPrefix(e.Hostname, typed) && !slices.Contains(args, e.Hostname) {
				words = append(words, e.Hostname)
			}
		}
		return slices.Compact(words), cobra.ShellCompDirectiveNoFileComp
	}
}

// runTool runs a program of the system. What it says of a failure is in the error.
func runTool(ctx context.Context, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	path, err := exec.LookPath(name)
	dirs := []string{"/usr/sbin", "/sbin"} // not in the PATH of Debian's users
	if own, oerr := os.Executable(); oerr == nil {
		dirs = append(dirs, filepath.Dir(own)) // a checkout's bin/
	}
	for _, dir := range dirs {
		if p := filepath.Join(dir, name); err != nil {
			path, err = exec.LookPath(p)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s is not installed", name)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
		return out, fmt.Errorf("%s: %s", name, cmp.Or(first, err.Error()))
	}
	return out, nil
}

// exam is one run of doctor.
type exam struct {
	*doctoring
	a     *app
	who   *identity
	known *cache

	found  []finding
	ifaces []discover.Interface // that a sweep uses
	fw     *firewall            // nil: not readable
	shut   bool                 // the packet filter drops answers, or may
	rd     *round               // nil: there was none
}

func (d *doctoring) run(ctx context.Context, a *app, names []string) error {
	if err := d.check(); err != nil {
		return err
	}
	who, err := a.who()
	if err != nil {
		return err
	}
	defer a.begin("looking for what is wrong").end()
	x := &exam{doctoring: d, a: a, who: who, known: a.openCache()}
	x.interfaces()
	x.firewall(ctx)
	x.clock()
	x.sweep(ctx)
	x.here(ctx)
	x.distrusted()
	if len(names) == 0 {
		x.everybody(ctx)
	}
	for _, name := range names {
		x.named(ctx, name)
	}
	if ctx.Err() != nil {
		return errInterrupted
	}
	return x.conclude()
}

// add takes a finding in, and prints it unless all of them are printed for a program in the end.
func (x *exam) add(state, kind, about, fix, format string, args ...any) {
	f := finding{state, kind, about, fmt.Sprintf(format, args...), fix}
	if slices.Contains(x.found, f) {
		return
	}
	x.found = append(x.found, f)
	if x.asked() {
		return
	}
	fmt.Fprintf(x.a.out, "%-6s %-9s %-18s %s\n", f.State, f.Kind, clean(f.About), clean(f.Text)) // output remembers the error
	if f.Fix != "" {
		fmt.Fprintf(x.a.out, "%-6s %-9s   %s\n", "", "", clean(f.Fix))
	}
}

func (x *exam) fine(kind, about, format string, args ...any) {
	x.add(isFine, kind, about, "", format, args...)
}

func (x *exam) wrong(kind, about, fix, format string, args ...any) {
	x.add(isWrong, kind, about, fix, format, args...)
}

// unseen says what could not be looked at.
func (x *exam) unseen(kind, about, fix, format string, args ...any) {
	x.add(unseen, kind, about, fix, format, args...)
}

// conclude ends the output and returns whether something is wrong.
func (x *exam) conclude() error {
	wrong := 0
	for _, f := range x.found {
		if f.State == isWrong {
			wrong++
		}
	}
	if x.asked() {
		err := x.print(x.a.out, struct {
			OK       bool      `json:"ok"`
			Findings []finding `json:"findings"`
		}{wrong == 0, x.found})
		if err != nil {
			return err
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%s wrong; the line below each mends it, or goes on looking", plural(wrong, "thing"))
	}
	return nil
}

// asRoot is the line that runs this command again with the rights to see everything, and the same keys.
func (x *exam) asRoot() string {
	line := "sudo udpsrv doctor"
	if dir, err := x.a.keyDir(); err == nil {
		line += " --keys " + quote(dir)
	}
	if x.known.path != "" {
		line += " --cache " + quote(x.known.path)
	}
	return line
}

// over is the line that runs a command on a host.
func over(host, command string) string { return "ssh " + host + " " + command }

// distrusted tells of hosts that are not who they were.
func (x *exam) distrusted() {
	if x.rd == nil {
		return
	}
	for _, err := range x.rd.distrusted {
		var opened *openedError
		switch changed, ok := errors.AsType[*trust.ChangedError](err); {
		case ok:
			x.wrong("key", changed.Now.Name, fmt.Sprintf("udpsrv trust --forget %s && udpsrv trust %s", changed.Known.Name, changed.Now.Name), "%v", err)
		case errors.As(err, &opened):
			x.wrong("key", opened.was.Name, "udpsrv trust --forget "+opened.was.Name, "%v", err)
		default:
			x.wrong("key", "two hosts", "", "%v", err)
		}
	}
}

// read returns a file of /proc, /sys or /run, without what stands around it.
func (x *exam) read(path string) (string, error) {
	b, err := os.ReadFile(x.root + path)
	return strings.TrimSpace(string(b)), err
}
