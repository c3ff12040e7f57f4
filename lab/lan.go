// Package lab makes whole clusters on one machine: hosts as network namespaces that a bridge joins, each with its own broker,
// udpmon and agentd, built from this checkout. lab/uml has virtual Pis with a real kernel's GPIO.
//
// Its tests need root; without it they skip, or fail where ROLLCALL_LAB=1 says that they must run. No packet leaves the
// namespaces: nothing in them is joined to the machine's own network.
package lab

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rollcall/lab/transcript"
)

// patience is how long a test waits for what should be there in an instant.
const patience = 20 * time.Second

// Need skips the test unless it can run here, or fails it where it must.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	reason := "it makes network namespaces"
	missing := false
	if os.Geteuid() != 0 {
		reason, missing = "network namespaces need root", true
	}
	for _, p := range append(programs, "ip") {
		if _, err := exec.LookPath(p); err != nil {
			reason, missing = p+" is not installed", true
		}
	}
	switch must := os.Getenv("ROLLCALL_LAB") == "1"; {
	case must && missing:
		t.Fatal(reason)
	case !must:
		t.Skip(reason + "; run it with: sudo make lab")
	}
}

var build struct {
	sync.Once
	dir string
	err error
}

// Binaries builds udpsrv, udpmon and agentd once a test process and returns the folder they are in.
func Binaries(t testing.TB) string {
	t.Helper()
	build.Do(func() {
		build.dir = filepath.Join(os.TempDir(), fmt.Sprintf("rollcall-lab-bin-%d", os.Getpid()))
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=lab", "-o", build.dir+"/", "./udpsrv", "./udpmon", "./agents/agentd")
		cmd.Dir = top(t)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			build.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if build.err != nil {
		t.Fatalf("build: %v", build.err)
	}
	return build.dir
}

// RemoveBinaries removes what Binaries built; TestMain calls it.
func RemoveBinaries() {
	if build.dir != "" {
		_ = os.RemoveAll(build.dir) // a leftover in the temporary folder harms nobody
	}
}

// top returns the top of the checkout.
func top(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

// LAN is a bridge with hosts on it, 10.77.0.1 and up: a /24, or a /16 if there are too many. It is taken down when the test ends.
type LAN struct {
	t     testing.TB
	name  string
	dir   string // for what its hosts keep in files
	Hosts int
	Bits  int // of its network's prefix
}

var lanCount struct {
	sync.Mutex
	n int
}

// NewLAN makes a bridge and n hosts.
func NewLAN(t testing.TB, n int) *LAN {
	t.Helper()
	lanCount.Lock()
	lanCount.n++
	l := &LAN{t: t, name: fmt.Sprintf("rc%d-%d", os.Getpid(), lanCount.n), Hosts: n, Bits: 24}
	if n > 249 {
		l.Bits = 16
	}
	lanCount.Unlock()
	removeStale(t)
	sw := l.name + "-sw"
	l.dir = filepath.Join(os.TempDir(), "rollcall-"+l.name)
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = os.RemoveAll(l.dir) // what is left in the temporary folder harms nobody
		var names strings.Builder
		for i := range n {
			fmt.Fprintf(&names, "netns del %s\n", l.NS(i+1))
		}
		fmt.Fprintf(&names, "netns del %s\n", sw)
		_ = batch(names.String(), "-force") // one that was never made is no loss
	})
	var names, links strings.Builder
	fmt.Fprintf(&names, "netns add %s\n", sw)
	links.WriteString("link add br0 type bridge\nlink set br0 up\n")
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&names, "netns add %s\n", l.NS(i))
		fmt.Fprintf(&links, "link add v%d type veth peer name eth0 netns %s\nlink set v%d master br0 up\n", i, l.NS(i), i)
	}
	err := batch(names.String())
	if err == nil {
		err = batch(links.String(), "-n", sw)
	}
	for i := 1; i <= n && err == nil; i++ {
		err = batch(fmt.Sprintf("link set lo up\nlink set eth0 up\naddr add %s/%d brd + dev eth0\n", l.Addr(i), l.Bits), "-n", l.NS(i))
	}
	if err != nil {
		t.Fatal(err)
	}
	l.awaitLinks()
	return l
}

// awaitLinks waits until the kernel has noticed that the ports of the bridge are up, which it does a second later, or many where
// other networks are being removed: before that a frame goes nowhere.
func (l *LAN) awaitLinks() {
	l.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(3 * patience); ; <-again.C {
		up := 0
		if err := Inside(l.Switch(), func() {
			list, _ := net.Interfaces() // an error is as good as none: look again
			for _, f := range list {
				if f.Name != "lo" && f.Flags&net.FlagRunning != 0 {
					up++
				}
			}
		}); err != nil {
			l.t.Fatal(err)
		}
		if up == l.Hosts+1 { // with the bridge
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%d of %d links are up", up, l.Hosts+1)
		}
	}
}

// batch has one process of ip(8) run commands, a line each.
func batch(lines string, options ...string) error {
	cmd := exec.Command("ip", append(options, "-batch", "-")...)
	cmd.Stdin = strings.NewReader(lines)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w\n%s", strings.Join(options, " "), err, out)
	}
	return nil
}

var staleName = regexp.MustCompile(`^rc(\d+)-\d+-(sw|h\d+)$`)

// removeStale removes the namespaces of test processes that were killed before they could. Their programs went with them.
func removeStale(t testing.TB) {
	t.Helper()
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		t.Fatalf("ip netns list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		m := staleName.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		if _, err := os.Stat("/proc/" + m[1]); os.IsNotExist(err) {
			_ = exec.Command("ip", "netns", "del", name).Run() // another test may be faster
		}
	}
}

// NS returns the name of host i's network namespace; i counts from 1.
func (l *LAN) NS(i int) string { return fmt.Sprintf("%s-h%d", l.name, i) }

// Addr returns host i's address.
func (l *LAN) Addr(i int) string { return fmt.Sprintf("10.77.%d.%d", i/250, i%250) }

// Command returns a command that will run on host i. A name of this checkout's programs means the one that was built.
func (l *LAN) Command(i int, name string, args ...string) *exec.Cmd {
	l.t.Helper()
	if p := filepath.Join(Binaries(l.t), name); !strings.Contains(name, "/") {
		if _, err := os.Stat(p); err == nil {
			name = p
		}
	}
	return exec.Command("ip", append([]string{"netns", "exec", l.NS(i), name}, args...)...)
}

// Run runs a program of this checkout, or any other, on host i and returns its output and exit status.
func (l *LAN) Run(i int, name string, args ...string) (stdout, stderr string, status int) {
	l.t.Helper()
	cmd := l.Command(i, name, args...)
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(l.dir, fmt.Sprintf("cache-%d", i)),
		"XDG_CONFIG_HOME="+filepath.Join(l.dir, fmt.Sprintf("config-%d", i)))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		l.t.Fatalf("run %s: %v", name, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Process is a program that runs on a host.
type Process struct {
	t    testing.TB
	Name string
	Cmd  *exec.Cmd
	out  *transcript.Transcript
	done chan struct{}
}

// Start runs a program on host i until Stop, Kill or the end of the test. notify waits until it says READY=1 to systemd's
// socket (sd_notify(3)).
func (l *LAN) Start(i int, notify bool, name string, args ...string) *Process {
	l.t.Helper()
	p := &Process{t: l.t, Name: filepath.Base(name), Cmd: l.Command(i, name, args...), out: &transcript.Transcript{}, done: make(chan struct{})}
	p.Cmd.Stdout, p.Cmd.Stderr = p.out, p.out
	p.Cmd.Env = os.Environ()
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // a shell's children go with it
	p.Cmd.WaitDelay = 5 * time.Second
	var ready *net.UnixConn
	if notify {
		path := filepath.Join(l.dir, fmt.Sprintf("notify-%d-%s", i, p.Name))
		_ = os.Remove(path) // of an earlier start of the same program
		var err error
		if ready, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"}); err != nil {
			l.t.Fatal(err)
		}
		defer ready.Close()
		p.Cmd.Env = append(p.Cmd.Env, "NOTIFY_SOCKET="+path)
	}
	if err := p.Cmd.Start(); err != nil {
		l.t.Fatalf("start %s: %v", name, err)
	}
	go func() { _ = p.Cmd.Wait(); close(p.done) }() // how it ended is in ProcessState
	l.t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		if l.t.Failed() {
			l.t.Logf("%s on host %d said:\n%s", p.Name, i, p.out.String())
		}
	})
	if notify {
		b := make([]byte, 256)
		_ = ready.SetReadDeadline(time.Now().Add(20 * time.Second))
		for {
			n, err := ready.Read(b)
			if err != nil {
				l.t.Fatalf("%s on host %d is not ready: %v\n%s", p.Name, i, err, p.out.String())
			}
			if strings.Contains(string(b[:n]), "READY=1") {
				break
			}
		}
	}
	return p
}

func (p *Process) signal(s syscall.Signal) {
	_ = syscall.Kill(-p.Cmd.Process.Pid, s) // it may have ended by itself
	if s == syscall.SIGKILL || s == syscall.SIGTERM {
		<-p.done
	}
}

// Kill ends the process at once; Stop ends it as systemd does; Hangup makes it read its configuration again.
func (p *Process) Kill() { p.signal(syscall.SIGKILL) }

// Stop ends the process with SIGTERM and waits for it.
func (p *Process) Stop() { p.signal(syscall.SIGTERM) }

// Hangup sends SIGHUP.
func (p *Process) Hangup() { p.signal(syscall.SIGHUP) }

// Pid returns the process id: `ip netns exec` replaces itself with the program.
func (p *Process) Pid() int { return p.Cmd.Process.Pid }

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// WaitLine waits until the process has written a line that contains text, and returns it.
func (p *Process) WaitLine(text string, within time.Duration) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	line, err := p.out.Wait(ctx, text)
	if err != nil {
		p.t.Fatalf("%s did not write %q within %s; it wrote:\n%s", p.Name, text, within, p.out.String())
	}
	return line
}

// Lines returns the lines written so far.
func (p *Process) Lines() []string { return p.out.Lines() }
