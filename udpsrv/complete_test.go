package main

import (
	"net"
	"strings"
	"testing"
	"time"

	"rollcall/internal/bus/bustest"
)

// completing returns what the shell is told, with spaces in between.
func (l *laptop) completing(line string) string {
	l.t.Helper()
	stdout, stderr := l.want(exitOK, append([]string{"__complete"}, strings.Split(line, " ")...)...)
	for text := range strings.Lines(stderr) {
		if !strings.HasPrefix(text, "Completion ended with directive") { // cobra says so, for people
			l.t.Errorf("completing %q says %q", line, text)
		}
	}
	return strings.ReplaceAll(strings.TrimSpace(stdout), "\n", " ")
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	serve(t, url, (&device{}).answer)
	r, l := boot(t, hostNamed("pizero2", 0xab, url), nil), newLaptop(t)
	other := boot(t, hostNamed("pi3", 0xcd, "tcp://"+freePort(t)), nil)
	if got := l.completing("get "); got != ":4" {
		t.Errorf("completing before the first sweep gives %q", got)
	}
	l.want(exitOK, "sweep", "--to", r.addr+","+other.addr)
	for range 10 { // on a busy machine the service is not waited for long enough
		if l.completing("set pizero2/gpio/") != ":4" {
			break
		}
	}
	const noFiles, noSpace = ":4", ":6"
	for _, c := range []struct{ line, want string }{
		{"get ", "pi3/ pizero2/ " + noSpace},
		{"get pizero2/g", "pizero2/gpio pizero2/gpio/ " + noSpace},
		{"setup pizero2/", "pizero2/gpio pizero2/hostsensor " + noFiles},
		{"control pizero2/g", "pizero2/gpio " + noFiles},
		{"set pizero2/gpio/", "pizero2/gpio/output/ " + noSpace}, // the sweep knows no points: the service was asked
		{"set pizero2/gpio/output/p", "pizero2/gpio/output/pump " + noFiles},
		{"set pizero2/gpio/output/pump ", "ON OFF TOGGLE " + noFiles},
		{"set pizero2/gpio/output/pump O", "ON OFF " + noFiles},
		{"set pizero2/gpio/output/level ", noFiles},
		{"get pizero2/gpio/", "pizero2/gpio/description pizero2/gpio/input/ pizero2/gpio/output/ pizero2/gpio/setup " + noSpace},
		{"get pizero2/gpio/input/", "pizero2/gpio/input/door " + noFiles},
		{"get pi3/gpio/", "pi3/gpio/description pi3/gpio/setup " + noFiles}, // its broker is down
		{"get x", noFiles},
		{"get pizero2/gpio ", noFiles},
		{"trust p", "pi3 pizero2 " + noFiles},
		{"trust pi3 ", noFiles},
		{"enroll pi3 ", "pizero2 " + noFiles},
		{"spy --host ", "pi3 pizero2 " + noFiles},
		{"spy /pizero2/gpio/i", "/pizero2/gpio/input/ " + noSpace},
		{"spy /pizero2/s", "/pizero2/status " + noFiles},
		{"--broker piz", "pizero2 " + noFiles},
		{"sweep --to ", "pi3 pizero2 " + noFiles},
		{"sweep --to pi3,", "pi3,pizero2 " + noFiles},
		{"sweep --want service=", "service=gpio service=hostsensor " + noFiles},
		{"sweep --via ", "udp mqtt both " + noFiles},
		{"sweep ", noFiles},
		{"enroll --rights read,", "read,control read,setup " + noFiles},
	} {
		if got := l.completing(c.line); got != c.want {
			t.Errorf("completing %q gives %q, want %q", c.line, got, c.want)
		}
	}
	if got := l.completing("sweep --interface l"); !strings.HasPrefix(got, "lo ") {
		t.Errorf("completing --interface gives %q", got)
	}
}

// TestCompletionIsBounded: a broker that takes connections and says nothing does not hold the shell up.
func TestCompletionIsBounded(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0") // the kernel takes connections for it
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	r, l := boot(t, hostNamed("pizero2", 0xab, "tcp://"+mute.Addr().String()), nil), newLaptop(t)
	l.want(exitOK, "sweep", "--to", r.addr)
	began := time.Now()
	if got := l.completing("set pizero2/gpio/"); got != ":4" || time.Since(began) > completeWait+2*patience {
		t.Errorf("completing gives %q after %s", got, time.Since(began))
	}
}

// TestEverythingCompletes: no argument of a command is completed by the files that happen to lie around, unless it is a file.
func TestEverythingCompletes(t *testing.T) {
	t.Parallel()
	files := map[string]string{"udpsrv trust mosquitto": "CERTIFICATE", "udpsrv import janitoo": "FILE"}
	a := &app{in: strings.NewReader(""), out: &output{}, err: &output{}}
	for _, c := range commandsOf(newRoot(a)) {
		if _, file := files[c.CommandPath()]; c.ValidArgsFunction == nil && !file && !c.Hidden && !strings.HasPrefix(c.CommandPath(), "udpsrv completion") {
			t.Errorf("%s completes files; see complete.go", c.CommandPath())
		}
	}
}

// TestCompletionIsNoCommand: bash puts what several words begin with on the command line as it is; a host's words are no commands.
func TestCompletionIsNoCommand(t *testing.T) {
	t.Parallel()
	words := []string{"on", "off;reboot;1", "off;reboot;2", "$(id)", "`id`", "a b", "x|y", "x&y", "x>y", "~", "a'b", `a"b`, `a\b`, "x\ny", "x\x1b", "*", "#", "!1", "half-on_2.5%", "class=", "grün"}
	if got, want := strings.Join(begins(words, ""), " "), "on half-on_2.5% class= grün"; got != want {
		t.Errorf("begins(%q) = %q, want %q", words, got, want)
	}
}
