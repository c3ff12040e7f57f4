package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/config"
)

// confs is where Janitoo's own confs are.
const confs = "../config/janitoo/testdata/"

func TestImportJanitoo(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	yaml, notes := l.want(exitOK, "import", "janitoo", confs+"jnt_hostsensor.conf", confs+"jnt_tutorial.conf")
	c, err := config.Parse("", []byte(yaml))
	if err != nil || len(c.Agents) != 5 || c.Broker.URL != "mqtt://127.0.0.1:18830" {
		t.Errorf("import printed %v, %v:\n%s", c, err, yaml)
	}
	for line := range strings.Lines(notes) {
		if !strings.HasPrefix(line, confs+"jnt_") || strings.Count(line, ":") < 2 {
			t.Errorf("a note without FILE:LINE: %q", line)
		}
	}
	l.stdin = "[h]\nhadd = 1/0\nbad\x1b[2J = \x1b[2J\n"
	yaml, notes = l.want(exitOK, "import", "janitoo", "-")
	if strings.Contains(yaml+notes, "\x1b") || !strings.Contains(notes, "\n"+`stdin:3: [h] bad\x1b[2j: `) {
		t.Errorf("import printed %q and %q", yaml, notes)
	}
	var got imported
	out, _ := l.want(exitOK, "import", "janitoo", "--json", "-")
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.YAML != yaml || len(got.Notes) != 2 || got.Notes[1].Line != 3 || got.Notes[1].File != "stdin" {
		t.Errorf("import --json printed %s, %v", out, err)
	}
}

func TestImportJanitooWrites(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	dir := t.TempDir()
	to, secret := filepath.Join(dir, "rollcall.yaml"), filepath.Join(dir, "password")
	l.want(exitOK, "import", "janitoo", confs+"everything.conf", "-o", to, "--password-file", secret)
	c, err := config.Load(to)
	if err != nil || c.Broker.PasswordFile != secret || c.Broker.Username != "pi" {
		t.Errorf("broker %+v, %v", c.Broker, err)
	}
	info, err := os.Stat(secret)
	if b, readErr := os.ReadFile(secret); err != nil || readErr != nil || string(b) != "secret\n" || info.Mode().Perm() != 0o600 {
		t.Errorf("the password file has %q, mode %v, %v", b, info, err)
	}
}

func TestImportJanitooRefuses(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "bad.conf")
	if err := os.WriteFile(bad, []byte("[h]\nhadd = 1/0\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"import", exitUsage, "import takes one of janitoo (see udpsrv import --help)"},
		{"import openhab x", exitUsage, `import takes one of janitoo, got "openhab" (see udpsrv import --help)`},
		{"import janitoo", exitUsage, "janitoo takes 1 to 64 files, got 0 (see udpsrv import janitoo --help)"},
		{"import janitoo x --bogus", exitUsage, "unknown flag: --bogus (see udpsrv import janitoo --help)"},
		{"import janitoo x --json -o y", exitUsage, "--json and --yaml go to stdout, and not with -o (see udpsrv import janitoo --help)"},
		{"import janitoo x --password-file y", exitUsage, `--password-file: "y" is no absolute path (see udpsrv import janitoo --help)`},
		{"import janitoo /nonexistent/x", exitFail, "open /nonexistent/x: no such file or directory"},
		{"import janitoo " + bad, exitFail, bad + ":3: neither a comment nor key = value"},
		{"import janitoo import_test.go", exitFail, "import_test.go:1: a line before any [section]: this is no file of Janitoo"},
	} {
		out, errs := newLaptop(t).want(c.code, strings.Fields(c.args)...)
		if errs != "udpsrv: "+c.want+"\n" || out != "" {
			t.Errorf("udpsrv %s: %q and on stdout %q, want %q", c.args, errs, out, c.want)
		}
	}
}
