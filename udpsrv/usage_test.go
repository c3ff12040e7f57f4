package main

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"", "a command is missing (see udpsrv --help)"},
		{"swep", `unknown command "swep", did you mean "sweep"? (see udpsrv --help)`},
		{"frobnicate", `unknown command "frobnicate" (see udpsrv --help)`},
		{"--bogus", "unknown flag: --bogus (see udpsrv --help)"},
		{"sweep --bogus", "unknown flag: --bogus (see udpsrv sweep --help)"},
		{"sweep x", `sweep takes no argument, got "x" (see udpsrv sweep --help)`},
		{"sweep --wait 0s", "--wait: 0s is not more than 0 and at most 5m0s (see udpsrv sweep --help)"},
		{"sweep --wait 6m", "--wait: 6m0s is not more than 0 and at most 5m0s (see udpsrv sweep --help)"},
		{"sweep --to=", "--to: \"\" is neither HOST nor HOST:PORT (see udpsrv sweep --help)"},
		{"get h/s --to=", "--to: \"\" is neither HOST nor HOST:PORT (see udpsrv get --help)"},
		{"sweep --to a,", "--to: \"\" is neither HOST nor HOST:PORT (see udpsrv sweep --help)"},
		{"sweep --to a --to=", "--to: \"\" is neither HOST nor HOST:PORT (see udpsrv sweep --help)"},
		{"sweep --interface=", "--interface: \"\" is no network interface (see udpsrv sweep --help)"},
		{"sweep --interface lo,", "--interface: \"\" is no network interface (see udpsrv sweep --help)"},
		{"sweep --every 0s", "--every: 0s is not more than 0 (see udpsrv sweep --help)"},
		{"sweep --port 0", "--port: 0 is not from 1 to 65535 (see udpsrv sweep --help)"},
		{"sweep --port 70000", "--port: 70000 is not from 1 to 65535 (see udpsrv sweep --help)"},
		{"sweep --to 1.2.3.4:0", `--to: "1.2.3.4:0" is neither HOST nor HOST:PORT (see udpsrv sweep --help)`},
		{"sweep --to a..b", `--to: "a..b" is neither HOST nor HOST:PORT (see udpsrv sweep --help)`},
		{"sweep --to http://x/", `--to: "http://x/" is neither HOST nor HOST:PORT (see udpsrv sweep --help)`},
		{"sweep --via pigeon", `--via: "pigeon" is none of udp, mqtt, both (see udpsrv sweep --help)`},
		{"sweep --via mqtt --topic #", `--topic: topic "#" has a wildcard (see udpsrv sweep --help)`},
		{"sweep --via mqtt --topic $SYS/x", `--topic: topic "$SYS/x" is reserved to the broker (see udpsrv sweep --help)`},
		{"--broker http://h sweep", "--broker: scheme must be one of tcp, mqtt, ssl, tls, mqtts (see udpsrv sweep --help)"},
		{"--broker mqtt://u:secret@h:x sweep", "--broker: not a URL like mqtt://host:1883 (see udpsrv sweep --help)"},
		{"get", "get takes HOST/SERVICE[/PATH], got 0 arguments (see udpsrv get --help)"},
		{"get pizero2", `"pizero2" is not HOST/SERVICE (see udpsrv get --help)`},
		{"get pi+/gpio", `"pi+" is no name of a host, no id and no address (see udpsrv get --help)`},
		{"get pizero2/gp#o", `service: name "gp#o": only A-Z, a-z, 0-9, _ and - are allowed (see udpsrv get --help)`},
		{"get pizero2/gpio/set/x", `path "set/x": "set" is a word of the interface (see udpsrv get --help)`},
		{"get pizero2/gpio/a//b", `path "a//b": segments of A-Z, a-z, 0-9, _, . and - joined by / are allowed (see udpsrv get --help)`},
		{"get h/s --timeout 0s", "--timeout: 0s is not more than 0 and at most 5m0s (see udpsrv get --help)"},
		{"set h/s/p", "set takes HOST/SERVICE/PATH and VALUE, got 1 arguments (see udpsrv set --help)"},
		{"set h/s ON", `"h/s" names no point; HOST/SERVICE/PATH is needed (see udpsrv set --help)`},
		{"control h/s/p x", `"h/s/p" is more than HOST/SERVICE (see udpsrv control --help)`},
		{"control h/s", "control takes HOST/SERVICE and TEXT, got 1 arguments (see udpsrv control --help)"},
		{"setup h/s/p", `"h/s/p" is more than HOST/SERVICE (see udpsrv setup --help)`},
		{"spy a#", `topic "a#": + and # stand for whole levels, # at the end only (see udpsrv spy --help)`},
		{"spy #/a", `topic "#/a": + and # stand for whole levels, # at the end only (see udpsrv spy --help)`},
		{"spy a+/b", `topic "a+/b": + and # stand for whole levels, # at the end only (see udpsrv spy --help)`},
		{"spy -n -1", "--count: -1 is less than 0 (see udpsrv spy --help)"},
		{"docs x", `docs takes no argument, got "x" (see udpsrv docs --help)`},
		{"docs --format pdf", `--format: "pdf" is none of the formats known (see udpsrv docs --help)`},
		{"docs --format all", `--format all needs a folder: -o DIR/ (see udpsrv docs --help)`},
		{"docs --wait 0s", "--wait: 0s is not more than 0 and at most 5m0s (see udpsrv docs --help)"},
		{"version x", `version takes no argument, got "x" (see udpsrv version --help)`},
		{"help bogus", `no help about "bogus" (see udpsrv help --help)`},
		{"completion tcsh", `completion takes one of bash, fish, powershell, zsh, got ["tcsh"] (see udpsrv completion --help)`},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			stdout, stderr := newLaptop(t).want(exitUsage, strings.Fields(c.args)...)
			if want := "udpsrv: " + c.want + "\n"; stderr != want || stdout != "" {
				t.Errorf("got %q and on stdout %q, want %q", stderr, stdout, want)
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	for _, args := range [][]string{{"--help"}, {"help"}, {"help", "sweep"}, {"sweep", "--help"}, {"completion", "bash"}, {"completion", "zsh"}} {
		if stdout, stderr := l.want(exitOK, args...); stderr != "" || len(stdout) < 100 {
			t.Errorf("%v printed %d bytes, and to stderr %q", args, len(stdout), stderr)
		}
	}
	if stdout, _ := l.want(exitOK, "version"); !strings.HasPrefix(stdout, "udpsrv ") || strings.Count(stdout, "\n") != 1 {
		t.Errorf("version printed %q", stdout)
	}
}

// A full disk or a closed pipe is a failure, not a success.
func TestStdoutFails(t *testing.T) {
	t.Parallel()
	var errs bytes.Buffer
	code := run(context.Background(), []string{"version"}, strings.NewReader(""), broken{}, &errs)
	if want := "udpsrv: write to stdout: no space\n"; code != exitFail || errs.String() != want {
		t.Errorf("status %d with %q, want %d with %q", code, errs.String(), exitFail, want)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestNegativeNumbers(t *testing.T) {
	t.Parallel()
	args := []string{"set", "h/s/p", "-5", "x", "-0.5", "x", "-1e3", "--wait", "-1", "-n", "-2", "-f", "--", "-x"}
	kept := keepNegative(args)
	want := []string{"set", "h/s/p", "\x00-5", "x", "\x00-0.5", "x", "\x00-1e3", "--wait", "-1", "-n", "-2", "-f", "--", "-x"}
	if !slices.Equal(kept, want) {
		t.Errorf("keepNegative = %q, want %q", kept, want)
	}
	if got := restoreNegative(kept); !slices.Equal(got, args) {
		t.Errorf("restoreNegative = %q, want %q", got, args)
	}
	if keepNegative(nil) == nil {
		t.Error("keepNegative(nil) is nil: cobra would take the test's own arguments")
	}
}
