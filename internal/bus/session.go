package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// session is one connection, from CONNECT to its end, and the paho client that goes with it.
type session struct {
	c    *Client
	cli  paho.Client
	conn *conn
	wake chan struct{} // the outbox has something
	acks chan inflight // handed over by the outbox, in order

	once sync.Once
	down chan struct{} // closed when paho has completed every token and ended
	err  error         // set before down is closed; nil if we ended it
}

// connect makes one attempt.
func (c *Client) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	s := &session{
		c:    c,
		wake: make(chan struct{}, 1),
		acks: make(chan inflight, window),
		down: make(chan struct{}),
	}
	stop := func() bool { return true }
	var openErr error
	o := c.options(s)
	o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
		raw, err := c.open(ctx)
		if err != nil {
			openErr = err
			return nil, err
		}
		s.conn = newConn(raw, c.limit())
		stop = context.AfterFunc(ctx, func() { _ = raw.Close() }) // ends a handshake that ctx has ended
		return s.conn, nil
	})
	s.cli = paho.NewClient(o)
	tok := s.cli.Connect()
	<-tok.Done() // bounded by connectTimeout and ctx, which close the socket
	err := tok.Error()
	if err == nil && stop() {
		return s, nil
	}
	switch {
	case err == nil: // ctx ended between CONNACK and here
		<-s.down
		err = context.Cause(ctx)
	case openErr != nil:
		err = openErr
	case ctx.Err() != nil:
		stop()
		err = fmt.Errorf("no answer: %w", context.Cause(ctx))
	case s.conn != nil && s.conn.reason() != nil:
		err = s.conn.reason()
	}
	stop()
	return nil, fmt.Errorf("connect to %s: %w", c.at.url, err)
}

// limit returns the longest packet taken from the broker.
func (c *Client) limit() int {
	if c.cfg.Foreign {
		return maxForeign
	}
	return maxPacket
}

// options returns the settings of paho: one connection, nothing stored, nothing tried again.
func (c *Client) options(s *session) *paho.ClientOptions {
	o := paho.NewClientOptions()
	o.AddBroker("tcp://" + c.at.addr) // only so that there is one: open ignores it
	o.SetProtocolVersion(4)
	o.SetClientID(c.cfg.ClientID)
	o.SetUsername(c.cfg.Username)
	o.SetPassword(c.cfg.Password)
	o.SetCleanSession(true)
	o.SetAutoReconnect(false)
	o.SetConnectRetry(false)
	o.SetOrderMatters(true)
	o.SetKeepAlive(keepAlive)
	o.SetPingTimeout(pingTimeout)
	o.SetConnectTimeout(connectTimeout)
	o.SetWriteTimeout(writeTimeout)
	o.SetStore(noStore{})
	o.SetDefaultPublishHandler(c.receive)
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { s.end(err) })
	if w := c.cfg.Will; w != nil {
		o.SetBinaryWill(w.Topic, w.Payload, w.QoS, w.Retained)
	}
	return o
}

// open opens the socket, with TLS where the URL says so.
func (c *Client) open(ctx context.Context) (net.Conn, error) {
	dial := c.cfg.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	raw, err := dial(ctx, "tcp", c.at.addr)
	if err != nil {
		return nil, err
	}
	if t, ok := raw.(*net.TCPConn); ok {
		if err := t.SetNoDelay(true); err != nil {
			_ = raw.Close()
			return nil, err
		}
	}
	if !c.at.tls {
		return raw, nil
	}
	t := tls.Client(raw, c.tls())
	if err := t.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return t, nil
}

// tls returns how TLS is spoken.
func (c *Client) tls() *tls.Config {
	if c.cfg.TLS == nil {
		return &tls.Config{ServerName: c.at.host, MinVersion: tls.VersionTLS12}
	}
	t := c.cfg.TLS.Clone()
	if t.ServerName == "" {
		t.ServerName = c.at.host
	}
	return t
}

// end notes the end of the connection and why. Whoever sees s.down closed finds the client not connected.
func (s *session) end(err error) {
	s.once.Do(func() {
		if s.err = err; s.conn != nil && s.conn.reason() != nil {
			s.err = s.conn.reason()
		}
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		s.c.drop(s, s.err)
		close(s.down)
	})
}

// close sends DISCONNECT and waits for the end.
func (s *session) close() {
	s.cli.Disconnect(uint(closeTimeout.Milliseconds()))
	s.end(nil)
}

// abort cuts the connection, so that the broker publishes the last will, and waits for the end.
func (s *session) abort() {
	_ = s.conn.fail(errCut) // it is being given up
	t := time.NewTimer(stopTimeout)
	defer t.Stop()
	select {
	case <-s.down:
	case <-t.C: // paho has overlooked it
		s.close()
	}
}

// do starts a request of paho's and waits for its end. paho may block for writeTimeout when the connection ends meanwhile,
// hence the goroutine: it is run at once on this thread, since its starter parks.
func (s *session) do(ctx context.Context, start func() paho.Token) (paho.Token, error) {
	got := make(chan paho.Token, 1)
	if !s.c.spawn(func() { got <- start() }) {
		return nil, ErrStopped
	}
	var tok paho.Token
	select {
	case tok = <-got:
	case <-s.down:
		return nil, s.lost()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-tok.Done():
	case <-s.down:
		select {
		case <-tok.Done(): // acknowledged just before
		default:
			return nil, s.lost()
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch err := tok.Error(); {
	case err == nil:
		return tok, nil
	case errors.Is(err, paho.ErrNotConnected):
		return nil, ErrNotConnected
	case !s.cli.IsConnectionOpen():
		select {
		case <-s.down: // so that the caller finds the client not connected
		case <-ctx.Done():
		}
		return nil, s.lost()
	default:
		return nil, err
	}
}

// lost returns ErrLost with the reason.
func (s *session) lost() error {
	if why := s.conn.reason(); why != nil {
		return fmt.Errorf("%w: %w", ErrLost, why)
	}
	return ErrLost
}

// start hands m to paho.
func (s *session) start(m Message) paho.Token {
	payload := m.Payload
	if payload == nil {
		payload = []byte{}
	}
	return s.cli.Publish(m.Topic, m.QoS, m.Retained, payload)
}

func (s *session) publish(ctx context.Context, m Message) error {
	if _, err := s.do(ctx, func() paho.Token { return s.start(m) }); err != nil {
		return publishError(m.Topic, err)
	}
	return nil
}

// publishError names the topic (BROKERS.md M8).
func publishError(topic string, err error) error {
	return fmt.Errorf("publish on %q: %w", topic, err)
}

// noStore is a paho.Store for clean sessions on connections that are never resumed. paho's own would keep what a broker sends
// and paho never acknowledges: 65,535 packets of any size.
type noStore struct{}

func (noStore) Open()                             {}
func (noStore) Put(string, packets.ControlPacket) {}
func (noStore) Get(string) packets.ControlPacket  { return nil }
func (noStore) All() []string                     { return nil }
func (noStore) Del(string)                        {}
func (noStore) Close()                            {}
func (noStore) Reset()                            {}
