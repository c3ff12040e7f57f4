package bus

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// conn is the socket as paho sees it. It lets through only frames that paho 1.5.1 survives and that answer something: paho
// indexes with the count of a SUBACK, allocates what a header claims (256 MB), takes a CONNACK with an unknown code for success
// on a closed socket, and closes a token's channel twice when an acknowledgement races the failing write of what it acknowledges.
// It also reads through a buffer, where paho makes three system calls a packet.
type conn struct {
	net.Conn
	r         *bufio.Reader
	limit     int    // longest remaining length taken
	connected bool   // CONNACK has been let through
	head      []byte // checked bytes that paho has not read yet
	body      int    // bytes after head that belong to the same frame
	frame     [8]byte

	// mu is held over each Write, so that an acknowledgement is looked up only after the write of its packet has returned.
	mu      sync.Mutex
	waiting map[uint16]request // packets that the broker has to acknowledge
	written uint64
	last    string // topic of the PUBLISH with QoS 0 that was written last

	ends  sync.Mutex
	cause error // why the connection ended, unless we closed it
	cut   bool  // we closed it
}

// request is a packet that was written and wants an acknowledgement of type ack.
type request struct {
	ack   byte
	codes int    // filters of a SUBSCRIBE
	topic string // of a PUBLISH
	order uint64
}

var (
	errProtocol = errors.New("broker broke the protocol")
	// errCut stands for net.ErrClosed, whose text makes paho overlook the end of the connection (net.go:129).
	errCut = errors.New("connection was cut")
	// errClosed stands for io.EOF and resets, which say little to people.
	errClosed = errors.New("closed by the broker")
)

func newConn(c net.Conn, limit int) *conn {
	return &conn{Conn: c, r: bufio.NewReader(c), limit: limit, waiting: make(map[uint16]request)}
}

// Read gives paho the bytes of checked frames.
func (c *conn) Read(p []byte) (int, error) {
	for len(c.head) == 0 && c.body == 0 {
		if err := c.next(); err != nil {
			return 0, c.fail(err)
		}
	}
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	n, err := c.r.Read(p[:min(len(p), c.body)])
	c.body -= n
	if err != nil {
		return n, c.fail(err)
	}
	return n, nil
}

// next reads the header of a frame, and the whole of a short one, and checks it.
func (c *conn) next() error {
	first, err := c.r.ReadByte()
	if err != nil {
		return err
	}
	head := append(c.frame[:0], first)
	length, shift := 0, 0
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return err
		}
		head = append(head, b)
		length |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
		if shift += 7; shift > 21 {
			return fmt.Errorf("%w: length of more than 4 bytes", errProtocol)
		}
	}
	if length > c.limit {
		return fmt.Errorf("%w: packet of %d bytes, at most %d are taken", errProtocol, length, c.limit)
	}
	c.head, c.body = head, length
	return c.allow(first>>4, first&0x0f, length)
}

// allow checks a frame by its type. Of QoS 2, which we never ask for, nothing is taken.
func (c *conn) allow(kind, flags byte, length int) error {
	name := packets.PacketNames[kind]
	if c.connected == (kind == packets.Connack) {
		return fmt.Errorf("%w: %q in the wrong place", errProtocol, name)
	}
	if kind != packets.Publish && flags != 0 {
		return fmt.Errorf("%w: flags %#x in %s", errProtocol, flags, name)
	}
	switch kind {
	case packets.Connack:
		return c.allowConnack(length)
	case packets.Publish:
		qos := int(flags >> 1 & 3)
		if qos > 1 || length < 2+2*qos {
			return fmt.Errorf("%w: PUBLISH of %d bytes with QoS %d", errProtocol, length, qos)
		}
		return nil
	case packets.Pingresp:
		if length != 0 {
			return fmt.Errorf("%w: PINGRESP of %d bytes", errProtocol, length)
		}
		return nil
	case packets.Puback, packets.Suback, packets.Unsuback:
		return c.allowAck(kind, name, length)
	}
	return fmt.Errorf("%w: unexpected packet of type %d", errProtocol, kind)
}

func (c *conn) allowConnack(length int) error {
	if length != 2 {
		return fmt.Errorf("%w: CONNACK of %d bytes", errProtocol, length)
	}
	body, err := c.take(length)
	if err != nil {
		return err
	}
	if code := body[1]; code > packets.ErrRefusedNotAuthorised {
		return fmt.Errorf("%w: CONNACK with unknown code %d", errProtocol, code)
	}
	c.connected = true
	return nil
}

// allowAck lets an acknowledgement through that answers what was written, once, with as many codes as asked for.
func (c *conn) allowAck(kind byte, name string, length int) error {
	if length < 2 {
		return fmt.Errorf("%w: %s of %d bytes", errProtocol, name, length)
	}
	body, err := c.take(2)
	if err != nil {
		return err
	}
	id := binary.BigEndian.Uint16(body)
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.waiting[id]
	if !ok || r.ack != kind {
		return fmt.Errorf("%w: %s for packet %d, which did not ask for it", errProtocol, name, id)
	}
	if length != 2+r.codes {
		return fmt.Errorf("%w: %s with %d codes for %d filters", errProtocol, name, length-2, r.codes)
	}
	delete(c.waiting, id)
	return nil
}

// take moves the next n bytes of the frame, which are few, to the checked ones.
func (c *conn) take(n int) ([]byte, error) {
	at := len(c.head)
	c.head = c.head[:at+n]
	if _, err := io.ReadFull(c.r, c.head[at:]); err != nil {
		return nil, err
	}
	c.body -= n
	return c.head[at:], nil
}

// Write writes one packet (paho writes each in one call) and notes what it asks for.
func (c *conn) Write(p []byte) (int, error) {
	id, r := asks(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.ack != 0 {
		c.written++
		r.order = c.written
		c.waiting[id] = r
	} else if r.topic != "" {
		c.last = r.topic
	}
	if err := c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, c.fail(err)
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		delete(c.waiting, id)
		return n, c.fail(err)
	}
	return n, nil
}

// SetWriteDeadline does nothing: Write sets the deadline of each packet, which paho does only for some.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// Close closes the socket; what follows is not the broker's doing.
func (c *conn) Close() error {
	c.ends.Lock()
	c.cut = true
	c.ends.Unlock()
	return c.Conn.Close()
}

// fail closes the socket, remembers the first reason and returns it in words that paho does not overlook.
func (c *conn) fail(err error) error {
	switch {
	case errors.Is(err, net.ErrClosed):
		err = errCut
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		err = errClosed
	}
	c.ends.Lock()
	if c.cause == nil && !c.cut {
		c.cause = err
	}
	c.ends.Unlock()
	_ = c.Conn.Close() // it has failed already, and err says how
	return err
}

// reason returns why the broker's side ended the connection, nil if we did.
func (c *conn) reason() error {
	c.ends.Lock()
	defer c.ends.Unlock()
	return c.cause
}

// suspect returns the topic that a broker most likely closed the connection for (BROKERS.md M8): of the unacknowledged
// publishes the oldest, since brokers acknowledge in order; without one that of the last QoS 0 publish, which is a guess.
func (c *conn) suspect() (topic string, sure bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	oldest := request{topic: c.last}
	for _, r := range c.waiting {
		if r.ack == packets.Puback && (!sure || r.order < oldest.order) {
			oldest, sure = r, true
		}
	}
	return oldest.topic, sure
}

// asks returns what a packet that paho writes asks of the broker.
func asks(p []byte) (uint16, request) {
	kind, flags := p[0]>>4, p[0]&0x0f
	_, n := binary.Uvarint(p[1:])
	body := p[1+n:]
	switch kind {
	case packets.Publish:
		end := 2 + int(binary.BigEndian.Uint16(body))
		r := request{topic: string(body[2:end])}
		if flags>>1&3 == 0 {
			return 0, r
		}
		r.ack = packets.Puback
		return binary.BigEndian.Uint16(body[end:]), r
	case packets.Subscribe:
		r := request{ack: packets.Suback}
		for rest := body[2:]; len(rest) > 0; r.codes++ {
			rest = rest[2+int(binary.BigEndian.Uint16(rest))+1:]
		}
		return binary.BigEndian.Uint16(body), r
	case packets.Unsubscribe:
		return binary.BigEndian.Uint16(body), request{ack: packets.Unsuback}
	}
	return 0, request{}
}
