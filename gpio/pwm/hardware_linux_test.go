package pwm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// chipFiles is a chip made of files. A goroutine plays the kernel's part at export and unexport, which are pipes, so that it comes
// later as udev does.
type chipFiles struct {
	t    *testing.T
	root string
	dir  string
	done chan string // what has been done
	wg   sync.WaitGroup
}

func newChipFiles(t *testing.T) *chipFiles {
	root := t.TempDir()
	c := &chipFiles{t: t, root: root, dir: filepath.Join(root, classPath, "pwmchip0"), done: make(chan string, 16)}
	put(t, filepath.Join(c.dir, "npwm"), []byte("2\n"))
	t.Cleanup(c.wg.Wait) // after the pipes are closed
	c.serve("export", func(folder string) error {
		if err := os.Mkdir(folder+".new", 0o755); err != nil {
			return err
		}
		for name, value := range map[string]string{"period": "0\n", "duty_cycle": "0\n", "enable": "0\n", "polarity": "normal\n"} {
			if err := os.WriteFile(filepath.Join(folder+".new", name), []byte(value), 0o600); err != nil {
				return err
			}
		}
		return os.Rename(folder+".new", folder)
	})
	c.serve("unexport", os.RemoveAll)
	return c
}

// serve does something with the folder of a channel when its number is written.
func (c *chipFiles) serve(name string, do func(folder string) error) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		c.t.Fatal(err)
	}
	pipe, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	c.wg.Go(func() {
		b := make([]byte, 16)
		for {
			n, err := pipe.Read(b)
			if err != nil {
				return // closed
			}
			if err := do(filepath.Join(c.dir, "pwm"+string(b[:n]))); err != nil {
				c.t.Error(err)
			}
			c.done <- fmt.Sprintf("%s %s", name, b[:n])
		}
	})
	c.t.Cleanup(func() {
		if err := pipe.Close(); err != nil {
			c.t.Error(err)
		}
	})
}

func (c *chipFiles) want(event string) {
	c.t.Helper()
	if got := <-c.done; got != event {
		c.t.Errorf("done: %s, want %s", got, event)
	}
}

// wantState checks the files of channel 1.
func (c *chipFiles) wantState(period, duty, enable, polarity string) {
	c.t.Helper()
	for name, want := range map[string]string{"period": period, "duty_cycle": duty, "enable": enable, "polarity": polarity} {
		if got, err := os.ReadFile(filepath.Join(c.dir, "pwm1", name)); err != nil || strings.TrimSpace(string(got)) != want {
			c.t.Errorf("%s = %q, %v, want %s", name, got, err, want)
		}
	}
}

// TestHardwareFiles goes by files, with the folder coming late.
func TestHardwareFiles(t *testing.T) {
	t.Parallel()
	c := newChipFiles(t)
	ch, err := Hardware(c.root, 0, 1, Options{Initial: 0.25})
	if err != nil {
		t.Fatal(err)
	}
	c.want("export 1")
	c.wantState("10000000", "2500000", "1", "normal")
	if err := ch.Set(0); err != nil {
		t.Fatal(err)
	}
	c.wantState("10000000", "0", "1", "normal")
	if _, err := Hardware(c.root, 0, 1, Options{TakeOver: true}); !errors.Is(err, errLocked) {
		t.Errorf("opened again: error %v, want errLocked", err)
	}
	c.wantState("10000000", "0", "1", "normal")
	if err := ch.Close(); err != nil {
		t.Fatal(err)
	}
	c.want("unexport 1")
	if _, err := os.Stat(filepath.Join(c.dir, "pwm1")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: %v, want no folder", err)
	}
}

// TestHardwareFilesInverted leaves the channel, and takes it over again.
func TestHardwareFilesInverted(t *testing.T) {
	t.Parallel()
	c := newChipFiles(t)
	for range 2 {
		ch, err := Hardware(c.root, 0, 1, Options{Inverted: true, Initial: 1})
		if err != nil {
			t.Fatal(err)
		}
		c.wantState("10000000", "10000000", "1", "inversed")
		if err := ch.Close(); err != nil {
			t.Fatal(err)
		}
		c.wantState("10000000", "0", "1", "inversed")
	}
	c.want("export 1")
}

// TestLockSysfs locks a folder of the real sysfs, as a channel's would be.
func TestLockSysfs(t *testing.T) {
	t.Parallel()
	const class = "/sys/class"
	files := folder(class)
	held, err := files.lock("net")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("there is no %s/net here", class)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := files.lock("net"); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("locked twice: error %v, want EWOULDBLOCK", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := files.lock("net")
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestFolderMissing: a file that is not there is not made.
func TestFolderMissing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := folder(dir).write("period", "1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("write: error %v, want that there is none", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v, want nothing", left, err)
	}
}

// TestHardwareBesideAFork: a channel that is closed is free, though a program that is being started has its files open as well.
func TestHardwareBesideAFork(t *testing.T) {
	t.Parallel()
	c := newChipFiles(t)
	ch, err := Hardware(c.root, 0, 1, Options{Inverted: true}) // which stays exported
	if err != nil {
		t.Fatal(err)
	}
	forked, err := unix.FcntlInt(ch.(*hardware).held.(interface{ Fd() uintptr }).Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Hardware(c.root, 0, 1, Options{Inverted: true})
	if err != nil {
		t.Errorf("opened again: %v", err)
	} else if err := again.Close(); err != nil {
		t.Error(err)
	}
	if err := unix.Close(forked); err != nil {
		t.Error(err)
	}
	c.want("export 1")
}
