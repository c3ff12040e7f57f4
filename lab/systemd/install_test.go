package systemd

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"rollcall/lab"
)

func TestInstallAndUninstall(t *testing.T) {
	lab.Need(t, "make")
	root := t.TempDir()
	run := func(target string) string {
		t.Helper()
		cmd := exec.Command("make", target, "DESTDIR="+root)
		cmd.Dir = "../.."
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("make %s: %v\n%s", target, err, out)
		}
		return string(out)
	}
	run("install")
	want := []string{
		"/etc/rollcall/rollcall.yaml",
		"/usr/lib/udev/rules.d/60-rollcall.rules",
		"/usr/local/bin/agentd", "/usr/local/bin/udpmon", "/usr/local/bin/udpsrv",
		"/usr/local/lib/systemd/system/agent@.service", "/usr/local/lib/systemd/system/udpmon.service",
		"/usr/local/lib/sysusers.d/rollcall.conf", "/usr/local/lib/tmpfiles.d/rollcall.conf",
	}
	pages := 0
	got := slices.DeleteFunc(lab.Files(t, root), func(f string) bool { // lab.TestInstall knows the pages by name
		page := strings.HasPrefix(f, "/usr/local/share/")
		if page {
			pages++
		}
		return page
	})
	if !slices.Equal(got, want) || pages == 0 {
		t.Errorf("installed %d pages and completions, and\n%q\nwant\n%q", pages, got, want)
	}
	run("uninstall")
	if got := lab.Files(t, root); len(got) > 0 {
		t.Errorf("uninstall left %q", got)
	}

	run("install")
	config := root + "/etc/rollcall/rollcall.yaml"
	mine := []byte("host: mine\n")
	if err := os.WriteFile(config, mine, 0o644); err != nil {
		t.Fatal(err)
	}
	if out := run("install"); !strings.Contains(out, "kept: "+config) {
		t.Errorf("a second install said %q", out)
	}
	if out := run("uninstall"); !strings.Contains(out, "kept: "+config) {
		t.Errorf("uninstall said %q", out)
	}
	if got, err := os.ReadFile(config); err != nil || string(got) != string(mine) {
		t.Errorf("the changed configuration is %q, %v", got, err)
	}
	if got := lab.Files(t, root); len(got) != 1 {
		t.Errorf("left: %q, want the changed configuration alone", got)
	}
}
