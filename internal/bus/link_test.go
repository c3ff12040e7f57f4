package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
)

// runFor runs a client for the life of the test.
func runFor(t *testing.T, c *bus.Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }() // the cleanup waits for it
	t.Cleanup(func() {
		cancel()
		if err := receive(t, done, "end of Run"); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// What is offered goes out in order with the rest, from OnUp on, and never without a connection.
func TestOffer(t *testing.T) {
	t.Parallel()
	b := bustest.StartStoppable(t)
	got := listen(t, b.URL(), "/#")
	conf := bus.Config{URL: b.URL(), Direct: true}
	seen := watch(&conf)
	var c *bus.Client
	var early error
	conf.OnUp = func() {
		early = c.Offer(bus.Message{Topic: "/offered", Payload: []byte("up"), QoS: 1})
		seen.up <- struct{}{}
	}
	c, err := bus.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Offer(bus.Message{Topic: "/offered"}); !errors.Is(err, bus.ErrNotConnected) || !strings.Contains(err.Error(), "/offered") {
		t.Errorf("Offer before Run = %v", err)
	}
	if err := c.Offer(bus.Message{Topic: "/a/#"}); err == nil || errors.Is(err, bus.ErrNotConnected) {
		t.Errorf("Offer on a wildcard = %v", err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { done <- c.Run(ctx) }() // waited for below
	receive(t, seen.up, "OnUp")
	if early != nil {
		t.Errorf("Offer in OnUp = %v", early)
	}
	want(t, got, "/offered=up")
	for i := range 3 {
		c.Keep(bus.Message{Topic: fmt.Sprint("/kept/", i), Payload: []byte("k"), QoS: 1})
		if err := c.Offer(bus.Message{Topic: "/offered", Payload: fmt.Append(nil, i), QoS: 1}); err != nil {
			t.Error(err)
		}
		c.Send(bus.Message{Topic: "/sent", Payload: fmt.Append(nil, i), QoS: 1})
	}
	for i := range 3 {
		want(t, got, fmt.Sprintf("/kept/%d=k", i), fmt.Sprintf("/offered=%d", i), fmt.Sprintf("/sent=%d", i))
	}
	cancel()
	if err := receive(t, done, "end of Run"); err != nil {
		t.Error(err)
	}
	if err := c.Offer(bus.Message{Topic: "/offered"}); !errors.Is(err, bus.ErrNotConnected) {
		t.Errorf("Offer after Run = %v", err)
	}
}

// What was offered and not acknowledged when the connection is lost is not sent again, whether it was on its way or still in the
// queue; what was sent is, and what was kept.
func TestOfferIsForgotten(t *testing.T) {
	t.Parallel()
	const offers = 200 // more than are on their way at a time
	again := make(chan string, 1000)
	enough := make(chan struct{})
	var topics atomic.Int64
	h := beHostile(t, func(p peer, cp packets.ControlPacket) bool {
		pub, ok := cp.(*packets.PublishPacket)
		switch {
		case ok && p.n == 0: // no PUBACK
			if topics.Add(1) == 50 {
				<-enough
				return false
			}
			return true
		case ok:
			again <- pub.TopicName
		}
		p.polite(cp)
		return true
	})
	c, seen := h.connected(t, bus.Config{})
	for range offers {
		if err := c.Offer(bus.Message{Topic: "/offered", QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	c.Send(bus.Message{Topic: "/sent", QoS: 1})
	c.Keep(bus.Message{Topic: "/kept", Payload: []byte("x"), QoS: 1})
	close(enough)
	receive(t, seen.down, "OnDown")
	if err := c.Wait(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	c.Send(bus.Message{Topic: "/end", QoS: 1})
	got := map[string]int{}
	for got["/end"] == 0 {
		got[receive(t, again, "message")]++
	}
	if got["/offered"] != 0 || got["/sent"] != 1 || got["/kept"] != 1 {
		t.Errorf("the second connection was given %v", got)
	}
	if n := c.Dropped(); n != offers {
		t.Errorf("Dropped = %d, want %d", n, offers)
	}
}

// What is listened to comes now, once also when it is retained, and after every reconnect, until it is stopped; and all of it can
// be done in the handlers of a client without an inbox.
func TestListen(t *testing.T) {
	t.Parallel()
	b := bustest.StartStoppable(t)
	conf := bus.Config{URL: b.URL(), Direct: true}
	seen := watch(&conf)
	c, err := bus.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	got, answers := make(chan bus.Message, 100), make(chan error, 100)
	answer := func(err error) { answers <- err }
	other := make(chan bus.Message, 100)
	var nested func()
	handler := func(m bus.Message) {
		if string(m.Payload) == "nest" {
			stop, err := c.Listen("/b", func(m bus.Message) { other <- m }, answer)
			if err != nil {
				t.Error(err)
			}
			nested = stop
			if err := c.Offer(bus.Message{Topic: "/c", Payload: []byte("nested"), QoS: 1}); err != nil {
				t.Error(err)
			}
		}
		got <- m
	}
	stop, err := c.Listen("/a", handler, answer) // before Run
	if err != nil {
		t.Fatal(err)
	}
	stopC, err := c.Listen("/c", handler, answer)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "a/#/b", "a+"} {
		if _, err := c.Listen(bad, handler, answer); err == nil {
			t.Errorf("Listen(%q) succeeds", bad)
		}
	}
	runFor(t, c)
	for round := range 2 {
		receive(t, seen.up, "OnUp")
		for n := range 2 + round {
			if err := receive(t, answers, "answer"); err != nil {
				t.Errorf("answer %d: %v", n, err)
			}
		}
		pub := bustest.Dial(t, b.URL())
		send := func(topic, payload string, retained bool) {
			t.Helper()
			if err := pub.Publish(within(t, patience), bus.Message{Topic: topic, Payload: []byte(payload), QoS: 1, Retained: retained}); err != nil {
				t.Fatal(err)
			}
		}
		send("/a", "1", false)
		want(t, got, "/a=1")
		if round == 0 {
			send("/b", "kept", true)
			send("/a", "nest", false)
			want(t, got, "/a=nest", "/c=nested")
			want(t, other, "/b=kept")
			if err := receive(t, answers, "answer"); err != nil {
				t.Error(err)
			}
			b.Stop()
			b.Start()
			continue
		}
		send("/b", "2", false)
		want(t, other, "/b=2")
		stop()
		stop()
		nested()
		send("/a", "3", false)
		send("/b", "3", false)
		send("/c", "3", false)
		want(t, got, "/c=3")
	}
	stopC()
	if len(got)+len(other)+len(answers) > 0 {
		t.Errorf("%d, %d messages and %d answers are left", len(got), len(other), len(answers))
	}
}

// A retained message comes once to what is listened to since before the connection, and once when it is listened to again.
func TestListenToRetained(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	pub := bustest.Dial(t, url)
	for _, m := range []bus.Message{{Topic: "/a", Payload: []byte("kept"), QoS: 1, Retained: true}, {Topic: "nobody/listens", QoS: 1}} {
		if err := pub.Publish(within(t, patience), m); err != nil { // the second, because mochi acknowledges before it passes on
			t.Fatal(err)
		}
	}
	c, err := bus.New(bus.Config{URL: url, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	end := make(chan struct{}, 1)
	ended := func(bus.Message) { end <- struct{}{} }
	nothing := func(error) {}
	listenTo := func(what string) func() {
		stop, err := c.Listen("/a", func(m bus.Message) { order = append(order, what+string(m.Payload)) }, nothing)
		if err != nil {
			t.Fatal(err)
		}
		return stop
	}
	settled := func() { // what a broker does for one client it does in order
		t.Helper()
		for range 2 {
			if err := c.Publish(within(t, patience), bus.Message{Topic: "/end", QoS: 1}); err != nil {
				t.Fatal(err)
			}
			receive(t, end, "end")
		}
	}
	if _, err := c.Listen("/end", ended, nothing); err != nil {
		t.Fatal(err)
	}
	stop := listenTo("first ")
	runFor(t, c)
	if err := c.Wait(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	settled()
	stop()
	granted := make(chan error, 1)
	second, err := c.Listen("/a", func(m bus.Message) { order = append(order, "second "+string(m.Payload)) }, func(err error) { granted <- err })
	if err != nil {
		t.Fatal(err)
	}
	if err := receive(t, granted, "answer"); err != nil {
		t.Error(err)
	}
	settled()
	if want := []string{"first kept", "second kept"}; !slices.Equal(order, want) {
		t.Errorf("heard %q, want %q", order, want)
	}
	second()
}

// A refusal is told, and the broker asked again after the next connect; one that answers nothing loses the connection.
func TestListenRefused(t *testing.T) {
	t.Parallel()
	h := beHostile(t, func(p peer, cp packets.ControlPacket) bool {
		sub, ok := cp.(*packets.SubscribePacket)
		switch pub, is := cp.(*packets.PublishPacket); {
		case is && pub.TopicName == "/end":
			return p.n > 0
		case !ok || p.n > 1:
			p.polite(cp)
		default:
			codes := make([]byte, len(sub.Topics))
			for i, topic := range sub.Topics {
				if topic == "/secret" {
					codes[i] = 0x80
				}
			}
			p.ack(packets.Suback, sub.MessageID, codes...)
		}
		return true
	})
	c, _ := h.connected(t, bus.Config{})
	answers := map[string]chan error{"/secret": make(chan error, 10), "/open": make(chan error, 10)}
	for topic, ch := range answers {
		stop, err := c.Listen(topic, func(bus.Message) {}, func(err error) { ch <- err })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	for round := range 2 {
		if err := receive(t, answers["/secret"], "refusal"); err == nil || err.Error() != `subscribe: broker refused "/secret"` {
			t.Errorf("round %d: /secret = %v", round, err)
		}
		if err := receive(t, answers["/open"], "grant"); err != nil {
			t.Errorf("round %d: /open = %v", round, err)
		}
		if round == 0 {
			_ = c.Publish(within(t, patience), bus.Message{Topic: "/end", QoS: 1}) // closes the connection
		}
	}
}

func TestListenUnanswered(t *testing.T) {
	t.Parallel()
	h := beHostile(t, func(p peer, cp packets.ControlPacket) bool {
		if _, ok := cp.(*packets.SubscribePacket); !ok || p.n > 0 {
			p.polite(cp)
		}
		return true
	})
	c, _ := h.connected(t, bus.Config{})
	granted := make(chan error, 1)
	stop, err := c.Listen("/a", func(bus.Message) {}, func(err error) { granted <- err })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := receive(t, granted, "grant by the second connection"); err != nil {
		t.Error(err)
	}
}

// What is stopped before it was asked for is not asked for.
func TestListenStoppedAtOnce(t *testing.T) {
	t.Parallel()
	asked, hold := make(chan string, 10), make(chan struct{})
	h := beHostile(t, func(p peer, cp packets.ControlPacket) bool {
		if sub, ok := cp.(*packets.SubscribePacket); ok {
			asked <- strings.Join(sub.Topics, " ")
			<-hold
		}
		p.polite(cp)
		return true
	})
	c, _ := h.connected(t, bus.Config{})
	granted := make(chan string, 10)
	listenTo := func(name, topic string) func() {
		stop, err := c.Listen(topic, func(bus.Message) {}, func(error) { granted <- name })
		if err != nil {
			t.Fatal(err)
		}
		return stop
	}
	listenTo("first", "/a")
	if got := receive(t, asked, "SUBSCRIBE"); got != "/a" {
		t.Errorf("asked for %q", got)
	}
	listenTo("second", "/b")() // both wait for the first
	listenTo("third", "/a")()
	close(hold)
	if got := receive(t, granted, "grant"); got != "first" {
		t.Errorf("%s was granted", got)
	}
	listenTo("last", "/end")
	if got := receive(t, asked, "SUBSCRIBE"); got != "/end" {
		t.Errorf("asked for %q", got)
	}
	if got := receive(t, granted, "grant"); got != "last" {
		t.Errorf("%s was granted", got)
	}
}
