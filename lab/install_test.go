package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// TestInstall: `make install` puts manual pages and the completion of three shells in place beside the rest, and `make uninstall`
// takes all of it away but the folders.
func TestInstall(t *testing.T) {
	t.Parallel()
	top, dest := t.TempDir(), t.TempDir()
	there, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"bin": Binaries(t), "systemd": there + "/systemd", "config": there + "/config"} {
		if err := os.Symlink(target, filepath.Join(top, name)); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command("systemd/install.sh", append(args, dest, "/usr/local", "/etc", "/usr/lib/udev/rules.d")...)
		cmd.Dir = top
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("install.sh %q: %v\n%s", args, err, out)
		}
	}
	run()
	installed := Files(t, dest)
	for _, want := range []string{"/usr/local/bin/udpsrv", "/etc/rollcall/rollcall.yaml", "/usr/local/share/man/man1/udpsrv.1", "/usr/local/share/man/man1/udpsrv-get.1",
		"/usr/local/share/man/man8/udpmon.8", "/usr/local/share/man/man8/agentd.8", "/usr/local/share/bash-completion/completions/udpsrv",
		"/usr/local/share/zsh/site-functions/_udpsrv", "/usr/local/share/fish/vendor_completions.d/udpsrv.fish"} {
		if info, err := os.Stat(dest + want); !slices.Contains(installed, want) || err != nil || info.Size() == 0 {
			t.Errorf("%s is not installed: %v", want, err)
		}
	}
	for _, shell := range []string{"bash-completion/completions/udpsrv"} {
		if out, err := exec.Command("bash", "-n", dest+"/usr/local/share/"+shell).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", shell, err, out)
		}
	}
	run("--remove")
	if left := Files(t, dest); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
