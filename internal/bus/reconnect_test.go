package bus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
)

// A broker that forgets everything comes back: the subscriptions are there, what was kept is retained again (the newest of
// each topic), what was emptied stays empty, and what was sent meanwhile arrives in order.
func TestReconnect(t *testing.T) {
	t.Parallel()
	b := bustest.StartStoppable(t)
	testReconnect(t, b.URL(), b.Stop, b.Start)
}

func testReconnect(t *testing.T, url string, stop, again func()) {
	var log logs
	conf := bus.Config{URL: url, Log: log.logger()}
	seen := watch(&conf)
	c := bustest.Run(t, conf)
	receive(t, seen.up, "OnUp")
	in := make(chan bus.Message, 100)
	if err := c.Subscribe(within(t, patience), 1, func(m bus.Message) { in <- m }, "/in"); err != nil {
		t.Fatal(err)
	}
	c.Keep(bus.Message{Topic: "/status", Payload: []byte("online"), QoS: 1})
	c.Keep(bus.Message{Topic: "/state", Payload: []byte("1")})
	c.Keep(bus.Message{Topic: "/gone", Payload: []byte("x"), QoS: 1})
	before := listen(t, url, "/#")
	for len(before) < 3 {
		m := receive(t, before, "kept message")
		if !strings.Contains("/status=online /state=1 /gone=x", m.Topic+"="+string(m.Payload)) {
			t.Errorf("unexpected %s=%s", m.Topic, m.Payload)
		}
		if m.Topic == "/gone" {
			break
		}
	}

	for len(seen.down) > 0 { // failures before the broker was up
		<-seen.down
	}
	stop()
	if err := receive(t, seen.down, "OnDown"); !strings.Contains(err.Error(), "lost") {
		t.Errorf("OnDown(%v), want a lost connection", err)
	}
	if c.Connected() {
		t.Error("Connected = true with the broker stopped")
	}
	if err := c.Publish(within(t, patience), bus.Message{Topic: "/x", QoS: 1}); !errors.Is(err, bus.ErrNotConnected) {
		t.Errorf("Publish = %v, want ErrNotConnected", err)
	}
	c.Keep(bus.Message{Topic: "/state", Payload: []byte("2")})
	c.Keep(bus.Message{Topic: "/state", Payload: []byte("3")})
	c.Keep(bus.Message{Topic: "/gone"})
	for i := range 20 {
		c.Send(bus.Message{Topic: "/sent", Payload: fmt.Append(nil, i), QoS: 1})
	}
	if err := receive(t, seen.down, "failed attempt"); !strings.Contains(err.Error(), "connect to tcp://127.0.0.1:") {
		t.Errorf("OnDown(%v), want a failed attempt", err)
	}
	again()
	receive(t, seen.up, "OnUp")
	// The queue is sent after what was kept, so its end tells that all has arrived.
	after := bustest.Dial(t, url)
	if _, err := after.Request(within(t, patience), bus.Message{Topic: "/in", Payload: []byte("ping"), QoS: 1}, "/state", nil); err != nil {
		t.Fatal(err)
	}
	want(t, in, "/in=ping")
	got := listen(t, url, "/status", "/state", "/gone")
	have := make(map[string]string)
	for range 2 {
		m := receive(t, got, "retained message")
		have[m.Topic] = string(m.Payload)
	}
	if have["/status"] != "online" || have["/state"] != "3" {
		t.Errorf("retained %v, want /status=online /state=3", have)
	}
	select {
	case m := <-got:
		t.Errorf("one more retained message: %s=%s", m.Topic, m.Payload)
	default:
	}
	if n := len(log.having("INFO connected")); n == 0 {
		t.Error("no log line for a connection")
	}
	if lines := log.having("WARN no connection"); len(lines) != 1 {
		t.Errorf("%d warnings for one loss, want 1: %q", len(lines), lines)
	}
}

// What Send got while there was no connection arrives in order, the newest 10,000 of it; that there were more is logged.
func TestSendQueue(t *testing.T) {
	t.Parallel()
	b := bustest.StartStoppable(t)
	got := make(chan bus.Message, 2000)
	conf := bus.Config{URL: b.URL()}
	seen := watch(&conf)
	listener := bustest.Run(t, conf)
	receive(t, seen.up, "OnUp")
	if err := listener.Subscribe(within(t, patience), 1, func(m bus.Message) { got <- m }, "/q"); err != nil {
		t.Fatal(err)
	}
	b.Stop()
	var log logs
	c, _ := start(t, bus.Config{URL: b.URL(), Log: log.logger()})
	for i := range 10_500 {
		c.Send(bus.Message{Topic: "/early", Payload: fmt.Append(nil, i), QoS: 1})
	}
	if n := c.Dropped(); n != 500 {
		t.Errorf("Dropped = %d of 10,500, want 500", n)
	}
	if lines := log.having("WARN messages dropped", "dropped=1 "); len(lines) != 1 || len(log.having("messages dropped")) != 1 {
		t.Errorf("log says %q, want one warning: the others come within a minute", log.having("messages dropped"))
	}
	b.Start()
	receive(t, seen.up, "OnUp after the restart")
	// The first messages may have passed before the listener was back: check order and end with others.
	for i := range 1000 {
		c.Send(bus.Message{Topic: "/q", Payload: fmt.Append(nil, i), QoS: byte(i % 2)})
	}
	for i := range 1000 {
		want(t, got, fmt.Sprintf("/q=%d", i))
	}
}

// Without a broker the client keeps trying, says why, and ends at once when it is told to.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	url := "tcp://" + freeAddr(t)
	var log logs
	conf := bus.Config{URL: url, Log: log.logger()}
	seen := watch(&conf)
	c, stop := start(t, conf)
	for range 3 {
		receive(t, seen.down, "failed attempt")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := c.Wait(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Wait = %v, want the end of ctx and the reason", err)
	}
	if err := c.Publish(t.Context(), bus.Message{Topic: "/x"}); !errors.Is(err, bus.ErrNotConnected) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("Publish = %v, want ErrNotConnected with the reason", err)
	}
	if err := c.Subscribe(t.Context(), 0, func(bus.Message) {}, "/x"); err != nil {
		t.Errorf("Subscribe = %v, want nil: it is done on the first connection", err)
	}
	if _, err := c.Request(t.Context(), bus.Message{Topic: "/x"}, "/y", nil); !errors.Is(err, bus.ErrNotConnected) {
		t.Errorf("Request = %v, want ErrNotConnected", err)
	}
	begin := time.Now()
	stop()
	if d := time.Since(begin); d > 500*time.Millisecond {
		t.Errorf("Run took %v to end", d)
	}
	if lines := log.having("WARN"); len(lines) != 1 {
		t.Errorf("warnings %q, want 1", lines)
	}
	if err := c.Wait(t.Context()); !errors.Is(err, bus.ErrStopped) {
		t.Errorf("Wait = %v, want ErrStopped", err)
	}
	if err := c.Publish(t.Context(), bus.Message{Topic: "/x"}); !errors.Is(err, bus.ErrStopped) && !errors.Is(err, bus.ErrNotConnected) {
		t.Errorf("Publish = %v, want ErrStopped or ErrNotConnected", err)
	}
	if err := c.Run(t.Context()); err == nil {
		t.Error("second Run = nil, want an error")
	}
}

// The one test against a broker that is not ours.
func TestMosquitto(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if path = "/usr/sbin/mosquitto"; !exists(path) {
			t.Skip("mosquitto is not installed")
		}
	}
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := "listener " + port + " 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\nlog_dest none\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var cmd *exec.Cmd
	run := func() {
		cmd = exec.Command(path, "-c", conf)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	stop := func() {
		if cmd == nil {
			return
		}
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // killed
		cmd = nil
	}
	t.Cleanup(stop)
	run()
	testReconnect(t, "tcp://"+addr, stop, run)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// freeAddr returns an address on loopback that nothing listens on.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
