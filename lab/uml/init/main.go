//go:build linux

// Command init is the first process of a lab guest: it mounts what a Linux has, makes a GPIO bank and an IIO device, runs the
// job's binary, notes how it ended and powers the guest off. It is of no use, and does nothing, outside of one.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"rollcall/lab/uml/job"
)

// lines is how many lines the bank has: as many as a Raspberry Pi's header.
const lines = 28

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: not the first process of a guest")
		os.Exit(2)
	}
	err := os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	if err == nil {
		err = run(os.Getenv("job"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintln(os.Stderr, "init: power off:", err)
	}
}

// run does the job whose folder is given. What goes wrong is left in the status file where that can be written.
func run(dir string) error {
	spec, err := readSpec(dir)
	if err != nil {
		return err
	}
	if err := mountAll(); err != nil {
		return err
	}
	if err := mountHost(dir, 0); err != nil {
		return err
	}
	status, err := work(dir, spec)
	text := strconv.Itoa(status)
	if err != nil {
		text = err.Error()
	}
	return errors.Join(err, os.WriteFile(filepath.Join(dir, job.StatusFile), []byte(text), 0o644))
}

func readSpec(dir string) (spec job.Spec, err error) {
	data, err := os.ReadFile(filepath.Join(dir, job.SpecFile))
	if err != nil {
		return spec, err
	}
	return spec, json.Unmarshal(data, &spec)
}

// work sets the devices up, runs the binary and returns its exit status.
func work(dir string, spec job.Spec) (int, error) {
	for _, path := range append([]string{filepath.Dir(spec.Binary), spec.Dir}, spec.Shown...) {
		if err := mountHost(path, unix.MS_RDONLY); err != nil {
			return 0, err
		}
	}
	if err := errors.Join(makeBank(), makeADC(), loopbackUp(), join(spec), mountDisk(spec)); err != nil {
		return 0, err
	}
	// Written through, so that the host has it even if it must kill the guest.
	output, err := os.OpenFile(filepath.Join(dir, job.OutputFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_SYNC, 0o644)
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(spec.Binary, spec.Args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = spec.Env, spec.Dir, output, output
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = nil
	}
	return cmd.ProcessState.ExitCode(), errors.Join(err, output.Close())
}

// mountAll mounts the kernel's file systems and what the guest may write to. /dev is there: the kernel mounts devtmpfs itself.
func mountAll() error {
	for _, m := range []struct{ kind, path string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"configfs", "/sys/kernel/config"}, {"tracefs", "/sys/kernel/tracing"},
		{"tmpfs", "/run"}, {"tmpfs", "/tmp"}, {"tmpfs", "/dev/shm"},
	} {
		if m.path == "/dev/shm" {
			if err := os.MkdirAll(m.path, 0o755); err != nil {
				return err
			}
		}
		if err := unix.Mount("none", m.path, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.path, err)
		}
	}
	return nil
}

// mountHost makes a folder of the host visible that a tmpfs may hide, at the same path.
func mountHost(path string, flags uintptr) error {
	if _, err := os.Stat(path); err == nil && flags&unix.MS_RDONLY != 0 {
		return nil // is seen already
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if err := unix.Mount("none", path, "hostfs", flags, path); err != nil {
		return fmt.Errorf("mount %s: %w", path, err)
	}
	return nil
}

// mountDisk mounts the guest's own disk, as a Raspberry Pi's card is mounted; the journal of one that lost its power is replayed.
func mountDisk(spec job.Spec) error {
	if !spec.Disk {
		return nil
	}
	if err := os.MkdirAll(job.DiskDir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("/dev/ubda", job.DiskDir, "ext4", unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mount the disk: %w", err)
	}
	return nil
}

// join gives the guest its name and its place in the network.
func join(spec job.Spec) error {
	if spec.Name != "" {
		if err := unix.Sethostname([]byte(spec.Name)); err != nil {
			return fmt.Errorf("set the name: %w", err)
		}
	}
	if spec.Addr == "" {
		return nil
	}
	for _, args := range [][]string{{"addr", "add", spec.Addr, "brd", "+", "dev", "vec0"}, {"link", "set", "vec0", "up"}} {
		cmd := exec.Command("ip", args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// makeBank makes the bank of a Raspberry Pi.
func makeBank() error {
	const sim = "/sys/kernel/config/gpio-sim/pi"
	bank := filepath.Join(sim, "bank0")
	if err := os.MkdirAll(bank, 0o755); err != nil {
		return err
	}
	err := errors.Join(write(bank, "num_lines", strconv.Itoa(lines)), write(bank, "label", "pinctrl-bcm2835"))
	for i := range lines {
		line := filepath.Join(bank, "line"+strconv.Itoa(i))
		err = errors.Join(err, os.Mkdir(line, 0o755), write(line, "name", "GPIO"+strconv.Itoa(i)))
	}
	return errors.Join(err, write(sim, "live", "1"))
}

// makeADC makes an IIO device with voltages to read and one to set.
func makeADC() error { return os.MkdirAll("/sys/kernel/config/iio/devices/dummy/adc0", 0o755) }

// write writes an attribute of configfs.
func write(dir, name, value string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(strings.TrimSpace(value)), 0o644)
}

// loopbackUp sets lo up, so that tests in the guest have 127.0.0.1.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	defer unix.Close(fd) // only asked, nothing to lose
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}
