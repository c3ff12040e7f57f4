package main

import "rollcall/internal/man"

// manual is what the manual pages say beside the commands.
func manual() man.Config {
	return man.Config{Section: 1, Version: thisBuild().Version, About: []man.Part{
		{Title: "OUTPUT", Text: `Results go to stdout; counts, times, warnings and errors to stderr. On a terminal tables are as wide as it is, and have colours; in
a pipe nothing is shortened or coloured. --json and --yaml print the same for programs.`},
		{Title: "ENVIRONMENT", Text: `  NO_COLOR  with any text in it: no colours
  TERM      dumb: no colours, and nothing that moves the cursor
  COLUMNS   how wide tables are on a terminal`},
		{Title: "FILES", Text: `  ~/.cache/rollcall/hosts.json   the hosts that were found, for completion and to find them sooner
  ~/.config/rollcall/id_ed25519  the operator's key
  ~/.config/rollcall/known_hosts the hosts' keys`},
		{Title: "EXIT STATUS", Text: "0 found or done, 1 nothing found or a failed command, 2 wrong usage."},
	}, See: []string{"udpmon(8)", "agentd(8)"}}
}
