package broker

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// FuzzFrames sends arbitrary bytes to a live broker, before and after CONNECT with either version: it goes on answering others.
func FuzzFrames(f *testing.F) {
	b, _ := start(f, Config{Allow: allowAll, MaxClients: 100})
	seeds := [][]byte{
		crashFrame(),
		wrap(0x10, nil),
		connectFrame{id: "x", version: 5, willTopic: "w", willPayload: "p"}.bytes(),
		publishFrame("a", "x", 0, true, 0),
		publishFrame("a", "x", 1, false, 1),
		publishFrame("a", "x", 2, false, 2),
		publishFrame("#", "x", 1, true, 3),
		publishFrame("$SYS/x", "x", 1, true, 3),
		wrap(0x30, append(str("a"), 3, 35, 0, 1)), // topic alias
		wrap(0x82, append(append([]byte{0, 1}, str("#")...), 1)),
		wrap(0x82, append(append([]byte{0, 1, 0}, str("$share/g/#")...), 1)),
		wrap(0xa2, append([]byte{0, 1}, str("#")...)),
		{0xc0, 0}, {0xe0, 0}, {0xe0, 2, 4, 0}, {0xf0, 0}, {0, 0}, {0x20, 2, 0, 0},
		{0x40, 2, 0, 1}, {0x50, 2, 0, 1}, {0x62, 2, 0, 1}, {0x70, 2, 0, 1},
		{0x30, 0xff, 0xff, 0xff, 0x7f}, {0x30, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
	}
	for _, s := range seeds {
		for version := range byte(3) {
			f.Add(version, s)
		}
	}
	// Pipes, since a fuzzer runs out of ports.
	pipe := func(t *testing.T) (c *raw, closed func()) {
		near, far := net.Pipe()
		b.start(newConn(far, b.patience), "pipe")
		frames, out := io.Pipe()
		copied := make(chan struct{})
		go func() { // the broker waits until it is read from
			defer close(copied)
			_, err := io.Copy(out, near)
			_ = out.CloseWithError(err)
		}()
		return &raw{t: t, conn: near, r: bufio.NewReader(frames)}, func() {
			_ = near.Close()
			_ = frames.Close()
			<-copied
		}
	}
	f.Fuzz(func(t *testing.T, version byte, data []byte) {
		c, closed := pipe(t)
		if version %= 3; version > 0 {
			c.open(connectFrame{id: fmt.Sprintf("fuzz%d", version), version: version + 3})
		}
		go func() { _, _ = io.Copy(io.Discard, c.r) }()
		_ = c.conn.SetWriteDeadline(time.Now().Add(deadline))
		_, _ = c.conn.Write(data) // the broker may close at any byte
		closed()

		good, closed := pipe(t)
		defer closed()
		good.connect("good")
		good.subscribe("still/there", 1)
		good.publish("still/there", "yes", 1, false)
		if got := good.received(); got != "still/there=yes" {
			t.Errorf("got %s, want still/there=yes", got)
		}
	})
}
