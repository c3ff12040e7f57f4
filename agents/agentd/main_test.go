package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/agents"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/internal/run"
)

// asAgentd makes this test binary be agentd.
const asAgentd = "AGENTD_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asAgentd) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what takes milliseconds.
const patience = time.Minute

// buffer is a bytes.Buffer for a writer and a reader at once.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// write writes a configuration of host h and returns its path.
func write(t testing.TB, dir, url, rest string) string {
	t.Helper()
	path := filepath.Join(dir, "rollcall.yaml")
	doc := fmt.Sprintf("host: h\nstate_dir: %s\nbroker: {url: %q}\n%s", dir, url, rest)
	if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// listener hears what is published and waits for payloads.
type listener struct {
	t    testing.TB
	mu   sync.Mutex
	last map[string]string
	news chan struct{}
}

func listen(t testing.TB, url string) *listener {
	t.Helper()
	l := &listener{t: t, last: map[string]string{}, news: make(chan struct{}, 1)}
	if err := bustest.Dial(t, url).Subscribe(t.Context(), 1, func(m bus.Message) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.last[m.Topic] = string(m.Payload)
		select {
		case l.news <- struct{}{}:
		default:
		}
	}, "/h/#"); err != nil {
		t.Fatal(err)
	}
	return l
}

// until waits until the topic has a payload for which ok is true.
func (l *listener) until(topic string, ok func(string) bool) {
	l.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		l.mu.Lock()
		payload := l.last[topic]
		l.mu.Unlock()
		if ok(payload) {
			return
		}
		select {
		case <-l.news:
		case <-late.C:
			l.t.Fatalf("%s = %q after %v", topic, payload, patience)
		}
	}
}

func (l *listener) want(topic, payload string) {
	l.t.Helper()
	l.until(topic, func(got string) bool { return got == payload })
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, yaml, want string
		args             []string
	}{
		{"a key that is not known", "agnets: {}\n", `rollcall.yaml:4: `, nil},
		{"a kind that is not known", "agents:\n  gpoi: {}\n", `rollcall.yaml:5: agents.gpoi: no kind of agent is called "gpoi"; did you mean "gpio"?`, nil},
		{"an option that is not known", "agents:\n  gpio:\n    chip: sim\n    ouputs: {}\n", `rollcall.yaml:7: agents.gpio.ouputs: unknown key; did you mean "outputs"?`, nil},
		{"a wrong type", "agents:\n  hostsensor: {poll: soon}\n", `rollcall.yaml:5: agents.hostsensor.poll`, nil},
		{"a filter that is wrong", "agents:\n  hostsensor:\n    points:\n      load/1m: {scale: 0}\n", `rollcall.yaml:7: agents.hostsensor.points.load/1m.scale`, nil},
		{"an agent that is not there", "agents:\n  hostsensor: {}\n", `no agent "gpio" is configured`, []string{"--only", "gpio"}},
	}
	for _, tt := range tests {
		for _, more := range [][]string{nil, {"--check"}} {
			t.Run(tt.name+strings.Join(more, ""), func(t *testing.T) {
				t.Parallel()
				path := write(t, t.TempDir(), "tcp://127.0.0.1:1", tt.yaml)
				var out, errs buffer
				args := append(append([]string{"--config", path}, tt.args...), more...)
				code := command(t.Context(), args, nil, agents.All(), &out, &errs)
				if code != run.ExitUsage || strings.Count(errs.String(), "\n") != 1 || !strings.Contains(errs.String(), tt.want) || out.String() != "" {
					t.Errorf("agentd %q = %d, stderr %q, stdout %q, want 2 and one line with %q", args, code, &errs, &out, tt.want)
				}
			})
		}
	}
	for name, args := range map[string][]string{
		"a file that is not there": {"--config", filepath.Join(t.TempDir(), "none.yaml")}, "a folder": {"--config", t.TempDir()},
		"an unknown flag": {"--colour"}, "an argument": {"gpio"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errs buffer
			if code := command(t.Context(), args, nil, agents.All(), &out, &errs); code != run.ExitUsage || strings.Count(errs.String(), "\n") != 1 {
				t.Errorf("agentd %q = %d, stderr %q, want 2 and one line", args, code, &errs)
			}
		})
	}
}

func TestCheckAndVersion(t *testing.T) {
	t.Parallel()
	path := write(t, t.TempDir(), "tcp://127.0.0.1:1", "agents:\n  gpio: {chip: sim}\n  hostsensor: {}\n")
	for args, want := range map[string]string{"--check --config " + path: "configuration is good\n", "version": "agentd dev ", "--version": "agentd version dev\n"} {
		var out, errs buffer
		code := command(t.Context(), strings.Fields(args), nil, agents.All(), &out, &errs)
		if code != run.ExitOK || !strings.HasPrefix(out.String(), want) || errs.String() != "" {
			t.Errorf("agentd %s = %d, stdout %q, stderr %q, want 0, %q", args, code, &out, &errs, want)
		}
	}
}

// TestRunAndReload runs the program with two agents, changes the file under it, and stops it.
func TestRunAndReload(t *testing.T) {
	t.Parallel()
	url, dir := bustest.Start(t), t.TempDir()
	l := listen(t, url)
	const gpio = "  gpio: {chip: sim, outputs: {led: {pin: 5}}}\n"
	path := write(t, dir, url, "agents:\n"+gpio+"  hostsensor: {}\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hup := make(chan os.Signal)
	var out, errs buffer
	done := make(chan int, 1)
	go func() { done <- command(ctx, []string{"--config", path}, hup, agents.All(), &out, &errs) }()
	l.want("/h/gpio/status", "online")
	l.want("/h/hostsensor/status", "online")
	l.want("/h/gpio/output/led", "OFF")
	logged := func(text string) {
		t.Helper()
		late := time.NewTimer(patience)
		defer late.Stop()
		look := time.NewTicker(5 * time.Millisecond)
		defer look.Stop()
		for !strings.Contains(errs.String(), text) {
			select {
			case <-look.C:
			case <-late.C:
				t.Fatalf("log has no %q:\n%s", text, &errs)
			}
		}
	}

	write(t, dir, url, "agents:\n  gpio: {chip: sim, ouputs: {}}\n")
	hup <- syscall.SIGHUP
	logged("rollcall.yaml:5: agents.gpio.ouputs")
	l.want("/h/hostsensor/status", "online")

	write(t, dir, url, "agents:\n  second: {agent: gpio, chip: sim}\n"+gpio)
	hup <- syscall.SIGHUP
	l.want("/h/second/status", "online")
	l.want("/h/hostsensor/status", "offline")
	l.want("/h/hostsensor/description", "")
	logged("new configuration in force")
	cancel()
	select {
	case code := <-done:
		if code != run.ExitOK {
			t.Errorf("exit status %d, want 0; stderr:\n%s", code, &errs)
		}
	case <-time.After(patience):
		t.Fatal("it does not stop")
	}
	l.want("/h/gpio/status", "offline")
	if n := strings.Count(errs.String(), "agent=gpio status=online"); n != 1 {
		t.Errorf("gpio, which did not change, was started %d times; log:\n%s", n, &errs)
	}
}

func TestOnly(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	l := listen(t, url)
	path := write(t, t.TempDir(), url, "agents:\n  a: {agent: gpio, chip: sim}\n  b: {agent: gpio, chip: sim}\n  c: {agent: gpio, chip: sim}\n")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- command(ctx, []string{"--config", path, "--only", "a", "--only", "c"}, nil, agents.All(), &buffer{}, &buffer{})
	}()
	l.want("/h/a/status", "online")
	l.want("/h/c/status", "online")
	cancel()
	<-done
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.last["/h/b/status"]; ok {
		t.Errorf("b runs: %q", s)
	}
}

// child starts agentd as a process.
func child(t testing.TB, path string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "--config", path)
	cmd.Env = append(append(os.Environ(), asAgentd+"=1"), env...)
	cmd.Stderr = &buffer{}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd
}

func TestKilledIsOfflineByLastWill(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	l := listen(t, url)
	path := write(t, t.TempDir(), url, "agents:\n  gpio: {chip: sim}\n  hostsensor: {}\n")
	for range 2 { // the second time beside what the first has left
		cmd := child(t, path)
		l.want("/h/gpio/status", "online")
		l.want("/h/hostsensor/status", "online")
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		l.want("/h/gpio/status", "offline")
		l.want("/h/hostsensor/status", "offline")
	}
}

// TestTwice runs the program beside one that has the same state directory: an agent is run by one of them only, by one name each.
func TestTwice(t *testing.T) {
	t.Parallel()
	url, dir := bustest.Start(t), t.TempDir()
	l := listen(t, url)
	const a = "agents:\n  a: {agent: gpio, chip: sim}\n"
	first := child(t, write(t, dir, url, a))
	l.want("/h/a/status", "online")
	path := write(t, dir, url, a+"  b: {agent: gpio, chip: sim}\n") // which the first one does not read
	var errs buffer
	if code := command(t.Context(), []string{"--config", path}, nil, agents.All(), &buffer{}, &errs); code != run.ExitFailed {
		t.Errorf("a second one of all agents ends with %d, want %d", code, run.ExitFailed)
	}
	if want := fmt.Sprintf("agent a is run by process %d already: ", first.Process.Pid); !strings.Contains(errs.String(), want) {
		t.Errorf("stderr %q, want %q in it", &errs, want)
	}
	if code := command(t.Context(), []string{"--config", path, "--check"}, nil, agents.All(), &buffer{}, &buffer{}); code != run.ExitOK {
		t.Errorf("--check beside it ends with %d", code)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan int, 1)
	go func() {
		done <- command(ctx, []string{"--config", path, "--only", "b"}, nil, agents.All(), &buffer{}, &buffer{})
	}()
	l.want("/h/b/status", "online")
	l.want("/h/a/status", "online")
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // killed
	l.want("/h/a/status", "offline")
	second := child(t, write(t, dir, url, a)) // the lock has ended with its process
	l.want("/h/a/status", "online")
	cancel()
	<-done
	if err := second.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// TestUnderSystemd is systemd: it hears READY=1, WATCHDOG=1 and STOPPING=1, and reads the log.
func TestUnderSystemd(t *testing.T) {
	t.Parallel()
	url, dir := bustest.Start(t), t.TempDir()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	cmd := child(t, write(t, dir, url, "agents:\n  gpio: {chip: sim}\n"),
		"NOTIFY_SOCKET="+filepath.Join(dir, "notify"), "WATCHDOG_USEC=200000", "JOURNAL_STREAM=8:1")
	want := func(states ...string) {
		t.Helper()
		if err := socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 256)
		for len(states) > 0 {
			n, err := socket.Read(buf)
			if err != nil {
				t.Fatalf("wait for %q: %v", states, err)
			}
			if got := string(buf[:n]); strings.HasPrefix(got, states[0]) {
				states = states[1:]
			} else if !strings.HasPrefix(got, "WATCHDOG=1") {
				t.Fatalf("systemd hears %q, want %q", got, states[0])
			}
		}
	}
	want("READY=1", "WATCHDOG=1", "WATCHDOG=1")
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	want("RELOADING=1", "READY=1")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	want("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	log := cmd.Stderr.(*buffer).String()
	if !strings.Contains(log, "level=INFO") || strings.Contains(log, "time=") {
		t.Errorf("log under systemd has times or nothing:\n%s", log)
	}
}

// BenchmarkStart measures from the start of the process to the first retained description, with both agents, and the resident
// size once it has settled.
func BenchmarkStart(b *testing.B) {
	url := bustest.Start(b)
	path := write(b, b.TempDir(), url, "agents:\n  gpio: {chip: sim, outputs: {led: {pin: 5}}}\n  hostsensor: {}\n")
	described := make(chan struct{}, 64)
	if err := bustest.Dial(b, url).Subscribe(b.Context(), 1, func(m bus.Message) {
		if len(m.Payload) > 0 {
			described <- struct{}{}
		}
	}, "/h/+/description"); err != nil {
		b.Fatal(err)
	}
	rss := 0
	for b.Loop() {
		cmd := child(b, path)
		<-described
		b.StopTimer()
		settled := time.NewTimer(time.Second)
		<-described
		<-settled.C
		rss = resident(b, cmd.Process.Pid)
		if err := cmd.Process.Kill(); err != nil {
			b.Fatal(err)
		}
		_ = cmd.Wait() // killed
		for len(described) > 0 {
			<-described
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(rss)/1024, "rss-MB")
}

// resident returns the resident size of a process in kB (proc_pid_status(5)).
func resident(b *testing.B, pid int) (kB int) {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscan(rest, &kB); err != nil {
		b.Fatal(err)
	}
	return kB
}
