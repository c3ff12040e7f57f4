package broker

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// hostACL is the rule that a host's broker has: everybody here may do everything, others may read /<name>/#, write below
// /<name>/set and nothing else.
func hostACL(who Peer, topic string, write bool) bool {
	switch {
	case who.ClientID == "root":
		return true
	case write:
		return strings.HasPrefix(topic, "/"+who.ClientID+"/set/")
	}
	return topic == "/"+who.ClientID || strings.HasPrefix(topic, "/"+who.ClientID+"/")
}

// M7: what each identity may subscribe to, and what reaches it then.
func TestACLFilters(t *testing.T) {
	t.Parallel()
	filters := []string{"#", "+/+/+", "/#", "/+/set/x", "/a/#", "/a/set/x", "/b/#", "/b", "/a", "a/#", "$SYS/#", "$share/g/#", "$share/g/b/#",
		"$share/g//a/#", "/ab/#", "//#"}
	tests := []struct {
		id   string
		want string // + allowed, - refused, in the order of filters
	}{
		{"root", "++++++++++++++++"},
		{"a", "----++--+----+--"},
		{"b", "------++--------"},
		{"c", "----------------"},
	}
	b, addr := start(t, Config{Allow: hostACL})
	for _, tt := range tests {
		c := dial(t, addr)
		c.connect(tt.id)
		var got strings.Builder
		for _, f := range filters {
			switch code := c.subscribe(f, 1); code {
			case 1:
				got.WriteByte('+')
			case 0x80:
				got.WriteByte('-')
			default:
				t.Errorf("%s subscribes to %q: code %d, want 1 or 128", tt.id, f, code)
			}
		}
		if got.String() != tt.want {
			t.Errorf("%s may subscribe %s, want %s, to %q", tt.id, got.String(), tt.want, filters)
		}
	}
	if got, want := b.Stats().Denied, int64(12+14+16); got != want {
		t.Errorf("Denied = %d, want %d", got, want)
	}
}

// A wide filter that Allow lets through still delivers only what Allow lets through, live and retained.
func TestACLDeliveries(t *testing.T) {
	t.Parallel()
	_, addr := start(t, Config{Allow: func(who Peer, topic string, write bool) bool {
		return who.ClientID == "root" || !write && (topic == "#" || topic == "/+/x" || topic == "/a/x" || topic == "end")
	}})
	root := dial(t, addr)
	root.connect("root")
	root.publish("/a/x", "old", 1, true)
	root.publish("/b/x", "old", 1, true)
	for _, filter := range []string{"#", "/+/x"} {
		t.Run(strings.ReplaceAll(filter, "/", "_"), func(t *testing.T) {
			c := dial(t, addr)
			c.connect("c" + fmt.Sprint(len(filter)))
			if code := c.subscribe(filter, 1); code != 1 {
				t.Fatalf("subscription to %s: %d, want 1", filter, code)
			}
			if code := c.subscribe("end", 1); code != 0x80 && code != 1 {
				t.Fatal(code)
			}
			root.publish("/b/x", "secret", 1, false)
			root.publish("/a/x", "new", 0, false)
			root.publish("/a/y", "secret", 1, false)
			root.publish("end", "", 1, false)
			for _, want := range []string{"/a/x=old retained", "/a/x=new", "end="} {
				if got := c.received(); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
}

// Every topic × identity, as a publish: what is refused arrives nowhere and leaves nothing retained.
func TestACLPublishes(t *testing.T) {
	t.Parallel()
	topics := []string{"/a/set/x", "/a/set", "/a/x", "/b/set/x", "/A/set/x", "//a/set/x", "a/set/x", "$SYS/x", "$sys/x", "$SYS", "$share/g/x", "$x"}
	tests := []struct{ id, want string }{
		{"root", "+++++++-----"},
		{"a", "+-----------"},
		{"b", "---+--------"},
		{"", "------------"},
	}
	b, addr := start(t, Config{Allow: hostACL})
	for _, qos := range []byte{0, 1} {
		for _, tt := range tests {
			var got strings.Builder
			for _, topic := range topics {
				c := dial(t, addr)
				c.connect(tt.id)
				c.send(publishFrame(topic, "payload", qos, true, 7))
				if qos == 0 {
					c.ping() // a refusal does not cost the connection
				} else {
					_, _ = c.next() // PUBACK, or the end: what is retained then tells
				}
				_ = c.conn.Close()
				if _, ok := b.server.Topics.Retained.Get(topic); ok {
					b.server.Topics.Retained.Delete(topic)
					got.WriteByte('+')
				} else {
					got.WriteByte('-')
				}
			}
			if got.String() != tt.want {
				t.Errorf("QoS %d: %q may publish %s, want %s, to %q", qos, tt.id, got.String(), tt.want, topics)
			}
		}
	}
}

func TestACLNilDeniesAll(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{})
	c := dial(t, addr)
	c.connect("c")
	for _, filter := range []string{"#", "a", "$SYS/#"} {
		if code := c.subscribe(filter, 0); code != 0x80 {
			t.Errorf("subscription to %s: %#x, want 0x80", filter, code)
		}
	}
	c.publish("a", "1", 0, true)
	c.ping()
	if got := b.Stats(); got.Retained != 0 || got.Denied != 4 {
		t.Errorf("Stats = %+v, want nothing retained and 4 denied", got)
	}
}

// Allow is told who it is about.
func TestACLPeer(t *testing.T) {
	t.Parallel()
	peers := make(chan Peer, 10)
	_, addr := start(t, Config{Allow: func(who Peer, _ string, _ bool) bool {
		peers <- who
		return true
	}})
	c := dial(t, addr)
	c.open(connectFrame{id: "id", user: "user"})
	c.publish("a", "", 1, false)
	got := <-peers
	if got.ClientID != "id" || got.Username != "user" || got.Addr.String() != c.conn.LocalAddr().String() || !got.Loopback() {
		t.Errorf("Allow got %+v, want id, user and %s", got, c.conn.LocalAddr())
	}
}

// A panic in Allow is a no, wherever it happens, and no end.
func TestACLPanics(t *testing.T) {
	t.Parallel()
	var log logBuffer
	_, addr := start(t, Config{Log: log.logger(slog.LevelInfo), Allow: func(_ Peer, topic string, write bool) bool {
		if topic == "bad" {
			panic("no idea")
		}
		return true
	}})
	sub, pub := dial(t, addr), dial(t, addr)
	sub.connect("sub")
	pub.connect("pub")
	sub.subscribe("#", 0)
	pub.publish("bad", "1", 0, false)
	pub.publish("good", "2", 0, false)
	if got := sub.received(); got != "good=2" {
		t.Errorf("got %s, want good=2", got)
	}
	if !strings.Contains(log.String(), "no idea") {
		t.Errorf("log lacks the panic:\n%s", log.String())
	}
}

// M8: a refused publish closes the connection with QoS 1; it is logged once a minute, with topic and peer, and counted.
func TestDeniedPublish(t *testing.T) {
	t.Parallel()
	var log logBuffer
	b, addr := start(t, Config{Log: log.logger(slog.LevelInfo)})
	var peer string
	for range 5 {
		c := dial(t, addr)
		c.connect("retry")
		c.send(publishFrame("/not/mine", "x", 1, false, 1))
		c.expectClosed()
		if peer == "" {
			peer = c.conn.LocalAddr().String()
		}
	}
	eventually(t, "5 denied", func() bool { return b.Stats().Denied == 5 })
	got := log.String()
	if strings.Count(got, "publish is not allowed") != 1 || !strings.Contains(got, "/not/mine") || !strings.Contains(got, "peer="+peer) {
		t.Errorf("log = %s\nwant one line with topic and peer %s", got, peer)
	}
}

func TestValidFilter(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", maxTopicLen+1)
	deep := strings.Repeat("/", maxTopicLevels)
	tests := []struct {
		s             string
		topic, filter bool
	}{
		{"a", true, true}, {"/", true, true}, {"/udp/report", true, true}, {"a//b", true, true}, {"a/", true, true}, {"a b", true, true},
		{"#", false, true}, {"+", false, true}, {"/#", false, true}, {"+/+", false, true}, {"/+/x/#", false, true},
		{"a#", false, false}, {"a+", false, false}, {"#/a", false, false}, {"a/#/b", false, false}, {"a/b#", false, false}, {"++", false, false},
		{"", false, false}, {long, false, false}, {deep, false, false}, {deep[1:], true, true},
		{"$share/g/a", true, true}, {"$share/g/a#", false, false}, {"$share/g", true, false}, {"$share", true, false}, {"$SHARE/g/#", false, true},
	}
	for _, tt := range tests {
		if got := validTopic(tt.s); got != tt.topic {
			t.Errorf("validTopic(%.20q) = %v, want %v", tt.s, got, tt.topic)
		}
		if got := validFilter(tt.s); got != tt.filter {
			t.Errorf("validFilter(%.20q) = %v, want %v", tt.s, got, tt.filter)
		}
	}
}
