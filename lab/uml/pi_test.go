//go:build linux

package uml_test

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/lab/uml"
)

const patience = 20 * time.Second

// sysfs finds the number of a line in the old interface and says the rest with it.
const sysfs = `cd /sys/class/gpio; for c in gpiochip*; do grep -q pinctrl-bcm2835 $c/label && base=$(cat $c/base); done; g=gpio$((base + $1))
test -e $g || echo $((base + $1)) >export; `

// set is a program that drives a line.
func set(p *uml.Pi, line int, direction string) {
	p.Run(patience, "/bin/sh", "-c", sysfs+"echo "+direction+" >$g/direction", "sh", strconv.Itoa(line))
}

func TestPiLines(t *testing.T) {
	t.Parallel()
	p := uml.NewPi(t, uml.PiOptions{})
	read := func(line int) string {
		out, errs, status := p.Run(patience, "/bin/sh", "-c", sysfs+"cat $g/value", "sh", strconv.Itoa(line))
		if status != 0 || errs != "" {
			t.Fatalf("read line %d: status %d, %s", line, status, errs)
		}
		return strings.TrimSpace(out)
	}
	for _, high := range []bool{true, false, true} {
		want := map[bool]string{false: "0", true: "1"}[high]
		if p.Pull(22, high); read(22) != want {
			t.Errorf("line 22 pulled %t reads as %s", high, read(22))
		}
	}
	watch := p.Watch(25)
	for _, d := range []string{"high", "low", "low", "high"} {
		if set(p, 25, d); p.Level(25) != (d == "high") {
			t.Errorf("line 25 set %s is %t", d, p.Level(25))
		}
	}
	set(p, 24, "high") // not watched
	p.PowerCut()
	var got []bool
	last := time.Duration(0)
	for c := range watch { // ends with the boot
		if c.At <= last {
			t.Errorf("a change at %s after one at %s", c.At, last)
		}
		last = c.At
		got = append(got, c.High)
	}
	if len(got) != 3 || !got[0] || got[1] || !got[2] {
		t.Errorf("watched %v, want true, false, true", got)
	}
}

var ready = flag.Bool("ready", false, "be a daemon; for TestReadyHelper alone")

// TestReadyHelper is no test: it is a program that says that it is ready, and stays.
func TestReadyHelper(t *testing.T) {
	if !*ready {
		t.Skip("run by TestPiPrograms as a program")
	}
	c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("READY=1")); err != nil {
		t.Fatal(err)
	}
	fmt.Println("then")
	select {} // until it is killed
}

func TestPiPrograms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), []byte("#!/bin/sh\necho mine $1; echo bad >&2; exit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	// Built anew, since what the race detector makes of this program does not fit a guest's address space.
	helper := filepath.Join(dir, "helper")
	build := exec.Command("go", "test", "-c", "-o", helper, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="+os.Getenv("GOFLAGS")+" -buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := uml.NewPi(t, uml.PiOptions{Name: "berry", Programs: dir, Shown: []string{dir}})
	if out, errs, status := p.Run(patience, "mine", "x"); out != "mine x\n" || errs != "bad\n" || status != 3 {
		t.Errorf("mine = %q, %q, %d", out, errs, status)
	}
	if out, _, _ := p.Run(patience, "hostname"); out != "berry\n" {
		t.Errorf("hostname = %q", out)
	}
	if _, _, status := p.Run(patience, "sh", "-c", "kill -9 $$"); status != 128+9 {
		t.Errorf("killed: status %d, want 137", status)
	}
	sleeper := p.Start(false, "sh", "-c", "trap 'echo caught; exit 4' TERM; echo asleep; while :; do sleep 0.1; done")
	sleeper.WaitLine("asleep", patience)
	if !sleeper.Running() || sleeper.Pid() <= 1 {
		t.Error("the sleeper does not run")
	}
	if status := sleeper.Stop(); status != 4 || sleeper.Stdout.String() != "asleep\ncaught\n" {
		t.Errorf("stopped: status %d, %q", status, sleeper.Stdout.String())
	}
	ready := p.Start(true, helper, "-test.run", "^TestReadyHelper$", "-ready")
	ready.WaitLine("then", patience)
	ready.Kill()
	if ready.Running() {
		t.Error("killed, and runs")
	}
	// More than a serial line has room for, both ways.
	big := bytes.Repeat([]byte("0123456789abcde\n"), 10000)
	p.WriteFile("/tmp/big", big)
	if got := p.ReadFile("/tmp/big"); !bytes.Equal(got, big) {
		t.Errorf("read %d bytes, want the %d that were written", len(got), len(big))
	}
	if out, _, _ := p.Run(patience, "cat", "/tmp/big"); out != string(big) {
		t.Errorf("cat wrote %d bytes, want %d", len(out), len(big))
	}
	p.Shutdown()
	p.Boot()
	if _, _, status := p.Run(patience, "test", "-e", "/tmp/big"); status != 1 {
		t.Errorf("after a boot test -e /tmp/big has status %d, want 1", status)
	}
}

// TestPiPowerCut wants what was synced to be on the disk, and what was not to be lost: the cut is one.
func TestPiPowerCut(t *testing.T) {
	t.Parallel()
	p := uml.NewPi(t, uml.PiOptions{})
	if out, errs, status := p.Run(patience, "sh", "-c", "cd /run/disk; echo a >kept; sync kept; echo b >lost; cat kept lost"); out != "a\nb\n" || status != 0 {
		t.Fatalf("wrote %q, %q, %d", out, errs, status)
	}
	running := p.Start(false, "sleep", "1000")
	p.PowerCut()
	if running.Running() {
		t.Error("a program runs without power")
	}
	p.Boot()
	if got := string(p.ReadFile("/run/disk/kept")); got != "a\n" {
		t.Errorf("what was synced is %q after the cut", got)
	}
	if out, _, _ := p.Run(patience, "sh", "-c", "cat /run/disk/lost"); out != "" {
		t.Errorf("what was not synced is %q after the cut: no power was cut", out)
	}
	p.WriteFile("/run/disk/later", []byte("c"))
	p.Shutdown()
	p.Boot()
	if got := string(p.ReadFile("/run/disk/later")); got != "c" {
		t.Errorf("after a shutdown the file is %q", got)
	}
}

// TestPiADC wants the channels that agents of later parts read and set.
func TestPiADC(t *testing.T) {
	t.Parallel()
	p := uml.NewPi(t, uml.PiOptions{})
	out, errs, status := p.Run(patience, "sh", "-ec", `cd /sys/bus/iio/devices/iio:device0
		for i in 1 2 3; do echo 1234 >out_voltage0_raw && cat out_voltage0_raw; done | uniq
		cat in_voltage0_raw in_voltage0_scale in_voltage0_offset in_voltage1-voltage2_raw in_voltage3-voltage4_raw in_accel_x_raw`)
	if want := "1234\n73\n0.001333\n7\n33\n-34\n34\n"; out != want || status != 0 {
		t.Errorf("the IIO device has %q, want %q; %s", out, want, errs)
	}
}
