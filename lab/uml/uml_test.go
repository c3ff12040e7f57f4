//go:build linux

package uml_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/lab/uml"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a test that only notes how it ended.
type recorder struct {
	testing.TB
	mu   sync.Mutex
	said []string
}

func (r *recorder) note(how, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, how+": "+text)
}

func (r *recorder) Helper()                   {}
func (r *recorder) Logf(f string, a ...any)   { r.note("log", fmt.Sprintf(f, a...)) }
func (r *recorder) Errorf(f string, a ...any) { r.note("error", fmt.Sprintf(f, a...)) }
func (r *recorder) Fatal(a ...any)            { r.note("fatal", fmt.Sprint(a...)); runtime.Goexit() }
func (r *recorder) Fatalf(f string, a ...any) {
	r.note("fatal", fmt.Sprintf(f, a...))
	runtime.Goexit()
}
func (r *recorder) Skipf(f string, a ...any) { r.note("skip", fmt.Sprintf(f, a...)); runtime.Goexit() }

// record runs f as a test of its own and returns what it noted, one thing a line.
func record(t *testing.T, f func(testing.TB)) string {
	t.Helper()
	r, done := &recorder{TB: t}, make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return strings.Join(r.said, "\n")
}

// TestGuest looks at a guest from inside.
func TestGuest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "host"), []byte("a file of the host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := uml.Boot(t, uml.Options{Binary: "/bin/sh", Args: []string{"-c", `
		exec 2>&1
		echo "guest $ROLLCALL_GUEST, $COLOUR"
		pwd; cat host
		touch here || echo here is read-only
		grep ' / hostfs ro,' /proc/mounts
		grep -o pi=2 /proc/cmdline
		touch /tmp/x /run/x /dev/shm/x && echo may write
		test -c /dev/gpiochip0 && cat /sys/devices/platform/gpio-sim.0/gpiochip0/sim_gpio27/value
		cat /sys/bus/iio/devices/iio:device0/in_voltage0_raw
		cat /sys/class/net/lo/flags
		exit 3`}, Env: []string{"COLOUR=blue"}, Dir: dir, Kernel: []string{"pi=2"}}).Wait()
	want := "guest 1, blue\n" + dir + "\na file of the host\ntouch: cannot touch 'here': Read-only file system\nhere is read-only\n" +
		"/dev/root / hostfs ro,relatime,/ 0 0\npi=2\nmay write\n0\n73\n0x9\n"
	if got := string(r.Output); got != want {
		t.Errorf("output = %q, want %q\nconsole:\n%s", got, want, r.Console)
	}
	if r.Status != 3 {
		t.Errorf("status = %d, want 3", r.Status)
	}
	if _, err := os.Stat(filepath.Join(dir, "here")); err == nil {
		t.Error("the guest has written to the host")
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	uml.Kernel(t)
	got := record(t, func(t testing.TB) { uml.Run(t, "/bin/sh", "-c", "echo well; exit 7") })
	for _, want := range []string{"log: guest:\nwell", "error: sh in the guest: exit status 7, want 0"} {
		if !strings.Contains(got, want) {
			t.Errorf("Run noted %q, want %q in it", got, want)
		}
	}
	got = record(t, func(t testing.TB) { uml.Run(t, "/bin/sh", "-c", "kill -9 $$") })
	if want := "exit status -1, want 0"; !strings.Contains(got, want) {
		t.Errorf("Run noted %q, want %q in it", got, want)
	}
	if got := record(t, func(t testing.TB) { uml.Run(t, "/bin/true") }); strings.Contains(got, "error") {
		t.Errorf("Run noted %q, want no error", got)
	}
}

// TestTimeout has a guest that never ends, and wants what it said until then.
func TestTimeout(t *testing.T) {
	t.Parallel()
	uml.Kernel(t)
	got := record(t, func(t testing.TB) {
		o := uml.Options{Binary: "/bin/sh", Args: []string{"-c", "echo I am here; exec sleep 1000"}, Timeout: 3 * time.Second}
		uml.Boot(t, o).Wait()
	})
	for _, want := range []string{"fatal: the guest has not ended after 3s", "I am here"} {
		if !strings.Contains(got, want) {
			t.Errorf("Wait noted %q, want %q in it", got, want)
		}
	}
}

var hold = flag.Bool("hold", false, "boot a guest and stay; for TestHoldHelper alone")

// TestHoldHelper is no test: it boots guests and is then killed.
func TestHoldHelper(t *testing.T) {
	if !*hold {
		t.Skip("run by TestKilled as a program")
	}
	uml.NewPi(t, uml.PiOptions{}).Start(false, "sh", "-c", "while :; do :; done")
	uml.Boot(t, uml.Options{Binary: "/bin/sleep", Args: []string{"1000"}})
	fmt.Println("both run")
	select {}
}

// TestKilled has a test that is killed, and wants nothing of its guests to be left.
func TestKilled(t *testing.T) {
	t.Parallel()
	uml.Kernel(t)
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestHoldHelper$", "-hold")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(said).ReadString('\n')
	before := mentioning(t, dir)
	_ = cmd.Process.Kill() // it has not been waited for
	_ = cmd.Wait()         // killed
	if line != "both run\n" || before < 2 {
		t.Fatalf("the helper said %q, %v, with %d processes", line, err, before)
	}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(patience); mentioning(t, dir) > 0; <-again.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d processes are left", mentioning(t, dir), before)
		}
	}
}

// mentioning returns how many processes have the text in their command line.
func mentioning(t *testing.T, text string) (n int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), text) {
			n++
		}
	}
	return n
}

// TestBroken has guests that cannot run their binary.
func TestBroken(t *testing.T) {
	t.Parallel()
	uml.Kernel(t)
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		o    uml.Options
		want string
	}{
		{uml.Options{Binary: filepath.Join(t.TempDir(), "nothing")}, "no such file or directory"},
		{uml.Options{Binary: text}, "exec format error"},
		{uml.Options{Binary: "/bin/true", Memory: "4M"}, "fatal: the guest broke"},
	} {
		got := record(t, func(t testing.TB) { uml.Boot(t, test.o).Wait() })
		if !strings.Contains(got, "fatal: ") || !strings.Contains(got, test.want) {
			t.Errorf("%+v: noted %q, want %q", test.o, got, test.want)
		}
	}
}

// TestNoKernel changes the environment, so it is not parallel.
func TestNoKernel(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for _, test := range []struct{ kernel, lab, want string }{
		{"", "", "skip: it boots the lab's kernel"},
		{"", "", "run: make lab"},
		{"", "1", "fatal: the lab's kernel is not there"},
		{"/no/such/kernel", "", "fatal: ROLLCALL_UML: stat /no/such/kernel"},
		{"/bin/true", "1", ""},
	} {
		t.Setenv(uml.KernelEnv, test.kernel)
		t.Setenv(uml.LabEnv, test.lab)
		got := record(t, func(t testing.TB) { uml.Kernel(t) })
		if !strings.Contains(got, test.want) || test.want == "" && got != "" {
			t.Errorf("kernel %q, lab %q: noted %q, want %q", test.kernel, test.lab, got, test.want)
		}
	}
}
