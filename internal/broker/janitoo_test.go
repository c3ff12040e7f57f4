package broker

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// segment is one TCP segment of a captured connection.
type segment struct {
	fromClient bool
	data       []byte
}

// captured reads what Janitoo's own clients and mosquitto sent to each other: one list of segments a connection.
func captured(t *testing.T, file string) (conns [][]segment) {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(doc)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "--- connection") {
			conns = append(conns, nil)
			continue
		}
		f := strings.SplitN(line, " ", 4) // time, direction, length, hex and text
		if len(f) < 4 {
			continue
		}
		text, _, _ := strings.Cut(f[3], "  |")
		b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		if err != nil {
			t.Fatalf("%s: %q: %v", file, line[:min(len(line), 80)], err)
		}
		last := len(conns) - 1
		conns[last] = append(conns[last], segment{f[1] == "client->broker", b})
	}
	if len(conns) == 0 {
		t.Fatalf("%s: no connection", file)
	}
	return conns
}

// framesOf takes a stream apart.
func framesOf(t *testing.T, stream []byte) (out []frame) {
	t.Helper()
	c := &raw{t: t, r: bufio.NewReader(bytes.NewReader(stream)), conn: noDeadline{}}
	for {
		f, err := c.next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
}

// The packets of jnt_query as they were captured, CONNECT, SUBSCRIBE and PUBLISH in one segment before CONNACK, bring the bytes
// that mosquitto sent, from the acknowledgements to the answers of the agents.
func TestJanitooClients(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"raw_mqtt_network_paho11.txt", "raw_mqtt_network_paho131.txt", "raw_mqtt_node_paho131.txt", "raw_mqtt_query_paho131.txt"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			for _, conn := range captured(t, file) {
				replayClient(t, conn)
			}
		})
	}
}

func replayClient(t *testing.T, conn []segment) {
	_, addr := startGuests(t, Config{Allow: func(who Peer, _ string, _ bool) bool { return who.Guest || who.ClientID == "agent" }})
	var want, first []byte
	var answers []frame
	for _, s := range conn {
		if s.fromClient {
			if first == nil {
				first = s.data
			}
			continue
		}
		want = append(want, s.data...)
	}
	for _, f := range framesOf(t, want) {
		if f.kind == publish {
			answers = append(answers, f)
		}
	}
	var request frame
	for _, f := range framesOf(t, first) {
		if f.kind == publish {
			request = f
		}
	}
	agent := dial(t, addr.main)
	agent.connect("agent")
	agent.subscribe(request.topic(), 0)

	c := dial(t, addr.guests)
	c.send(first) // CONNECT, SUBSCRIBE and PUBLISH
	if got := agent.expect(publish); got.topic() != request.topic() || got.payload() != request.payload() {
		t.Errorf("the agent has %s %s, want %s %s", got.topic(), got.payload(), request.topic(), request.payload())
	}
	for _, f := range answers {
		agent.publish(f.topic(), f.payload(), 0, false)
	}
	acks := len(wrap(connack<<4, make([]byte, 2))) // what comes after the answers is of the second segment
	got := c.take(acks)
	for _, f := range framesOf(t, want[acks:]) {
		if f.kind == unsuback {
			break
		}
		got = append(got, c.take(len(wrap(f.kind<<4|f.flags, f.body)))...)
	}
	for _, s := range conn {
		if s.fromClient && &s.data[0] != &first[0] {
			c.send(s.data)
		}
	}
	got = append(got, c.take(len(want)-len(got))...)
	if !bytes.Equal(got, want) {
		t.Errorf("the broker sent\n%x\nwant\n%x", got, want)
	}
	agent.ping() // the broker serves on
}

// take reads n bytes as they are.
func (c *raw) take(n int) []byte {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(deadline))
	b := make([]byte, n)
	if got, err := io.ReadFull(c.r, b); err != nil {
		c.t.Fatalf("%x, %d of %d bytes: %v", b[:got], got, n, err)
	}
	return b
}

type guestAddrs struct{ main, guests string }

// startGuests runs a broker with a listener for guests.
func startGuests(t *testing.T, c Config) (*Broker, guestAddrs) {
	t.Helper()
	c.Guests = []string{"127.0.0.1:0"}
	b, main := start(t, c)
	return b, guestAddrs{main, b.Addrs()[1].String()}
}

// A guest is nobody: it is known as one, is not trusted, leaves nothing retained, and takes nobody's client ID over.
func TestGuests(t *testing.T) {
	t.Parallel()
	_, addr := startGuests(t, Config{
		Allow:   func(who Peer, topic string, write bool) bool { return !who.Guest || strings.HasPrefix(topic, "/open") },
		Trusted: func(Peer) bool { return true },
	})
	own := dial(t, addr.main)
	own.connect("own")
	own.subscribe("#", 0)
	g := dial(t, addr.guests)
	g.connect("guest")
	if code := g.subscribe("/secret", 0); code != 0x80 {
		t.Errorf("SUBACK %#x for what is not allowed, want 0x80", code)
	}
	if code := g.subscribe("/open/#", 0); code != 0 {
		t.Errorf("SUBACK %#x for what is allowed, want 0", code)
	}
	g.publish("/secret", "x", 0, false)
	g.publish("/open/a", "1", 0, true)
	if got := own.received(); got != "/open/a=1" {
		t.Errorf("got %s, want the allowed message alone", got)
	}
	g.received() // its own
	late := dial(t, addr.main)
	late.connect("late")
	late.subscribe("/open/#", 0)
	if len(late.held) > 0 {
		t.Error("a guest's message is retained")
	}
	if code := dial(t, addr.guests).refused(connectFrame{id: "own", version: 4}); code != 2 {
		t.Errorf("CONNECT of a guest with another's ID: %d, want 2", code)
	}
	dial(t, addr.guests).connect("guest") // a guest's own ID is taken over
	g.expectClosed()
	own.ping()
}

// The listeners for guests are opened with the others, or none.
func TestGuestsTaken(t *testing.T) {
	t.Parallel()
	_, addr := start(t, Config{})
	b, err := New(Config{Listen: []string{"127.0.0.1:0"}, Guests: []string{addr}})
	if err == nil {
		_ = b.Close()
		t.Fatal("New on a taken port: no error")
	}
	if !errors.Is(err, ErrGuests) || !strings.Contains(err.Error(), addr) {
		t.Errorf("New = %v, want ErrGuests and %s", err, addr)
	}
}

// noDeadline is a connection that is only read through a raw's reader.
type noDeadline struct{ net.Conn }

func (noDeadline) SetReadDeadline(time.Time) error { return nil }
