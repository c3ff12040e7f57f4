package main

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"rollcall/internal/trust"
	"rollcall/reports"
)

// completeWait bounds how long the shell waits for the points of a service that is not described in the cache yet.
const completeWait = 1500 * time.Millisecond

// quiet returns an app that says nothing: a warning would stand in the middle of the command line.
func (a *app) quiet() *app {
	q := *a
	q.err = &output{w: io.Discard}
	return &q
}

// completeTarget completes HOST/SERVICE from the last sweep, and /PATH where points is given: by those of which it is true, and
// by words, which are paths beside those of points. A service whose points are not known yet is asked for them.
func completeTarget(a *app, points func(cachedPoint) bool, words ...string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		quiet := a.quiet()
		if points != nil {
			quiet.learnPoints(cmd.Context(), typed)
		}
		hosts := quiet.openCache().Hosts
		for i := range hosts {
			for j := range hosts[i].Services {
				for _, w := range words {
					hosts[i].Services[j].Points = append(slices.Clip(hosts[i].Services[j].Points), cachedPoint{Path: w, Set: true})
				}
			}
		}
		return levels(targetWords(hosts, typed, points))
	}
}

// levels has the shell add no space behind what goes on.
func levels(words []string) ([]string, cobra.ShellCompDirective) {
	directive := cobra.ShellCompDirectiveNoFileComp
	if slices.ContainsFunc(words, func(w string) bool { return strings.HasSuffix(w, "/") }) {
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	return words, directive
}

// learnPoints asks the service of HOST/SERVICE/… at its broker what points it has, if that is known of neither. It does so at
// most for completeWait, of hosts that a sweep has found, and never asks the network.
func (a *app) learnPoints(ctx context.Context, typed string) {
	parts := strings.SplitN(typed, "/", 3)
	if len(parts) < 3 || a.named != nil {
		return
	}
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completeWait)
	defer cancel()
	known := a.openCache()
	found := matching(known.Hosts, parts[0])
	if len(found) != 1 || !slices.ContainsFunc(found[0].Services, func(s cachedService) bool { return s.Name == parts[1] && len(s.Points) == 0 }) {
		return
	}
	brokers, _ := found[0].reachable()
	for _, b := range brokers {
		none := func(context.Context, *link) error { return nil }
		if done, _ := a.try(ctx, known, found[0], target{service: parts[1]}, b, none, true); done || ctx.Err() != nil {
			return // try has saved what the service says
		}
	}
}

// targetWords returns how what was typed may go on: by one level, so that a hundred points do not fill the screen. A level
// that has more below it ends in a slash.
func targetWords(hosts []entry, typed string, points func(cachedPoint) bool) (words []string) {
	for _, h := range hosts {
		var all []string
		for _, s := range h.Services {
			all = append(all, h.Hostname+"/"+s.Name)
			for _, p := range s.Points {
				if points != nil && points(p) {
					all = append(all, h.Hostname+"/"+s.Name+"/"+p.Path)
				}
			}
		}
		words = append(words, goOn(all, typed)...)
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// goOn returns those of the words that begin with what was typed, up to the next slash.
func goOn(words []string, typed string) (out []string) {
	for _, full := range words {
		if !strings.HasPrefix(full, typed) {
			continue
		}
		if i := strings.IndexByte(full[len(typed):], '/'); i >= 0 {
			full = full[:len(typed)+i+1]
		}
		out = append(out, full)
	}
	return out
}

// completeSet completes HOST/SERVICE/PATH, and then what the point can be set to.
func completeSet(a *app) cobra.CompletionFunc {
	path := completeTarget(a, func(p cachedPoint) bool { return p.Set })
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) != 1 {
			return path(cmd, args, typed)
		}
		t, err := parseTarget(args[0])
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for _, h := range matching(a.quiet().openCache().Hosts, t.host) {
			for _, s := range h.Services {
				for _, p := range s.Points {
					if s.Name == t.service && p.Path == t.path {
						return begins(p.Values, typed), cobra.ShellCompDirectiveNoFileComp
					}
				}
			}
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// valuesOf returns what a person may set a point to, if that can be listed.
func valuesOf(p reports.Point) []string {
	switch {
	case !p.Access.Has(reports.Set):
		return nil
	case p.Type == reports.Bool:
		return []string{"ON", "OFF", "TOGGLE"}
	}
	return p.Options
}

// begins returns the words that begin with what was typed, but none with a character that means something to a shell: words come
// from hosts, and bash puts what several of them begin with on the command line unquoted.
func begins(words []string, typed string) (out []string) {
	special := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_./:,=@%+", r)
	}
	for _, w := range words {
		if strings.HasPrefix(w, typed) && !strings.ContainsFunc(w, special) {
			out = append(out, w)
		}
	}
	return out
}

// hostnames returns the hosts of the last sweeps, sorted.
func (a *app) hostnames() (names []string) {
	for _, h := range a.quiet().openCache().Hosts {
		names = append(names, h.Hostname)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// completeHosts completes as many HOSTs as the command takes, 0 for any number; none of them twice.
func completeHosts(a *app, most int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names := slices.DeleteFunc(begins(a.hostnames(), typed), func(n string) bool { return slices.Contains(args, n) })
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeTopic completes topics of the services of the last sweeps, level by level.
func completeTopic(a *app) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		all := []string{"#"}
		for _, h := range a.quiet().openCache().Hosts {
			all = append(all, "/"+h.Hostname+"/#", reports.HostStatus(h.Hostname))
			for _, s := range h.Services {
				t := reports.Topics{Host: h.Hostname, Service: s.Name}
				all = append(all, t.To("#"), t.To("status"))
				for _, p := range s.Points {
					all = append(all, t.To(p.Path))
				}
			}
		}
		words := goOn(all, typed)
		slices.Sort(words)
		return levels(slices.Compact(words))
	}
}

// completeList completes the last word of a list with commas by words that are not in it yet.
func completeList(words func() []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		said, last := "", typed
		if i := strings.LastIndexByte(typed, ','); i >= 0 {
			said, last = typed[:i+1], typed[i+1:]
		}
		taken := strings.Split(said, ",")
		var out []string
		directive := cobra.ShellCompDirectiveNoFileComp
		for _, w := range begins(words(), last) {
			if slices.Contains(taken, w) {
				continue
			}
			if strings.HasSuffix(w, "=") {
				directive |= cobra.ShellCompDirectiveNoSpace
			}
			out = append(out, said+w)
		}
		return out, directive
	}
}

// completeFlag has a flag completed, if the command has it.
func completeFlag(cmd *cobra.Command, flag string, by cobra.CompletionFunc) {
	if cmd.Flags().Lookup(flag) != nil {
		_ = cmd.RegisterFlagCompletionFunc(flag, by) // it is there, and asked for once
	}
}

// completeFlags has the flags completed that mean the same in all commands.
func completeFlags(a *app, cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		completeFlags(a, c)
	}
	if cmd.ValidArgsFunction == nil && cmd.Args != nil && cmd.Args(cmd, []string{"x"}) != nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions // it takes no argument
	}
	completeFlag(cmd, "to", completeList(a.hostnames))
	completeFlag(cmd, "host", completeHosts(a, 0))
	completeFlag(cmd, "interface", completeList(interfaceNames))
	completeFlag(cmd, "want", completeList(a.selectors))
	completeFlag(cmd, "rights", completeList(func() []string {
		return []string{trust.Read.String(), trust.Control.String(), trust.Setup.String()}
	}))
	for _, plain := range []string{"every", "wait", "timeout", "port", "count", "subnet", "topic", "listen", "metrics-port"} {
		completeFlag(cmd, plain, cobra.NoFileCompletions)
	}
}

// interfaceNames returns the network interfaces of this machine.
func interfaceNames() (names []string) {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range all {
		names = append(names, i.Name)
	}
	return names
}

// selectors returns what --want may name of the last sweeps.
func (a *app) selectors() []string {
	words := a.hostnames()
	for _, h := range a.quiet().openCache().Hosts {
		for _, s := range h.Services {
			words = append(words, "service="+s.Name)
			for _, p := range s.Points {
				if p.Class != "" {
					words = append(words, "class="+p.Class)
				}
			}
		}
	}
	slices.Sort(words)
	return slices.Compact(words)
}
