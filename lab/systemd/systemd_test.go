// Package systemd holds the test of the units: a Debian that systemd boots on the lab's kernel, with what `make install` installs.
package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/lab"
	"rollcall/lab/uml"
)

const runner = `[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash /guest.sh
ExecStopPost=/usr/bin/systemctl poweroff --no-block
[Install]
WantedBy=graphical.target
`

func TestUnits(t *testing.T) {
	lab.Need(t, "debootstrap", "script")
	kernel := uml.Kernel(t)
	base, err := exec.Command("./rootfs.sh").Output()
	if err != nil {
		t.Fatalf("rootfs.sh: %v", err)
	}
	root := filepath.Join(t.TempDir(), "root")
	do := func(dir, name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
	}
	do(".", "cp", "-a", "--reflink=auto", strings.TrimSpace(string(base)), root)
	do("../..", "make", "build")
	do("../..", "make", "install", "DESTDIR="+root)
	// A hanging daemon should not take the test half a minute to find.
	do(".", "sed", "-i", "s/WatchdogSec=30/WatchdogSec=3/", root+"/usr/local/lib/systemd/system/udpmon.service")
	do(".", "cp", "guest.sh", root+"/guest.sh")
	if err := os.WriteFile(root+"/etc/systemd/system/labrun.service", []byte(runner), 0o644); err != nil {
		t.Fatal(err)
	}
	do(".", "mkdir", "-p", root+"/etc/systemd/system/graphical.target.wants")
	do(".", "ln", "-s", "/etc/systemd/system/labrun.service", root+"/etc/systemd/system/graphical.target.wants/labrun.service")

	// The console wants a terminal (LAB.md): with /dev/null on it the kernel floods the log.
	line := kernel + " rootfstype=hostfs rootflags=" + root + " rw mem=256M con=none ssl=none con0=fd:0,fd:1 quiet"
	boot := exec.Command("script", "-qec", line, "/dev/null")
	defer kill(root)
	timer := time.AfterFunc(4*time.Minute, func() { kill(root) })
	defer timer.Stop()
	console, err := boot.CombinedOutput()
	result, rerr := os.ReadFile(root + "/result")
	t.Logf("guest:\n%s", result)
	if err != nil || rerr != nil || !strings.HasSuffix(string(result), "end\n") {
		t.Fatalf("the guest did not get to its end: %v, %v\n%.4000s", err, rerr, console)
	}
	if strings.Contains(string(result), "FAIL") {
		t.Error("a step failed")
	}
}

// kill ends the guest whose root is the folder: a kernel of several processes, in a session that script made.
func kill(root string) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well-formed
	for _, file := range all {
		line, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(line), "rootflags="+root+"\x00") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
		}
	}
}
