//go:build linux

package uml_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/lab/uml"
)

// script runs kernel.sh with the environment and returns what it writes and its exit status.
func script(t *testing.T, env []string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.Command("./kernel.sh", args...)
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestScriptPath wants the script to put the kernel where Kernel looks for it.
func TestScriptPath(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv(uml.KernelEnv, "")
	stdout, stderr, status := script(t, nil, "--path")
	path := strings.TrimSpace(stdout)
	if status != 0 || stderr != "" || filepath.Dir(path) != filepath.Join(cache, "rollcall-lab") {
		t.Fatalf("kernel.sh --path = %q, %q, %d, want a file in %s/rollcall-lab", stdout, stderr, status, cache)
	}
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/false\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := uml.Kernel(t); got != path {
		t.Errorf("Kernel() = %s, kernel.sh has %s", got, path)
	}
	if stdout, stderr, status := script(t, nil); stdout != path+"\n" || stderr != "" || status != 0 {
		t.Errorf("kernel.sh of a kernel that is there = %q, %q, %d, want its path only", stdout, stderr, status)
	}
}

// TestScriptPackages runs the script on a host that has none of the packages, as a user who cannot install them.
func TestScriptPackages(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	for name, text := range map[string]string{"dpkg-query": "exit 1", "id": "echo 1000", "uname": "echo x86_64"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cache := t.TempDir()
	stdout, stderr, status := script(t, []string{"XDG_CACHE_HOME=" + cache, "PATH=" + bin + ":" + os.Getenv("PATH")})
	want := "kernel.sh: packages are missing; run: sudo apt-get install -y --no-install-recommends linux-source-6.1 flex"
	if status != 1 || stdout != "" || !strings.HasPrefix(stderr, want) || strings.Count(stderr, "\n") != 1 {
		t.Errorf("kernel.sh = %q, %q, %d, want the one line %q …, status 1", stdout, stderr, status, want)
	}
	if left, err := filepath.Glob(filepath.Join(cache, "rollcall-lab", "build*")); err != nil || len(left) > 0 {
		t.Errorf("left in the cache: %v, %v", left, err)
	}
}

func TestScriptUsage(t *testing.T) {
	t.Parallel()
	if stdout, stderr, status := script(t, nil, "--wrong"); status != 2 || stdout != "" || !strings.Contains(stderr, "usage: kernel.sh") {
		t.Errorf("kernel.sh --wrong = %q, %q, %d, want its usage, status 2", stdout, stderr, status)
	}
}
