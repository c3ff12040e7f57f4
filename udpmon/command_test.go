package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rollcall/config"
	"rollcall/internal/run"
)

// runCommand runs the program to its end.
func runCommand(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = command(within(t), args, nil, &out, &errs)
	return status, out.String(), errs.String()
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string { return write(t, filepath.Join(dir, name), text) }
	good := file("good.yaml", "host: pi1\n")
	for name, tt := range map[string]struct {
		args   []string
		status int
		stdout string // regular expressions of the whole
		stderr string
	}{
		"check":              {[]string{"--check", "--config", good}, 0, `configuration is good\n`, ``},
		"check the defaults": {[]string{"--check"}, 0, `configuration is good\n`, ``},
		"version":            {[]string{"--version"}, 0, `udpmon version \S+\n`, ``},
		"help":               {[]string{"--help"}, 0, `(?s)Answer.*Usage:\n  udpmon .*--check.*--config.*`, ``},
		"unknown flag":       {[]string{"--prot", "1"}, 2, ``, `udpmon: .*--prot\n`},
		"stray argument":     {[]string{"start"}, 2, ``, `udpmon: .*"start".*\n`},
		"flag without value": {[]string{"--config"}, 2, ``, `udpmon: .*--config\n`},
		"missing file":       {[]string{"--config", dir + "/none.yaml"}, 2, ``, `udpmon: .*/none.yaml: no such file or directory\n`},
		"a folder":           {[]string{"--config", dir}, 2, ``, `udpmon: .*: is a directory\n`},
		"not YAML":           {[]string{"--config", file("a", "host: pi1\n\tx")}, 2, ``, `udpmon: \S+/a:2: .*\n`},
		"unknown key":        {[]string{"--config", file("b", "host: pi1\nbrokr: {}\n")}, 2, ``, `udpmon: \S+/b:2: .*brokr.*broker.*\n`},
		"wrong type":         {[]string{"--config", file("c", "discovery:\n  port: high\n")}, 2, ``, `udpmon: \S+/c:2: .*port.*\n`},
		"out of range":       {[]string{"--config", file("d", "discovery: {port: 0}\n")}, 2, ``, `udpmon: \S+/d:1: .*port.*\n`},
		"bad host":           {[]string{"--config", file("e", "host: a/b\n")}, 2, ``, `udpmon: \S+/e:1: .*host.*\n`},
		"two brokers":        {[]string{"--config", file("f", "broker: {listen: ':1', url: 'tcp://h'}\n")}, 2, ``, `udpmon: \S+/f:1: .*listen.*\n`},
		"bad check":          {[]string{"--check", "--config", file("g", "{")}, 2, ``, `udpmon: \S+/g:\d+: .*\n`},
		"too long":           {[]string{"--config", file("h", strings.Repeat("# x\n", 1<<20))}, 2, ``, `udpmon: \S+/h.*\n`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, stdout, stderr := runCommand(t, tt.args...)
			if status != tt.status {
				t.Errorf("exit status %d, want %d", status, tt.status)
			}
			for what, got := range map[string][2]string{"stdout": {stdout, tt.stdout}, "stderr": {stderr, tt.stderr}} {
				if !regexp.MustCompile(`^` + got[1] + `$`).MatchString(got[0]) {
					t.Errorf("%s is %q, want %q", what, got[0], got[1])
				}
			}
		})
	}
}

// What the configuration asks for and the machine can't give: exit status 1, one line, and nothing is left behind.
func TestCannotStart(t *testing.T) {
	t.Parallel()
	udp, err := net.ListenPacket("udp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = udp.Close() })
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tcp.Close() })
	takenUDP, takenTCP := udp.LocalAddr().(*net.UDPAddr).Port, tcp.Addr().(*net.TCPAddr).Port
	for name, tt := range map[string]struct {
		change func(dir string, c map[string]string)
		want   string
	}{
		"UDP port taken": {func(_ string, c map[string]string) { c["port"] = fmt.Sprint(takenUDP) }, fmt.Sprintf(`discovery.port: .*:%d: .*in use`, takenUDP)},
		"TCP port taken": {func(_ string, c map[string]string) { c["broker"] = fmt.Sprintf(`listen: "127.0.0.1:%d"`, takenTCP) },
			fmt.Sprintf(`broker.listen: .*:%d.*in use`, takenTCP)},
		"state_dir is a file": {func(dir string, c map[string]string) { c["state"] = write(t, dir+"/file", "") }, `state_dir: .*/file.*`},
		"state_dir in a file": {func(dir string, c map[string]string) { c["state"] = write(t, dir+"/file", "") + "/state" }, `state_dir: .*/file.*`},
		"state_dir in /proc":  {func(_ string, c map[string]string) { c["state"] = "/proc/rollcall" }, `state_dir: .*/proc/rollcall.*`},
		"host id is damaged": {func(dir string, c map[string]string) { write(t, dir+"/host_id", "xyz"); c["state"] = dir },
			`state_dir: .*host_id: not 16 hex digits.*`},
		"no password file": {func(_ string, c map[string]string) {
			c["broker"] = "url: 'tcp://127.0.0.1:1', username: u, password_file: /none/secret"
		}, `broker.password_file: .*/none/secret.*`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c := map[string]string{"state": dir + "/state", "port": fmt.Sprint(freePort(t)), "broker": `listen: "127.0.0.1:0"`}
			tt.change(dir, c)
			doc := fmt.Sprintf("host: pi1\nstate_dir: %s\ndiscovery: {port: %s}\nbroker: {%s}\n", c["state"], c["port"], c["broker"])
			status, stdout, stderr := runCommand(t, "--config", write(t, dir+"/c.yaml", doc))
			if status != run.ExitFailed || stdout != "" || !regexp.MustCompile(`^udpmon: `+tt.want+`\n$`).MatchString(stderr) {
				t.Errorf("exit status %d, stdout %q, stderr %q; want 1, nothing, and a line about %q", status, stdout, stderr, tt.want)
			}
		})
	}
}

// Whatever stops newMonitor half-way, what it had opened is free again.
func TestFailedStartLeavesNothing(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.Discovery.Port = freePort(t)
	cfg.Broker.Listen = at(freePort(t))
	bad := cfg
	bad.Discovery.ReplyTo = []string{"//"} // config would have refused it; here it fails last of all
	if _, err := newMonitor(bad, newClock().now, quiet()); err == nil || !strings.Contains(err.Error(), "reply_to") {
		t.Fatalf("newMonitor = %v, want an error about reply_to", err)
	}
	if h := startWith(t, cfg).sweep(); h.Hostname != "pi1" {
		t.Errorf("host is %q, want pi1", h.Hostname)
	}
}

// A context that has ended already is a clean stop, whatever it finds under way.
func TestStopAtOnce(t *testing.T) {
	t.Parallel()
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		load := func() (config.Config, error) { return config.Config{}, fmt.Errorf("must not be read") }
		if err := supervise(ctx, testConfig(t), load, nil, quiet()); err != nil {
			t.Errorf("supervise = %v, want nil", err)
		}
	}
}
