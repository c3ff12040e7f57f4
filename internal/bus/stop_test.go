package bus_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
)

// denying closes the connection for every PUBLISH below /denied, as mochi does for what its ACL denies.
func denying(t testing.TB) *hostile {
	t.Helper()
	return beHostile(t, func(p peer, cp packets.ControlPacket) bool {
		if pub, ok := cp.(*packets.PublishPacket); ok && strings.HasPrefix(pub.TopicName, "/denied") {
			return false
		}
		p.polite(cp)
		return true
	})
}

// M8. Errors and the log name the topic that the broker closed the connection for.
func TestM8DeniedPublish(t *testing.T) {
	t.Parallel()
	var log logs
	c, seen := denying(t).connected(t, bus.Config{Log: log.logger()})
	err := c.Publish(within(t, patience), bus.Message{Topic: "/denied/1", QoS: 1})
	if err == nil || !strings.Contains(err.Error(), `"/denied/1"`) {
		t.Errorf("Publish = %v, want an error with the topic", err)
	}
	if err := receive(t, seen.down, "OnDown"); !strings.Contains(err.Error(), `with "/denied/1" unacknowledged`) {
		t.Errorf("OnDown(%v), want the topic", err)
	}
	if len(log.having("WARN", "/denied/1")) != 1 {
		t.Error("no warning with the topic")
	}
	if err := c.Wait(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	_ = c.Publish(within(t, patience), bus.Message{Topic: "/denied/0"}) // QoS 0: it is written, then the connection closes
	if err := receive(t, seen.down, "OnDown"); !strings.Contains(err.Error(), `last published on "/denied/0"`) {
		t.Errorf("OnDown(%v), want the topic", err)
	}
}

// M8. What closes the connection again and again is given up, so that the rest of the client lives; a new Keep is tried again.
func TestM8GivenUp(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		deny    func(*bus.Client, bus.Message)
		dropped uint64
	}{
		"Keep": {(*bus.Client).Keep, 0},
		"Send": {(*bus.Client).Send, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log logs
			c, seen := denying(t).connected(t, bus.Config{Log: log.logger()})
			m := bus.Message{Topic: "/denied/x", Payload: []byte("x"), QoS: 1}
			tt.deny(c, m)
			for len(log.having("ERROR", "given up", "/denied/x")) == 0 {
				receive(t, seen.down, "loss")
			}
			if got := c.Dropped(); got != tt.dropped {
				t.Errorf("Dropped = %d, want %d", got, tt.dropped)
			}
			if err := c.Wait(within(t, patience)); err != nil {
				t.Fatal(err)
			}
			if err := c.Publish(within(t, patience), bus.Message{Topic: "/fine", QoS: 1}); err != nil {
				t.Errorf("Publish after that = %v", err)
			}
			tt.deny(c, m)
			if err := receive(t, seen.down, "loss by the new one"); !strings.Contains(err.Error(), "/denied/x") {
				t.Errorf("OnDown(%v), want the topic", err)
			}
		})
	}
}

// A clean stop sends what is queued, then what Stops has that is valid, then Last, then DISCONNECT: no last will.
func TestCleanStop(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	got := listen(t, url, "/#")
	c, stop := start(t, bus.Config{
		URL:  url,
		Will: &bus.Message{Topic: "/will", Payload: []byte("died"), QoS: 1},
		Last: []bus.Message{{Topic: "/a", Payload: []byte("offline"), QoS: 1}, {Topic: "/b", Payload: []byte("offline")}},
		Stops: func() []bus.Message {
			return []bus.Message{{Topic: "/asked", Payload: []byte("offline")}, {Topic: "/not/#", Payload: []byte("a filter")}, {Topic: "/q2", QoS: 2}}
		},
	})
	if err := c.Wait(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	c.Keep(bus.Message{Topic: "/state", Payload: []byte("off"), QoS: 1})
	c.Send(bus.Message{Topic: "/result", Payload: []byte("ok"), QoS: 1})
	stop()
	want(t, got, "/state=off", "/result=ok", "/asked=offline", "/a=offline", "/b=offline")
	end := bustest.Dial(t, url)
	if err := end.Publish(within(t, patience), bus.Message{Topic: "/end", QoS: 1}); err != nil {
		t.Fatal(err)
	}
	want(t, got, "/end=") // and no last will before it
}

// When the broker does not acknowledge Last, the client goes without DISCONNECT, so that the broker publishes the last will.
func TestStopWithoutAcknowledgement(t *testing.T) {
	t.Parallel()
	disconnected := make(chan struct{}, 1)
	h := beHostile(t, func(p peer, cp packets.ControlPacket) bool {
		switch header(cp) {
		case packets.Publish:
		case packets.Disconnect:
			disconnected <- struct{}{}
		default:
			p.polite(cp)
		}
		return true
	})
	var log logs
	c, stop := start(t, bus.Config{URL: h.url(), Log: log.logger(), Last: []bus.Message{{Topic: "/status", QoS: 1}}})
	if err := c.Wait(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	stop()
	if len(disconnected) != 0 {
		t.Error("DISCONNECT was sent")
	}
	if len(log.having("WARN", "not acknowledged", "/status")) != 1 {
		t.Errorf("no warning with the topic in %q", log.having(""))
	}
}

// A cut connection makes the broker publish the last will, and the client come back.
func TestLastWill(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	got := listen(t, url, "/#")
	var mu sync.Mutex
	var last net.Conn
	conf := bus.Config{
		URL:  url,
		Will: &bus.Message{Topic: "/status", Payload: []byte("offline"), QoS: 1, Retained: true},
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			mu.Lock()
			defer mu.Unlock()
			last = c
			return c, err
		},
	}
	c := bustest.Run(t, conf)
	c.Keep(bus.Message{Topic: "/status", Payload: []byte("online"), QoS: 1})
	want(t, got, "/status=online")
	mu.Lock()
	last.Close()
	mu.Unlock()
	want(t, got, "/status=offline", "/status=online")
}
