package bus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

func TestMatches(t *testing.T) {
	t.Parallel()
	tests := []struct {
		filter, topic string
		want          bool
	}{
		{"/h/x", "/h/x", true},
		{"/h/x", "/h/y", false},
		{"/h/x", "/h", false},
		{"/h", "/h/x", false},
		{"h/x", "/h/x", false},
		{"#", "/h/x", true},
		{"#", "$SYS/x", false},
		{"+/x", "$SYS/x", false},
		{"$SYS/#", "$SYS/x", true},
		{"/h/#", "/h", true},
		{"/h/#", "/h/", true},
		{"/h/#", "/h/x/y", true},
		{"/h/#", "/hh", false},
		{"+", "/h", false},
		{"+/+", "/h", true},
		{"/+", "/h", true},
		{"/+/x", "/h/x", true},
		{"/+/x", "//x", true},
		{"/+/x", "/h/x/y", false},
		{"a//b", "a//b", true},
		{"a/+", "a/", true},
		{"a/+", "a", false},
		{"$share/g/a/+", "a/b", true},
		{"$share/g/#", "$SYS", false},
	}
	for _, tt := range tests {
		if got := matches(tt.filter, tt.topic); got != tt.want {
			t.Errorf("matches(%q, %q) = %v, want %v", tt.filter, tt.topic, got, tt.want)
		}
	}
}

// FuzzMatches compares with the rules of MQTT applied to split levels.
func FuzzMatches(f *testing.F) {
	f.Add("/h/+/#", "/h/x/y")
	f.Add("$share/g/+", "a")
	f.Add("+/b", "$a/b")
	f.Fuzz(func(t *testing.T, filter, topic string) {
		if checkFilter(filter) != nil || checkTopic(topic) != nil || strings.HasPrefix(filter, "$share/") {
			return
		}
		if got, want := matches(filter, topic), matchLevels(filter, topic); got != want {
			t.Errorf("matches(%q, %q) = %v, want %v", filter, topic, got, want)
		}
	})
}

func matchLevels(filter, topic string) bool {
	if topic[0] == '$' && filter[0] != '$' {
		return false
	}
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, level := range f {
		if level == "#" {
			return true
		}
		if i >= len(t) || (level != "+" && level != t[i]) {
			return false
		}
	}
	return len(f) == len(t)
}

// FuzzParseURL: what is accepted names a host and a port, and no error repeats a password.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"tcp://h:1", "mqtts://[fe80::1%25eth0]:8883", "mqtt://u:secret@h", "tcp://h:99999", "h", "://", "mqtts://]0", "tcp://h\x7f@secret"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		e, err := parseURL(raw)
		if err != nil {
			if strings.Contains(raw, "@") && strings.Contains(err.Error(), raw) {
				t.Errorf("parseURL: error repeats %q", raw)
			}
			return
		}
		host, port, err := net.SplitHostPort(e.addr)
		if err != nil || host == "" || host != e.host || port == "0" {
			t.Errorf("parseURL(%q) = %+v: host %q, port %q, %v", raw, e, host, port, err)
		}
	})
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]endpoint{
		"tcp://h":             {"tcp://h:1883", "h", "h:1883", false},
		"mqtt://h:99/":        {"mqtt://h:99", "h", "h:99", false},
		"MQTTS://h":           {"mqtts://h:8883", "h", "h:8883", true},
		"ssl://1.2.3.4:1":     {"ssl://1.2.3.4:1", "1.2.3.4", "1.2.3.4:1", true},
		"tcp://[::1]:1883":    {"tcp://[::1]:1883", "::1", "[::1]:1883", false},
		"tls://[fe80::1%25e]": {"tls://[fe80::1%e]:8883", "fe80::1%e", "[fe80::1%e]:8883", true},
	} {
		if got, err := parseURL(raw); err != nil || got != want {
			t.Errorf("parseURL(%q) = %+v, %v, want %+v", raw, got, err, want)
		}
	}
}

// P4: half to all of 100 ms, doubled, at most 5 s, and not always the same.
func TestDelay(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]time.Duration{
		0: 100 * time.Millisecond, 1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 6: 3200 * time.Millisecond,
		7: 5 * time.Second, 1 << 30: 5 * time.Second,
	} {
		seen := make(map[time.Duration]bool)
		for range 100 {
			d := delay(n)
			if seen[d] = true; d < want/2 || d >= want {
				t.Errorf("delay(%d) = %v, want %v to %v", n, d, want/2, want)
			}
		}
		if len(seen) < 50 {
			t.Errorf("delay(%d) took %d values of 100, want jitter", n, len(seen))
		}
	}
}

// wire is a net.Conn that reads from a slice, n bytes at a time.
type wire struct {
	net.Conn
	in io.Reader
}

func (w wire) Read(p []byte) (int, error)       { return w.in.Read(p) }
func (w wire) Write(p []byte) (int, error)      { return len(p), nil }
func (w wire) SetWriteDeadline(time.Time) error { return nil }
func (w wire) Close() error                     { return nil }

// FuzzConn gives paho's decoder what the filter lets through of random bytes, and does with it what paho's client does: no
// SUBACK has more codes than were asked for, nothing is longer than allowed, nothing is acknowledged that was not asked.
func FuzzConn(f *testing.F) {
	connack := []byte{0x20, 2, 0, 0}
	for _, s := range [][]byte{
		{0x90, 4, 0, 1, 0, 1}, {0x90, 5, 0, 1, 0, 0, 0}, {0x40, 2, 0, 2}, {0x40, 2, 0, 3}, {0xb0, 2, 0, 3}, {0xd0, 0},
		{0x30, 5, 0, 1, 'a', 'h', 'i'}, {0x33, 5, 0, 1, 'a', 0, 9}, {0x30, 0xff, 0xff, 0xff, 0x7f}, {0x30, 0x80, 0x80, 0x80, 0x80, 1},
	} {
		f.Add(append(bytes.Clone(connack), s...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1000
		c := newConn(wire{in: bytes.NewReader(in)}, limit)
		open := map[uint16]int{1: 2, 2: 0, 3: 0}
		sub := &packets.SubscribePacket{FixedHeader: packets.FixedHeader{MessageType: packets.Subscribe, Qos: 1},
			MessageID: 1, Topics: []string{"a", "b/#"}, Qoss: []byte{0, 1}}
		pub := &packets.PublishPacket{FixedHeader: packets.FixedHeader{MessageType: packets.Publish, Qos: 1},
			MessageID: 2, TopicName: "t", Payload: make([]byte, 300)}
		unsub := &packets.UnsubscribePacket{FixedHeader: packets.FixedHeader{MessageType: packets.Unsubscribe, Qos: 1},
			MessageID: 3, Topics: []string{"a"}}
		for _, p := range []packets.ControlPacket{sub, pub, unsub} {
			if err := p.Write(c); err != nil {
				t.Fatal(err)
			}
		}
		for first := true; ; first = false {
			cp, err := packets.ReadPacket(c)
			if err != nil {
				return
			}
			id, codes := cp.Details().MessageID, 0
			switch cp := cp.(type) {
			case *packets.ConnackPacket:
				if !first || cp.ReturnCode > 5 {
					t.Fatalf("let through %v", cp)
				}
				continue
			case *packets.PublishPacket:
				if cp.Qos > 1 || cp.RemainingLength > limit {
					t.Fatalf("let through %v", cp)
				}
				continue
			case *packets.PingrespPacket:
				continue
			case *packets.SubackPacket:
				codes = len(cp.ReturnCodes)
			case *packets.PubackPacket, *packets.UnsubackPacket:
			default:
				t.Fatalf("let through %v", cp)
			}
			if want, ok := open[id]; !ok || want != codes {
				t.Fatalf("let through %v with %d codes", cp, codes)
			}
			delete(open, id)
		}
	})
}

// A read that fails after our own Close must not be in words that paho overlooks: it would never end the connection.
func TestConnErrors(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer b.Close()
	c := newConn(a, maxPacket)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	if err == nil || strings.Contains(err.Error(), "use of closed network connection") {
		t.Errorf("Read = %v", err)
	}
	if c.reason() != nil {
		t.Errorf("reason = %v, want nil: we closed it", c.reason())
	}
	c = newConn(b, maxPacket)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, errClosed) || !errors.Is(c.reason(), errClosed) {
		t.Errorf("Read = %v, reason %v, want %v", err, c.reason(), errClosed)
	}
}

// Of what was not acknowledged the oldest is named, whatever the packet IDs.
func TestSuspect(t *testing.T) {
	t.Parallel()
	c := newConn(wire{in: strings.NewReader("")}, maxPacket)
	write := func(id uint16, qos byte, topic string) {
		p := &packets.PublishPacket{FixedHeader: packets.FixedHeader{MessageType: packets.Publish, Qos: qos}, MessageID: id, TopicName: topic}
		if err := p.Write(c); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want string, sure bool) {
		t.Helper()
		if topic, s := c.suspect(); topic != want || s != sure {
			t.Errorf("suspect = %q, %v, want %q, %v", topic, s, want, sure)
		}
	}
	check("", false)
	write(0, 0, "zero")
	check("zero", false)
	write(65535, 1, "first")
	write(1, 1, "second")
	check("first", true)
	c.r.Reset(bytes.NewReader(binary.BigEndian.AppendUint16([]byte{0x40, 2}, 65535)))
	c.connected = true
	if _, err := packets.ReadPacket(c); err != nil {
		t.Fatal(err)
	}
	check("second", true)
}
