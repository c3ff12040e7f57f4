package bus_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/internal/bus"
)

// Whatever the other end does, one delivery is one connection: who sends requests for others can't have them connected to again
// and again.
func TestDeliverConnectsOnce(t *testing.T) {
	t.Parallel()
	const connack = "\x20\x02\x00\x00"
	for name, tt := range map[string]struct {
		serve func(net.Conn)
		want  string // in the error
	}{
		"nobody listens":        {nil, "connection refused"},
		"closes at once":        {func(net.Conn) {}, "connect to"},
		"refuses in CONNACK":    {func(c net.Conn) { _, _ = c.Read(make([]byte, 100)); _, _ = c.Write([]byte{0x20, 2, 0, 5}) }, "connect to"},
		"speaks something else": {func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, "connect to"},
		"is silent":             {func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, "deadline exceeded"},
		"closes after CONNACK":  {func(c net.Conn) { _, _ = c.Read(make([]byte, 100)); _, _ = io.WriteString(c, connack) }, ""},
		"closes at the message": {func(c net.Conn) {
			_, _ = c.Read(make([]byte, 100))
			_, _ = io.WriteString(c, connack)
			_, _ = c.Read(make([]byte, 1))
		}, ""},
		"acknowledges no message": {func(c net.Conn) {
			_, _ = c.Read(make([]byte, 100))
			_, _ = io.WriteString(c, connack)
			_, _ = io.Copy(io.Discard, c)
		}, "deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var dialed, accepted atomic.Int32
			var wg sync.WaitGroup
			t.Cleanup(wg.Wait)
			t.Cleanup(func() { _ = l.Close() })
			if tt.serve == nil {
				_ = l.Close()
			}
			wg.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					accepted.Add(1)
					wg.Go(func() { defer c.Close(); tt.serve(c) })
				}
			})
			conf := bus.Config{URL: "tcp://" + l.Addr().String(), Foreign: true}
			conf.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				dialed.Add(1)
				return new(net.Dialer).DialContext(ctx, network, addr)
			}
			const long = 700 * time.Millisecond // in which there were three attempts
			ctx, cancel := context.WithTimeout(t.Context(), long)
			defer cancel()
			begin := time.Now()
			err = bus.Deliver(ctx, conf, bus.Message{Topic: "/x", Payload: []byte("1"), QoS: 1})
			if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, bus.ErrStopped) {
				t.Errorf("Deliver = %v, want an error with %q", err, tt.want)
			}
			if d := time.Since(begin); !strings.Contains(tt.want, "deadline") && d > long/2 {
				t.Errorf("Deliver ends after %v, want at once", d)
			}
			if n, a := dialed.Load(), accepted.Load(); n != 1 || a > 1 {
				t.Errorf("%d attempts, %d connections; want one", n, a)
			}
		})
	}
}
