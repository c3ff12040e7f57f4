//go:build linux

package gpio_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"rollcall/gpio"
)

// userEnv makes TestKernelAsUser the program that it starts.
const userEnv = "ROLLCALL_GPIO_AS_USER"

// TestKernelAsUser has a program that is no more than in the group gpio find the header's chip, and use it.
func TestKernelAsUser(t *testing.T) {
	if os.Getenv(userEnv) == "1" {
		asUser(t)
		return
	}
	need(t)
	if os.Getenv("ROLLCALL_GUEST") != "1" {
		t.Skip("changes who may open the chips of this host; run by make lab")
	}
	const nobody, group = 65534, 997
	header, label, err := gpio.OpenHeader()
	if err != nil {
		t.Fatal(err)
	}
	info, err := header.Info()
	if err != nil {
		t.Fatal(err)
	}
	if err := header.Close(); err != nil {
		t.Fatal(err)
	}
	// As udev's rule of Raspberry Pi OS does: SUBSYSTEM=="gpio", GROUP="gpio", MODE="0660".
	path := "/dev/" + info.Name
	if err := os.Chown(path, 0, group); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Chown(path, 0, 0); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(path, 0o660); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		groups []uint32
		want   string
	}{
		{[]uint32{group}, fmt.Sprintf("uid %d: %s %d lines, line 4 set", nobody, label, len(info.Lines))},
		{nil, "add the user to the group gpio"},
	} {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestKernelAsUser$", "-test.v") // nobody need not see the folder that it is in
		cmd.Dir = "/"
		cmd.Env = append(os.Environ(), userEnv+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, Groups: test.groups}}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), test.want) {
			t.Errorf("as a user with the groups %v: %v, said %q, want %q", test.groups, err, out, test.want)
		}
	}
}

// asUser finds the header's chip and sets a line of it, and says so or why not.
func asUser(t *testing.T) {
	c, label, err := gpio.OpenHeader()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }() // the program ends
	info, err := c.Info()
	if err != nil {
		t.Fatal(err)
	}
	l, err := c.Request(4, gpio.LineOptions{Output: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetValue(1); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("uid %d: %s %d lines, line 4 set\n", os.Getuid(), label, len(info.Lines))
}
