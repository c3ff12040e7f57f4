//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/internal/discover"
	"rollcall/internal/trust"
)

// startSSHD runs an sshd of its own on the loopback, with a throw-away configuration, and returns the ssh command that reaches it.
func startSSHD(t *testing.T) (ssh string) {
	t.Helper()
	sshd := "/usr/sbin/sshd" // which wants its absolute path
	if _, err := os.Stat(sshd); err != nil {
		t.Skip("no sshd on this machine: apt-get install openssh-server")
	}
	if os.Getuid() == 0 {
		switch err := os.Mkdir("/run/sshd", 0o755); { // which sshd wants when it is started by root
		case err == nil:
			t.Cleanup(func() { _ = os.Remove("/run/sshd") })
		case !errors.Is(err, fs.ErrExist):
			t.Skip(err)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Skipf("ssh-keygen: %v\n%s", err, out)
		}
	}
	_, port, _ := strings.Cut(freePort(t), ":")
	conf := fmt.Sprintf("ListenAddress 127.0.0.1\nPort %s\nHostKey %[2]s/host\nAuthorizedKeysFile %[2]s/user.pub\nStrictModes no\nUsePAM no\n"+
		"PasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\nLogLevel VERBOSE\n", port, dir)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd := exec.Command(sshd, "-D", "-e", "-f", filepath.Join(dir, "conf"))
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &log, &log, patience
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Log(log.String())
		}
	})
	deadline := time.Now().Add(patience)
	for {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
			break
		}
		select {
		case <-ended:
			t.Skipf("sshd does not run here: %s", log.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("sshd does not listen")
		}
	}
	return fmt.Sprintf("ssh -F none -p %s -i %s/user -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=%[2]s/known -o BatchMode=yes -o LogLevel=ERROR",
		port, dir)
}

// TestEnrollOverSSH enrols at a real sshd, as the user that runs the test.
func TestEnrollOverSSH(t *testing.T) {
	t.Parallel()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		if err := exec.Command("sudo", "-n", "true").Run(); err != nil {
			t.Skip("neither root nor with sudo that asks for no password, which enroll uses on the host")
		}
	}
	ssh := startSSHD(t)
	l := newLaptop(t)
	dir := t.TempDir()
	file, state := filepath.Join(dir, "etc it's", "authorized_operators"), filepath.Join(dir, "state")
	key, _, err := trust.LoadOrMakeKey(filepath.Join(state, "host_key"), "pizero2")
	if err != nil {
		t.Fatal(err)
	}
	id, err := discover.LoadID(state)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, stderr := l.want(exitOK, "enroll", "--ssh", ssh, "--rights", "read", "--file", file, "--state-dir", state, me.Username+"@127.0.0.1")
		has(t, "stderr", stderr, "pizero2 obeys this laptop", key.Public().Fingerprint())
	}
	all, err := trust.LoadOperators(file)
	if err != nil || len(all.All()) != 1 || all.All()[0].Line() != "read "+l.operator() {
		t.Errorf("file has %v, %v", all.All(), err)
	}
	known, err := trust.LoadKnownHosts(filepath.Join(l.keys, knownHostsFile))
	if err != nil {
		t.Fatal(err)
	}
	if h, ok := known.Find("pizero2", trust.HostID(id)); !ok || !h.Equal(key.Public()) {
		t.Errorf("known hosts are %v", known.All())
	}
	// Whom sshd does not let in enrols nothing.
	_, stderr := l.want(exitFail, "enroll", "--ssh", ssh+" -o IdentityFile=/dev/null -o PubkeyAuthentication=no", "--file", file+"2", "--state-dir", state, me.Username+"@127.0.0.1")
	has(t, "stderr", stderr, "enroll at ")
	if _, err := os.Stat(file + "2"); err == nil {
		t.Error("a file was written all the same")
	}
}
