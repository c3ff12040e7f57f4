//go:build linux

package uml

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/lab/uml/job"
)

// patience is how long the host waits for what a guest does in an instant.
const patience = 20 * time.Second

// PiOptions says what a virtual Pi is like. The zero value is one without a network.
type PiOptions struct {
	Name     string   // of the host
	Memory   string   // default 128M
	Programs string   // folder of the host with programs, which the Pi sees under the same path; Start looks there first
	Shown    []string // more folders of the host that the Pi sees
	Kernel   []string // more words for the kernel's command line
	// Its place on a LAN, which lab.LAN.Pi fills in: the network namespace and the tap in it that the Pi is plugged to, and its
	// address with the length of the prefix.
	Netns, Tap, Addr string
}

// Pi is a virtual Pi that stays up: a kernel with a bank of 28 lines and the devices of a Guest, a disk of its own at DiskDir, and
// an attendant inside through which the test runs programs and drives and watches lines past them. Its methods fail the test when
// the Pi does not do what they ask. They may be called from any goroutine of the test, but not while PowerCut, Shutdown or Boot
// runs.
type Pi struct {
	t        testing.TB
	o        PiOptions
	disk     string
	attached string // path of the attendant
	guest    *Guest
	link     *link
}

// DiskDir is where a Pi has its disk: 64 MB of ext4, mounted as a Raspberry Pi OS does. Everything else that can be written to is
// memory, and empty after each boot.
const DiskDir = job.DiskDir

// diskSize is that of the image, a sparse file.
const diskSize = 64 << 20

// NewPi makes a virtual Pi and boots it. It is gone when the test ends.
func NewPi(t testing.TB, o PiOptions) *Pi {
	t.Helper()
	Kernel(t) // before anything is made for it
	dir := t.TempDir()
	p := &Pi{t: t, o: o, disk: filepath.Join(dir, "disk"), attached: filepath.Join(dir, "attendant")}
	if err := makeDisk(p.disk); err != nil {
		t.Fatal(err)
	}
	lookAtSources(t, "rollcall/lab/uml/attendant")
	goCommand(t, []string{"CGO_ENABLED=0"}, "build", "-o", p.attached, "rollcall/lab/uml/attendant")
	p.Boot()
	return p
}

func makeDisk(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := f.Truncate(diskSize); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		mkfs = "/sbin/mkfs.ext4" // not in a user's path
	}
	if out, err := exec.Command(mkfs, "-q", "-F", path).CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.ext4: %w\n%s", err, out)
	}
	return nil
}

// Boot switches a Pi on again after PowerCut or Shutdown, and returns when its attendant answers. Its disk is as it was left; its
// lines are as new, with nothing wired to them.
func (p *Pi) Boot() {
	p.t.Helper()
	ours, theirs, err := socketPair()
	if err != nil {
		p.t.Fatal(err)
	}
	o := Options{
		Binary: p.attached, Dir: "/", Memory: p.o.Memory, Timeout: patience,
		Kernel: append([]string{"ssl0=fd:3,fd:3", "ubd0=" + p.disk}, p.o.Kernel...),
		name:   p.o.Name, addr: p.o.Addr, netns: p.o.Netns, disk: true, file: theirs,
		shown: p.o.Shown,
	}
	if p.o.Programs != "" {
		o.shown = append(o.shown, p.o.Programs)
	}
	if p.o.Tap != "" {
		o.Kernel = append(o.Kernel, "vec0:transport=tap,ifname="+p.o.Tap+",depth=64,gro=1")
	}
	p.guest = Boot(p.t, o)
	_ = theirs.Close() // the guest has its own
	p.link = newLink(ours, p.guest.dir)
	p.t.Cleanup(p.link.close)
	select {
	case <-p.link.hello:
	case <-p.guest.done:
		p.t.Fatalf("the Pi did not boot: %s", p.said())
	case <-time.After(patience):
		p.t.Fatalf("the Pi has not booted within %s: %s", patience, p.said())
	}
}

// said is what the kernel and the attendant have written, for a test that fails.
func (p *Pi) said() string {
	return fmt.Sprintf("%s\nits console:\n%s", append(p.guest.read(job.OutputFile), p.guest.read(job.StatusFile)...), p.guest.read("console"))
}

// PowerCut takes the power away at once. What the Pi's programs have written but neither they nor the kernel have brought to the
// disk is lost, since the cache of the guest's kernel goes with it; what its kernel has written to the disk is there after the
// next Boot in the order it was written, whole sectors. (The host's own cache stays, so a disk that lies about a flush, writes
// sectors in another order or tears one is not tested.)
func (p *Pi) PowerCut() {
	p.t.Helper()
	p.guest.kill()
	p.link.close()
}

// Shutdown switches the Pi off in order, once all programs were stopped by the caller: disks are synced.
func (p *Pi) Shutdown() {
	p.t.Helper()
	p.ask(job.Order{Do: job.Off})
	p.guest.Wait()
	p.link.close()
}

// ask gives an order and returns the answer.
func (p *Pi) ask(o job.Order) job.Word {
	p.t.Helper()
	w, err := p.try(o, nil)
	if err != nil {
		p.t.Fatalf("%s on the Pi: %v", o.Do, err)
	}
	return w
}

// try gives an order and returns the answer, or why there is none. News of what the order starts goes to f, in order.
func (p *Pi) try(o job.Order, f func(job.Word)) (job.Word, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return p.link.ask(ctx, o, f)
}

// Pull wires a line from outside: high is what it then reads as, unless the Pi drives it.
func (p *Pi) Pull(line int, high bool) {
	p.t.Helper()
	p.ask(job.Order{Do: job.Pull, Line: line, High: high})
}

// Level returns what is on a line, as a meter would show it.
func (p *Pi) Level(line int) bool {
	p.t.Helper()
	return p.ask(job.Order{Do: job.Level, Line: line}).High
}

// WaitLevel waits until a line has the level.
func (p *Pi) WaitLevel(line int, high bool, within time.Duration) {
	p.t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(within); p.Level(line) != high; <-again.C {
		if time.Now().After(deadline) {
			p.t.Fatalf("line %d is %t after %s, want %t", line, !high, within, high)
		}
	}
}

// Change is a new level that the Pi's kernel was told to drive a line with.
type Change struct {
	High bool
	At   time.Duration // the monotonic clock of the Pi, to the microsecond
}

// changes is how many changes a watch holds for a slow reader.
const changes = 4096

// Watch returns the changes of an output from now on, each of them, with the times of the kernel's own trace. It ends with the
// boot: the channel is then closed. A level that a line falls back to when its output is released is no change of this kind.
// The caller must read: more than 4,096 unread changes end the test.
func (p *Pi) Watch(line int) <-chan Change {
	p.t.Helper()
	c := make(chan Change, changes)
	_, err := p.try(job.Order{Do: job.Watch, Line: line}, func(w job.Word) {
		switch {
		case w.News == job.Gone:
			close(c)
		case w.Error != "":
			p.t.Errorf("watch line %d: %s", line, w.Error)
		case len(c) == changes:
			p.t.Errorf("watch line %d: a change was not read", line)
		default:
			c <- Change{w.High, w.At}
		}
	})
	if err != nil {
		p.t.Fatalf("watch line %d: %v", line, err)
	}
	return c
}

// WriteFile writes a file on the Pi. On the disk it outlives a power cut.
func (p *Pi) WriteFile(path string, data []byte) {
	p.t.Helper()
	p.ask(job.Order{Do: job.Write, Path: path, Data: data})
}

// ReadFile returns a file of the Pi.
func (p *Pi) ReadFile(path string) []byte {
	p.t.Helper()
	return p.ask(job.Order{Do: job.Read, Path: path}).Data
}

// Path returns where a program is: in the folder of programs, or as it stands.
func (p *Pi) path(name string) string {
	if own := filepath.Join(p.o.Programs, name); p.o.Programs != "" && !strings.Contains(name, "/") {
		if _, err := os.Stat(own); err == nil {
			return own
		}
	}
	return name
}
