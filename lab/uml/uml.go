//go:build linux

// Package uml boots a user-mode Linux kernel for a test: real /dev/gpiochip*, gpio-sim and IIO on any x86_64 machine, as any
// user, in about a second and a half. The guest's root is the host's file system, read-only, so a test binary runs inside
// unchanged; /run, /tmp and /dev/shm are its own. kernel.sh builds the kernel. For tests only.
package uml

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

//go:embed kernel.config
var kernelConfig string

//go:embed kernel.patch
var kernelPatch string

// Environment variables. Guest is set to 1 inside of a guest, so that a test there fails where it would skip itself elsewhere.
const (
	KernelEnv = "ROLLCALL_UML"   // the path of the kernel, instead of the cached one
	LabEnv    = "ROLLCALL_LAB"   // 1: the cached kernel must be there; else it is not used
	GuestEnv  = "ROLLCALL_GUEST" // 1: this is a guest
)

// Options says what a guest is to run.
type Options struct {
	Binary  string        // on the host; required
	Args    []string      //
	Env     []string      // NAME=value, beside PATH, HOME, TMPDIR and ROLLCALL_GUEST
	Dir     string        // where it starts, on the host; the test's own if empty
	Memory  string        // default 128M
	Kernel  []string      // more words for the kernel's command line; the guest sees them in /proc/cmdline
	Timeout time.Duration // default a minute

	// For a Pi.
	name, addr, netns string
	disk              bool
	shown             []string
	file              *os.File // descriptor 3 of the kernel
}

// Result is how a guest ended.
type Result struct {
	Status  int    // exit status of the binary; -1 if a signal ended it
	Output  []byte // what it wrote to standard output and error
	Console []byte // what the kernel and the guest's init said
}

// Kernel returns the path of the kernel that ROLLCALL_UML names, or with ROLLCALL_LAB=1 of the cached one, and fails the test where
// it is not there. Where neither is set it skips the test: guests measure time, which the tests of other packages beside them stall.
func Kernel(t testing.TB) string {
	t.Helper()
	if path := os.Getenv(KernelEnv); path != "" {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%s: %v", KernelEnv, err)
		}
		return path
	}
	if os.Getenv(LabEnv) != "1" {
		t.Skipf("it boots the lab's kernel (%s=1); run: make lab", LabEnv)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte(kernelConfig + kernelPatch))
	path := filepath.Join(cache, "rollcall-lab", "linux-"+hex.EncodeToString(hash[:])[:16])
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the lab's kernel is not there: %v; build it: lab/uml/kernel.sh", err)
	}
	return path
}

// Run boots a guest that runs a binary, logs what it wrote, and fails the test unless it exits with 0.
func Run(t testing.TB, binary string, args ...string) {
	t.Helper()
	r := Boot(t, Options{Binary: binary, Args: args}).Wait()
	t.Logf("guest:\n%s", r.Output)
	if r.Status != 0 {
		t.Errorf("%s in the guest: exit status %d, want 0", filepath.Base(binary), r.Status)
	}
}

// testsMost is how long the tests of a package may take in a guest on a host that is busy; on an idle one they take half a minute.
const testsMost = 5 * time.Minute

// RunTests compiles the tests of a package (./gpio, or an import path) and runs those that match run inside of a guest, in the
// folder of the package. It fails the test when one fails, or when none runs.
func RunTests(t testing.TB, pkg, run string) {
	t.Helper()
	Kernel(t) // before minutes are spent on a binary that nothing can run
	binary := filepath.Join(t.TempDir(), "guest.test")
	lookAtSources(t, pkg)
	goCommand(t, nil, "test", "-c", "-o", binary, pkg)
	dir := strings.TrimSpace(goCommand(t, nil, "list", "-f", "{{.Dir}}", pkg))
	r := Boot(t, Options{Binary: binary, Args: []string{"-test.v", "-test.run=" + run}, Dir: dir, Timeout: testsMost}).Wait()
	t.Logf("guest:\n%s", r.Output)
	if r.Status != 0 {
		t.Errorf("tests of %s in the guest: exit status %d, want 0", pkg, r.Status)
	}
	if !bytes.Contains(r.Output, []byte("\n--- PASS: ")) {
		t.Errorf("tests of %s in the guest: none passed", pkg)
	}
	if n := bytes.Count(r.Output, []byte("\n--- SKIP: ")); n > 0 {
		t.Errorf("tests of %s in the guest: %d skipped themselves, want 0", pkg, n)
	}
}

// commandLine is what the kernel is started with. Its console is our standard output, and its own files are in the job's folder.
func commandLine(o Options, job, init string) []string {
	words := []string{
		"rootfstype=hostfs", "rootflags=/", "ro",
		"mem=" + o.Memory,
		"init=" + init,
		"con=null", "con0=null,fd:1", "ssl=null", // the last word on a device counts
		"uml_dir=" + job, "umid=guest",
		"panic=-1", "quiet",
		"job=" + job, // a word that the kernel does not know reaches init's environment
	}
	return append(words, o.Kernel...)
}

// checked returns the options with the defaults, or what is wrong with them.
func checked(o Options, job string) (Options, error) {
	if o.Memory == "" {
		o.Memory = "128M"
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	var err error
	if o.Binary, err = filepath.Abs(o.Binary); err != nil {
		return o, err
	}
	if _, err := os.Stat(o.Binary); err != nil {
		return o, err
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return o, err
	}
	if strings.ContainsAny(job, " ,\"") {
		return o, fmt.Errorf("temporary folder %q: the kernel's command line cannot hold it", job)
	}
	return o, nil
}
