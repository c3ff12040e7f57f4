package bus_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 70_000)
	ok := "tcp://127.0.0.1:1883"
	tests := map[string]struct {
		c    bus.Config
		want string
	}{
		"no URL":           {bus.Config{}, "broker URL is empty"},
		"no scheme":        {bus.Config{URL: "127.0.0.1:1883"}, `"127.0.0.1:1883" has no scheme`},
		"websocket":        {bus.Config{URL: "ws://h:80"}, `unknown scheme "ws"`},
		"no host":          {bus.Config{URL: "tcp://:1883"}, "has no host"},
		"path":             {bus.Config{URL: "tcp://h:1/x"}, "more than host and port"},
		"query":            {bus.Config{URL: "tcp://h:1?x=1"}, "more than host and port"},
		"port 0":           {bus.Config{URL: "tcp://h:0"}, "port must be 1 to 65535"},
		"port too big":     {bus.Config{URL: "tcp://h:65536"}, "port must be 1 to 65535"},
		"port a word":      {bus.Config{URL: "tcp://h:mqtt"}, "invalid port"},
		"control byte":     {bus.Config{URL: "tcp://h\x00:1"}, "invalid control character"},
		"password in URL":  {bus.Config{URL: "mqtt://user:secret@h"}, "holds a user or password"},
		"foreign password": {bus.Config{URL: ok, Foreign: true, Username: "u", Password: "p"}, "must not go to a broker learnt from the network"},
		"foreign user":     {bus.Config{URL: ok, Foreign: true, Username: "u"}, "must not go to a broker learnt from the network"},
		"password alone":   {bus.Config{URL: ok, Password: "p"}, "password without a user name"},
		"password long":    {bus.Config{URL: ok, Username: "u", Password: long}, "password is longer than 65535"},
		"client ID":        {bus.Config{URL: ok, ClientID: "\xff"}, "client ID: is not UTF-8"},
		"user NUL":         {bus.Config{URL: ok, Username: "a\x00"}, "user name: holds a NUL"},
		"will wildcard":    {bus.Config{URL: ok, Will: &bus.Message{Topic: "a/#"}}, "last will: topic \"a/#\" holds a wildcard"},
		"will payload":     {bus.Config{URL: ok, Will: &bus.Message{Topic: "a", Payload: []byte(long)}}, "last will: payload is longer"},
		"last QoS 2":       {bus.Config{URL: ok, Last: []bus.Message{{Topic: "a", QoS: 2}}}, "last message: topic \"a\": QoS is 2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := bus.New(tt.c)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New = %v, want an error with %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("New = %v, which repeats the password", err)
			}
		})
	}
}

func TestPublishSubscribe(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	got := listen(t, url, "/h/+/set", "/all/#")
	c := bustest.Dial(t, url)
	for i := range 50 {
		m := bus.Message{Topic: "/h/gpio/set", Payload: fmt.Append(nil, i), QoS: byte(i % 2)}
		if err := c.Publish(within(t, patience), m); err != nil {
			t.Fatal(err)
		}
		if err := c.Publish(within(t, patience), bus.Message{Topic: "/h/gpio/other", QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		want(t, got, fmt.Sprintf("/h/gpio/set=%d", i))
	}
	if err := c.Publish(within(t, patience), bus.Message{Topic: "/all", Payload: make([]byte, 100_000), QoS: 1, Retained: true}); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, got, "big message"); m.Topic != "/all" || len(m.Payload) != 100_000 || m.Retained {
		t.Errorf("got %q with %d bytes, retained %v; want /all, 100000, false", m.Topic, len(m.Payload), m.Retained)
	}
	if m := receive(t, listen(t, url, "/all"), "retained message"); !m.Retained || m.QoS != 1 {
		t.Errorf("late subscriber got retained %v, QoS %d; want true, 1", m.Retained, m.QoS)
	}
}

func TestPublishRefusesBadMessages(t *testing.T) {
	t.Parallel()
	c := bustest.Dial(t, bustest.Start(t))
	for topic, want := range map[string]string{
		"": "empty", "a/+": "wildcard", "#": "wildcard", "a\x00": "NUL", "\xff": "UTF-8", strings.Repeat("t", 65536): "longer",
	} {
		if err := c.Publish(within(t, patience), bus.Message{Topic: topic}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Publish on %.10q = %v, want an error with %q", topic, err, want)
		}
		c.Send(bus.Message{Topic: topic})
		c.Keep(bus.Message{Topic: topic})
	}
	if got := c.Dropped(); got != 6 {
		t.Errorf("Dropped = %d, want the 6 that are not legal", got)
	}
	for _, filter := range []string{"", "a/#/b", "a#", "a+/b", "\xff", "x\x00"} {
		if err := c.Subscribe(within(t, patience), 0, func(bus.Message) {}, filter); err == nil {
			t.Errorf("Subscribe to %q = nil, want an error", filter)
		}
	}
	if err := c.Subscribe(within(t, patience), 2, func(bus.Message) {}, "a"); err == nil {
		t.Error("Subscribe with QoS 2 = nil, want an error")
	}
}

// Handlers run one at a time and may use the client: paho with ordered delivery would deadlock.
func TestHandlersUseTheClient(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	c := bustest.Dial(t, url)
	got := listen(t, url, "/answer/#")
	var busy atomic.Int32
	handler := func(m bus.Message) {
		if busy.Add(1) != 1 {
			t.Error("two handlers at a time")
		}
		defer busy.Add(-1)
		if err := c.Publish(within(t, patience), bus.Message{Topic: "/answer/publish", Payload: m.Payload, QoS: 1}); err != nil {
			t.Error(err)
		}
		if err := c.Subscribe(within(t, patience), 1, func(bus.Message) {}, "/more"); err != nil {
			t.Error(err)
		}
		c.Send(bus.Message{Topic: "/answer/send", Payload: m.Payload, QoS: 1})
	}
	for _, f := range []string{"/ask/+", "/ask/#"} {
		if err := c.Subscribe(within(t, patience), 1, handler, f); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Publish(within(t, patience), bus.Message{Topic: "/ask/1", Payload: []byte("1"), QoS: 1}); err != nil {
		t.Fatal(err)
	}
	count := make(map[string]int)
	for range 4 {
		count[receive(t, got, "answer").Topic]++
	}
	if count["/answer/publish"] != 2 || count["/answer/send"] != 2 {
		t.Errorf("got %v, want 2 of each of 2 handlers", count)
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	server := bustest.Dial(t, url)
	err := server.Subscribe(within(t, patience), 1, func(m bus.Message) {
		server.Send(bus.Message{Topic: "/reply", Payload: []byte("noise"), QoS: 1})
		server.Send(bus.Message{Topic: "/reply", Payload: append([]byte("re "), m.Payload...), QoS: 1})
	}, "/ask")
	if err != nil {
		t.Fatal(err)
	}
	c := bustest.Dial(t, url)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			answer := fmt.Sprintf("re %d", i)
			m, err := c.Request(within(t, patience), bus.Message{Topic: "/ask", Payload: fmt.Append(nil, i), QoS: 1}, "/reply",
				func(m bus.Message) bool { return string(m.Payload) == answer })
			if err != nil || string(m.Payload) != answer {
				t.Errorf("Request %d = %q, %v, want %q", i, m.Payload, err, answer)
			}
		})
	}
	wg.Wait()

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Request(ctx, bus.Message{Topic: "/nobody", QoS: 1}, "/reply", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Request without an answer = %v, want the end of ctx", err)
	}
}

// A handler may ask, since answers do not wait behind it.
func TestRequestInHandler(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	c := bustest.Dial(t, url)
	answers := make(chan string, 1)
	err := c.Subscribe(within(t, patience), 1, func(bus.Message) {
		m, err := c.Request(within(t, patience), bus.Message{Topic: "/echo", Payload: []byte("x"), QoS: 1}, "/echo", nil)
		answers <- fmt.Sprint(string(m.Payload), err)
	}, "/go")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(within(t, patience), bus.Message{Topic: "/go", QoS: 1}); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, answers, "answer"); got != "x<nil>" {
		t.Errorf("Request in a handler = %q, want x<nil>", got)
	}
}

// A handler that hangs costs messages, which are counted, but neither the connection nor the rest of the client.
func TestSlowHandler(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	var log logs
	c := bustest.Run(t, bus.Config{URL: url, Log: log.logger()})
	hang, got := make(chan struct{}), make(chan bus.Message, 8192)
	err := c.Subscribe(within(t, patience), 1, func(m bus.Message) { <-hang; got <- m }, "/flood")
	if err != nil {
		t.Fatal(err)
	}
	big := bus.Message{Topic: "/flood", Payload: make([]byte, 100_000), QoS: 1}
	for c.Missed() < 3 {
		if err := c.Publish(within(t, patience), big); err != nil {
			t.Fatal(err)
		}
	}
	close(hang)
	for range 8 {
		receive(t, got, "message of before")
	}
	if err := c.Publish(within(t, patience), bus.Message{Topic: "/flood", Payload: []byte("after"), QoS: 1}); err != nil {
		t.Fatal(err)
	}
	for m := receive(t, got, "message"); string(m.Payload) != "after"; m = receive(t, got, "message of after") {
	}
	if lines := log.having("WARN", "too slow"); len(lines) != 1 {
		t.Errorf("logged %q, want one warning", lines)
	}
}

// Deliver acknowledges what the broker has, and gives up with the reason when ctx ends.
func TestDeliver(t *testing.T) {
	t.Parallel()
	b := bustest.StartStoppable(t)
	got := listen(t, b.URL(), "/stat/#")
	conf := bus.ForeignAt(netip.MustParseAddrPort(b.Addr()), false)
	err := bus.Deliver(within(t, patience), conf,
		bus.Message{Topic: "/stat/data", Payload: []byte("1"), QoS: 1}, bus.Message{Topic: "/stat/data", Payload: []byte("2"), QoS: 1})
	if err != nil {
		t.Errorf("Deliver = %v", err)
	}
	want(t, got, "/stat/data=1", "/stat/data=2")
	if err := bus.Deliver(within(t, patience), conf, bus.Message{Topic: "#", QoS: 1}); err == nil || !strings.Contains(err.Error(), "wildcard") {
		t.Errorf("Deliver to a wildcard = %v, want an error", err)
	}
	b.Stop()
	err = bus.Deliver(within(t, patience), conf, bus.Message{Topic: "/stat/data"})
	if err == nil || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), b.URL()) {
		t.Errorf("Deliver without a broker = %v, want the reason with the broker, at once", err)
	}
}

// With Direct the handlers are called in order as well, and what they hand over may be sent from elsewhere.
func TestDirectHandlers(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	got := make(chan string, 200)
	c := bustest.Run(t, bus.Config{URL: url, Direct: true})
	if err := c.Wait(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if err := c.Subscribe(within(t, patience), 1, func(m bus.Message) { got <- string(m.Payload) }, "/direct/#"); err != nil {
		t.Fatal(err)
	}
	from := bustest.Dial(t, url)
	for i := range 100 {
		from.Send(bus.Message{Topic: "/direct/x", Payload: fmt.Append(nil, i), QoS: 1})
	}
	for i := range 100 {
		select {
		case s := <-got:
			if s != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, s)
			}
		case <-time.After(patience):
			t.Fatalf("message %d did not come", i)
		}
	}
}
