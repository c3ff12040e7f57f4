package main

import (
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// completeTarget completes HOST/SERVICE from the cache, and /PATH where points is given: by those of which it is true.
func completeTarget(a *app, points func(cachedPoint) bool) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		quiet := *a // a warning would stand in the middle of the command line
		quiet.err = &output{w: io.Discard}
		words := targetWords(quiet.openCache().Hosts, typed, points)
		directive := cobra.ShellCompDirectiveNoFileComp
		if slices.ContainsFunc(words, func(w string) bool { return strings.HasSuffix(w, "/") }) {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		return words, directive
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
		for _, full := range all {
			if !strings.HasPrefix(full, typed) {
				continue
			}
			if i := strings.IndexByte(full[len(typed):], '/'); i >= 0 {
				full = full[:len(typed)+i+1]
			}
			words = append(words, full)
		}
	}
	slices.Sort(words)
	return slices.Compact(words)
}
