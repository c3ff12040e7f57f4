package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// First nibbles of the frames that tests look for.
const (
	connack  = 2
	publish  = 3
	puback   = 4
	suback   = 9
	unsuback = 11
	pingresp = 13
	goodbye  = 14
)

// frame is an MQTT control packet as it is on the wire.
type frame struct {
	kind, flags byte
	body        []byte
}

// topic and payload of a PUBLISH.
func (f frame) topic() string {
	n := binary.BigEndian.Uint16(f.body)
	return string(f.body[2 : 2+n])
}

func (f frame) payload() string {
	n := 2 + int(binary.BigEndian.Uint16(f.body))
	if f.flags>>1&3 > 0 {
		n += 2
	}
	return string(f.body[n:])
}

func (f frame) retain() bool { return f.flags&1 != 0 }

// raw is an MQTT client of a few lines, which sends what it likes.
type raw struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	id   uint16
	held []frame // publishes that came while something else was awaited
}

func dial(t testing.TB, addr string) *raw {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &raw{t: t, conn: c, r: bufio.NewReader(c)}
}

type connectFrame struct {
	id, user, password       string
	version                  byte // 4 unless set
	persistent               bool
	keepAlive                uint16
	willTopic, willPayload   string
	willQoS                  byte
	willRetain               bool
	properties, willProperty []byte // version 5
}

func (c connectFrame) bytes() []byte {
	if c.version == 0 {
		c.version = 4
	}
	var flags byte
	if !c.persistent {
		flags |= 2
	}
	payload := str(c.id)
	if c.willTopic != "" {
		flags |= 4 | c.willQoS<<3
		if c.willRetain {
			flags |= 0x20
		}
		if c.version == 5 {
			payload = append(append(payload, byte(len(c.willProperty))), c.willProperty...)
		}
		payload = append(append(payload, str(c.willTopic)...), str(c.willPayload)...)
	}
	if c.user != "" {
		flags |= 0x80
		payload = append(payload, str(c.user)...)
	}
	if c.password != "" {
		flags |= 0x40
		payload = append(payload, str(c.password)...)
	}
	body := append(str("MQTT"), c.version, flags)
	body = binary.BigEndian.AppendUint16(body, c.keepAlive)
	if c.version == 5 {
		body = append(append(body, byte(len(c.properties))), c.properties...)
	}
	return wrap(0x10, append(body, payload...))
}

func str(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

// wrap puts the fixed header before a body.
func wrap(first byte, body []byte) []byte {
	out := []byte{first}
	n := len(body)
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n > 0 {
			b |= 0x80
		}
		out = append(out, b)
		if n == 0 {
			return append(out, body...)
		}
	}
}

func publishFrame(topic, payload string, qos byte, retain bool, id uint16) []byte {
	first := 0x30 | qos<<1
	if retain {
		first |= 1
	}
	body := str(topic)
	if qos > 0 {
		body = binary.BigEndian.AppendUint16(body, id)
	}
	return wrap(first, append(body, payload...))
}

func (c *raw) send(b []byte) {
	c.t.Helper()
	_ = c.conn.SetWriteDeadline(time.Now().Add(deadline))
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// next reads a frame.
func (c *raw) next() (frame, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(deadline))
	first, err := c.r.ReadByte()
	if err != nil {
		return frame{}, err
	}
	n, err := binary.ReadUvarint(c.r) // MQTT's remaining length is the same
	if err != nil {
		return frame{}, err
	}
	if n > maxPacketSize+16 {
		return frame{}, fmt.Errorf("frame of %d bytes", n)
	}
	f := frame{kind: first >> 4, flags: first & 0xf, body: make([]byte, n)}
	_, err = io.ReadFull(c.r, f.body)
	return f, err
}

// expect reads until a frame of a kind comes; publishes are kept for later unless that is the kind.
func (c *raw) expect(kind byte) frame {
	c.t.Helper()
	if kind == publish && len(c.held) > 0 {
		f := c.held[0]
		c.held = c.held[1:]
		return f
	}
	for {
		f, err := c.next()
		if err != nil {
			c.t.Fatalf("waiting for a frame of kind %d: %v", kind, err)
		}
		if f.kind == publish && f.flags>>1&3 == 1 {
			n := 2 + int(binary.BigEndian.Uint16(f.body))
			c.send(wrap(0x40, f.body[n:n+2]))
		}
		if f.kind == kind {
			return f
		}
		if f.kind != publish {
			c.t.Fatalf("got a frame of kind %d (%x), want %d", f.kind, f.body, kind)
		}
		c.held = append(c.held, f)
	}
}

// expectClosed reads until the broker closes the connection, past whatever it sends before.
func (c *raw) expectClosed() {
	c.t.Helper()
	for {
		_, err := c.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.t.Fatal("the connection stays open, want it closed")
		}
		if err != nil {
			return
		}
	}
}

func (c *raw) connect(id string) { c.t.Helper(); c.open(connectFrame{id: id}) }

// open connects and returns the session-present flag.
func (c *raw) open(f connectFrame) (present bool) {
	c.t.Helper()
	c.send(f.bytes())
	ack := c.expect(connack)
	if ack.body[1] != 0 {
		c.t.Fatalf("CONNACK %d, want 0", ack.body[1])
	}
	return ack.body[0]&1 != 0
}

// subscribe subscribes and returns the code of the SUBACK once the retained messages are on their way.
func (c *raw) subscribe(filter string, qos byte) byte {
	c.t.Helper()
	c.id++
	c.send(wrap(0x82, append(append(binary.BigEndian.AppendUint16(nil, c.id), str(filter)...), qos)))
	code := c.expect(suback).body[2]
	c.ping()
	return code
}

// publish publishes and waits for the PUBACK.
func (c *raw) publish(topic, payload string, qos byte, retain bool) {
	c.t.Helper()
	c.id = max(1, c.id+1) // 0 is none
	c.send(publishFrame(topic, payload, qos, retain, c.id))
	if qos == 1 {
		c.expect(puback)
	}
}

// ping returns when the broker has worked off everything that was sent before.
func (c *raw) ping() {
	c.t.Helper()
	c.send([]byte{0xc0, 0})
	c.expect(pingresp)
}

func (c *raw) disconnect() {
	c.t.Helper()
	c.send([]byte{0xe0, 0})
	c.expectClosed()
}

// received is what the next publish holds, in one line.
func (c *raw) received() string {
	c.t.Helper()
	f := c.expect(publish)
	s := f.topic() + "=" + f.payload()
	if f.retain() {
		s += " retained"
	}
	return s
}

// drain reads until the connection ends.
func (c *raw) drain() {
	_ = c.conn.SetReadDeadline(time.Now().Add(deadline))
	if _, err := io.Copy(io.Discard, c.r); errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Error("the connection stays open")
	}
}
