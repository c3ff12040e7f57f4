//go:build linux

package uml

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rollcall/lab/uml/job"
)

// Guest is a kernel that runs. It is killed when its test ends.
type Guest struct {
	t       testing.TB
	dir     string // of the job: shared with the guest
	guard   *guard
	done    chan struct{} // closed when all of the guest's processes have ended
	timeout time.Duration
}

// Boot starts a guest that runs a binary. Inside there are a gpio-sim chip pinctrl-bcm2835 with the lines GPIO0 to GPIO27 and
// an IIO dummy device.
func Boot(t testing.TB, o Options) *Guest {
	t.Helper()
	kernel := Kernel(t)
	dir := t.TempDir()
	o, err := checked(o, dir)
	if err != nil {
		t.Fatal(err)
	}
	init := filepath.Join(dir, "init")
	lookAtSources(t, "rollcall/lab/uml/init")
	goCommand(t, []string{"CGO_ENABLED=0"}, "build", "-o", init, "rollcall/lab/uml/init")
	spec, err := json.Marshal(job.Spec{
		Binary: o.Binary, Args: o.Args, Dir: o.Dir, Name: o.name, Addr: o.addr, Disk: o.disk, Shown: o.shown,
		Env: append([]string{"PATH=" + os.Getenv("PATH"), "HOME=/tmp", "TMPDIR=/tmp", GuestEnv + "=1"}, o.Env...),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, job.SpecFile), spec, 0o644); err != nil {
		t.Fatal(err)
	}
	g := &Guest{t: t, dir: dir, done: make(chan struct{}), timeout: o.Timeout}
	words := append([]string{kernel}, commandLine(o, dir, init)...)
	if o.netns != "" {
		words = append([]string{"ip", "netns", "exec", o.netns}, words...) // which becomes the kernel
	}
	cmd := exec.Command(words[0], words[1:]...)
	if o.file != nil {
		cmd.ExtraFiles = []*os.File{o.file}
	}
	g.start(cmd)
	return g
}

func (g *Guest) start(cmd *exec.Cmd) {
	console, err := os.Create(filepath.Join(g.dir, "console"))
	if err != nil {
		g.t.Fatal(err)
	}
	defer console.Close() // the child has its own
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // every process of the guest is one of the host's
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.guard, err = newGuard(cmd.Process.Pid)
	if err != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it has not ended: nobody has waited for it
		_ = cmd.Wait()
		g.t.Fatal(err)
	}
	go func() { // ends with the kernel, which kill ends
		defer close(g.done)
		_ = cmd.Wait() // the guest's own status says more, and is in its file
		g.guard.kill() // a kernel that was killed leaves the processes of its programs
	}()
	g.t.Cleanup(g.kill)
}

// kill ends all processes of the guest, and waits for it.
func (g *Guest) kill() {
	g.guard.kill()
	<-g.done
}

// guard is a shell on the host that kills the processes of a guest when it is told, and when the test has gone, however it went:
// neither a test that is killed nor a guest that hangs leaves anything.
type guard struct {
	once sync.Once
	cmd  *exec.Cmd
	hold io.Closer // the guard kills when this end of its pipe is closed
}

func newGuard(group int) (*guard, error) {
	g := &guard{cmd: exec.Command("sh", "-c", `read -r _; kill -s KILL -- "-$0"`, strconv.Itoa(group))}
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what ends the test by its group must not end the guard
	var err error
	if g.hold, err = g.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return g, g.cmd.Start()
}

// kill ends the guest's processes and waits for the guard.
func (g *guard) kill() {
	g.once.Do(func() {
		_ = g.hold.Close() // that is the order
		_ = g.cmd.Wait()   // 1 if the guest had ended by itself
	})
}

// Wait waits until the guest has powered itself off. A guest that does not in time, or that breaks, fails the test.
func (g *Guest) Wait() Result {
	g.t.Helper()
	timer := time.NewTimer(g.timeout)
	defer timer.Stop()
	late := false
	select {
	case <-g.done:
	case <-timer.C:
		late = true
		g.kill()
	}
	r := Result{Output: g.read(job.OutputFile), Console: g.read("console")}
	status := strings.TrimSpace(string(g.read(job.StatusFile)))
	var err error
	switch r.Status, err = strconv.Atoi(status); {
	case late:
		g.t.Fatalf("the guest has not ended after %v; it said:\n%s\nits console:\n%s", g.timeout, r.Output, r.Console)
	case err != nil:
		g.t.Fatalf("the guest broke: %q; it said:\n%s\nits console:\n%s", status, r.Output, r.Console)
	}
	return r
}

// read returns a file of the job, or nothing if the guest has not made it.
func (g *Guest) read(name string) []byte {
	data, err := os.ReadFile(filepath.Join(g.dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		g.t.Error(err)
	}
	return data
}

// lookAtSources looks at the sources that a test compiles by itself. `go test` keeps a result until a file of this module that the
// test has looked at changes, and knows nothing of what the go command looked at for it.
func lookAtSources(t testing.TB, pkg string) {
	t.Helper()
	const files = `{{if and .Module (not .ForTest)}}{{if .Module.Main}}{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}` +
		`{{range .TestGoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{end}}{{end}}`
	for _, path := range strings.Fields(goCommand(t, nil, "list", "-deps", "-test", "-f", files, pkg)) {
		if _, err := os.Stat(path); err != nil && !errors.Is(err, os.ErrNotExist) { // the test's main is in no file
			t.Fatal(err)
		}
	}
}

// goCommand runs the go tool and returns what it prints. It leaves the version control system alone, which refuses to look into
// a checkout of another user.
func goCommand(t testing.TB, env []string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -buildvcs=false")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, exit.Stderr)
	}
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}
