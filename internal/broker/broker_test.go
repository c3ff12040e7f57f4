package broker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// deadline is how long a test waits for what must come.
const deadline = 10 * time.Second

func TestMain(m *testing.M) {
	if path := os.Getenv(childStore); path != "" {
		runChild(path)
	}
	goleak.VerifyTestMain(m)
}

func allowAll(Peer, string, bool) bool { return true }

// start runs a broker on a free port until the test ends and returns it with its address.
func start(t testing.TB, c Config) (*Broker, string) {
	t.Helper()
	b, addr, stop := startStop(t, c)
	t.Cleanup(stop)
	return b, addr
}

func startStop(t testing.TB, c Config) (b *Broker, addr string, stop func()) {
	t.Helper()
	return startWith(t, c, func(*Broker) {})
}

// startWith is startStop with a broker that change has changed.
func startWith(t testing.TB, c Config, change func(*Broker)) (b *Broker, addr string, stop func()) {
	t.Helper()
	if c.Listen == nil {
		c.Listen = []string{"127.0.0.1:0"}
	}
	b, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	change(b)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	return b, b.Addrs()[0].String(), sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
		case <-time.After(deadline):
			t.Error("Run does not end")
		}
	})
}

// logBuffer collects a log.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBuffer) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: level}))
}

// eventually waits until ok returns true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late := time.After(deadline)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-late:
			t.Fatalf("no %s within %v", what, deadline)
		case <-tick.C:
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	dir := t.TempDir()
	tests := map[string]struct {
		config Config
		want   []string
	}{
		"port taken":       {Config{Listen: []string{taken.Addr().String()}}, []string{taken.Addr().String(), "address already in use"}},
		"second one taken": {Config{Listen: []string{"127.0.0.1:0", taken.Addr().String()}}, []string{taken.Addr().String()}},
		"no port":          {Config{Listen: []string{"127.0.0.1"}}, []string{`"127.0.0.1"`, "missing port"}},
		"port too high":    {Config{Listen: []string{"127.0.0.1:99999"}}, []string{"127.0.0.1:99999", "invalid port"}},
		"foreign address":  {Config{Listen: []string{"192.0.2.1:0"}}, []string{"192.0.2.1:0", "cannot assign"}},
		"none":             {Config{}, []string{"no address"}},
		"max clients":      {Config{Listen: []string{"127.0.0.1:0"}, MaxClients: -1}, []string{"max clients -1"}},
		"store is a folder": {Config{Listen: []string{"127.0.0.1:0"}, Store: dir},
			[]string{"open retained store", dir}},
		"no folder for store": {Config{Listen: []string{"127.0.0.1:0"}, Store: filepath.Join(dir, "no", "store.db")},
			[]string{"open retained store", "no such file"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := New(tt.config)
			if err == nil {
				t.Fatalf("New = nil error, want one (Close = %v)", b.Close())
			}
			for _, want := range tt.want {
				if got := err.Error(); !strings.Contains(got, want) || strings.Contains(got, "\n") {
					t.Errorf("New = %q, want one line with %q", got, want)
				}
			}
		})
	}
}

// A port below net.ipv4.ip_unprivileged_port_start is refused by name to all but root.
func TestNewNotPermitted(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:87")
	if err == nil {
		_ = l.Close()
		t.Skip("this user may listen on port 87")
	}
	if !errors.Is(err, syscall.EACCES) {
		t.Skip("port 87: ", err)
	}
	if _, err = New(Config{Listen: []string{"127.0.0.1:87"}}); err == nil || !strings.Contains(err.Error(), `"127.0.0.1:87": bind: permission denied`) {
		t.Errorf("New = %v, want permission denied with the address", err)
	}
}

// The first listener is closed again when the second cannot be opened.
func TestNewAllOrNothing(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := taken.Addr().String()
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Listen: []string{free, "127.0.0.1:99999"}}); err == nil {
		t.Fatal("New = nil error, want one")
	}
	b, err := New(Config{Listen: []string{free}})
	if err != nil {
		t.Fatalf("New on the address of a refused broker: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestAddrsAndRun(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Config{Listen: []string{"127.0.0.1:0", "127.0.0.2:0"}, Allow: allowAll})
	addrs := b.Addrs()
	if len(addrs) != 2 || !strings.HasPrefix(addrs[0].String(), "127.0.0.1:") || !strings.HasPrefix(addrs[1].String(), "127.0.0.2:") {
		t.Fatalf("Addrs = %v, want two in the order of the configuration", addrs)
	}
	for i, a := range addrs {
		dial(t, a.String()).connect("c" + string(rune('0'+i)))
	}
	eventually(t, "second client", func() bool { return b.Stats().Clients == 2 })
	if err := b.Run(context.Background()); err == nil {
		t.Error("second Run = nil, want an error")
	}
}

func TestCloseWithoutRun(t *testing.T) {
	t.Parallel()
	b, err := New(Config{Listen: []string{"127.0.0.1:0"}, Store: filepath.Join(t.TempDir(), "store.db")})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := b.Run(context.Background()); err == nil {
		t.Error("Run after Close = nil, want an error")
	}
}

func TestRunEndedAtOnce(t *testing.T) {
	t.Parallel()
	b, err := New(Config{Listen: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Run(ctx); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{Allow: func(_ Peer, topic string, _ bool) bool { return topic != "no" }})
	c := dial(t, addr)
	c.connect("c")
	c.subscribe("#", 1)
	c.publish("a", "1", 1, true)
	c.publish("no", "1", 0, false)
	c.ping()
	want := Stats{Clients: 1, Retained: 1, Received: 2, Sent: 1, Denied: 1}
	eventually(t, "delivery", func() bool { return b.Stats().Sent == 1 })
	if diff := cmp.Diff(b.Stats(), want); diff != "" {
		t.Errorf("Stats (-got +want):\n%s", diff)
	}
}

// Passwords and payloads do not get into the log, at any level.
func TestLogHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	var log logBuffer
	_, addr, stop := startStop(t, Config{Allow: allowAll, Log: log.logger(slog.LevelDebug)})
	c := dial(t, addr)
	c.send(connectFrame{id: "c", user: "u", password: "S3CRET"}.bytes())
	c.expect(connack)
	c.publish("a", "P4YLOAD", 1, true)
	c.send(connectFrame{id: "c", user: "u", password: "S3CRET"}.bytes()) // a second CONNECT is an error that mochi logs
	c.expectClosed()
	stop()
	got := log.String()
	if !strings.Contains(got, "second connect") {
		t.Errorf("log lacks mochi's complaint:\n%s", got)
	}
	for _, secret := range []string{"S3CRET", "P4YLOAD"} {
		if strings.Contains(got, secret) {
			t.Errorf("log holds %s:\n%s", secret, got)
		}
	}
	for line := range strings.Lines(got) {
		if strings.Contains(line, "mochi: ") && !strings.Contains(line, "level=DEBUG") {
			t.Errorf("got %q, want mochi at debug level", line)
		}
	}
}
