package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports"
)

// original starts a host that knows the original form only: it reads JSON requests from a socket, and calls answer with what
// it read. It returns host:port of it.
func original(t *testing.T, answer func(request map[string]any)) string {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		asked := map[string]bool{}
		for b := make([]byte, 2000); ; {
			n, _, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			var request map[string]any
			if json.Unmarshal(b[:n], &request) != nil || asked[fmt.Sprint(request["id"])] {
				continue // sealed, or the second copy
			}
			asked[fmt.Sprint(request["id"])] = true
			answer(request)
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return conn.LocalAddr().String()
}

// publish publishes payloads to where the request says, as a program would that has never heard of udpsrv.
func publish(t *testing.T, request map[string]any, payloads ...string) {
	t.Helper()
	withReplyTo(t, request, func(ctx context.Context, c *bus.Client) {
		for _, p := range payloads {
			if err := c.Publish(ctx, bus.Message{Topic: request["topic"].(string), Payload: []byte(p), QoS: 1}); err != nil {
				t.Errorf("publish to %v: %v", request["replyto"], err)
			}
		}
	})
}

// withReplyTo calls f with a client of the request's broker.
func withReplyTo(t *testing.T, request map[string]any, f func(context.Context, *bus.Client)) {
	t.Helper()
	b, err := parseBroker(request["replyto"].(string))
	if err != nil {
		t.Errorf("replyto %v: %v", request["replyto"], err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = withBroker(ctx, &app{err: &output{w: &strings.Builder{}}}, b, patience, func(ctx context.Context, l *link) error {
		f(ctx, l.Client)
		return nil
	})
	if err != nil {
		t.Errorf("replyto %v: %v", request["replyto"], err)
	}
}

// reportWith is an answer in the original form to a request, as one line of JSON.
func reportWith(request map[string]any, fields string) string {
	return fmt.Sprintf(`{"cmd":"status","replyto":%q,"topic":%q,"id":%v,%s}`, request["replyto"], request["topic"], number(request["id"]), fields)
}

func number(v any) string { return fmt.Sprintf("%.0f", v) }

// foundBy sweeps and returns the hosts in short.
func foundBy(t *testing.T, args ...string) (hosts []string, stderr string) {
	t.Helper()
	stdout, stderr := newLaptop(t).want(exitOK, append([]string{"sweep", "--json"}, args...)...)
	var d document
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		t.Fatalf("%s: %v", stdout, err)
	}
	for _, f := range d.Hosts {
		hosts = append(hosts, line(&host{Found: f}))
	}
	return hosts, stderr
}

const oldGPIO = `"hostname":"old","ipaddr":"127.0.0.1","function":"gpio","inputs":"/old/gpio/set","outputs":"/old/gpio","control":"/old/gpio/control"`

func TestSweepViaMQTT(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"own broker", "named broker"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			asked := make(chan map[string]any, 1)
			to := original(t, func(request map[string]any) {
				publish(t, request, reportWith(request, oldGPIO), reportWith(request, `"hostname":"old","ipaddr":"127.0.0.1","function":"coffee"`))
				asked <- request
			})
			args := []string{"--via", "mqtt", "--to", to, "--topic", "/answers/here"}
			if where == "named broker" {
				args = append(args, "--broker", bustest.Start(t))
			}
			hosts, _ := foundBy(t, args...)
			if want := []string{" old 127.0.0.1 mqtt: coffee/ gpio/"}; !slices.Equal(hosts, want) {
				t.Errorf("found %q, want %q", hosts, want)
			}
			request := <-asked
			if request["cmd"] != "status" || request["topic"] != "/answers/here" || !strings.HasPrefix(request["replyto"].(string), "127.0.0.1") {
				t.Errorf("request %v", request)
			}
		})
	}
}

// A host that answers by UDP, with a program on it that knows the original form only, and a host that is all original.
func TestSweepViaBoth(t *testing.T) {
	t.Parallel()
	var jobs = make(chan reports.Request, 4)
	r := boot(t, hostNamed("pizero2", 1), func(q reports.Request) { jobs <- q })
	done := make(chan struct{})
	go func() {
		defer close(done)
		q := <-jobs
		request := map[string]any{"replyto": q.ReplyTo, "topic": q.Topic}
		publish(t, request, fmt.Sprintf(`{"cmd":"status","topic":%q,"id":%s,"hostname":%q,"ipaddr":%q,"function":"coffee"}`, q.Topic, q.ID, q.Hostname, q.IPAddr))
	}()
	old := original(t, func(request map[string]any) { publish(t, request, reportWith(request, oldGPIO)) })
	hosts, _ := foundBy(t, "--via", "both", "--to", r.addr+","+old)
	want := []string{" old 127.0.0.1 mqtt: gpio/", "01 pizero2 127.0.0.1 udp+mqtt: coffee/ gpio/online hostsensor/offline"}
	if !slices.Equal(hosts, want) {
		t.Errorf("found %q, want %q", hosts, want)
	}
	<-done
}

// The broker of a sweep takes answers on one topic, and shows them to nobody.
func TestCollectorBrokerIsClosed(t *testing.T) {
	t.Parallel()
	refused := make(chan string, 2)
	to := original(t, func(request map[string]any) {
		withReplyTo(t, request, func(ctx context.Context, c *bus.Client) {
			for _, filter := range []string{"#", request["topic"].(string)} {
				if err := c.Subscribe(ctx, 1, func(bus.Message) { t.Error("a stranger reads the answers") }, filter); err == nil {
					t.Errorf("a stranger may subscribe to %q", filter)
				}
				refused <- filter
			}
			if err := c.Publish(ctx, bus.Message{Topic: "/other", Payload: []byte("x"), QoS: 1}); err != nil {
				t.Logf("publish elsewhere: %v", err)
			}
		})
		publish(t, request, reportWith(request, oldGPIO))
	})
	if hosts, _ := foundBy(t, "--via", "mqtt", "--to", to); len(hosts) != 1 || len(refused) != 2 {
		t.Errorf("found %q with %d subscriptions refused", hosts, len(refused))
	}
}

func TestHostileReports(t *testing.T) {
	t.Parallel()
	to := original(t, func(request map[string]any) {
		wrong := map[string]any{"replyto": "x", "topic": "/t", "id": 1.0}
		publish(t, request, "", "not JSON", "{}", strings.Repeat("[", 5000), reportWith(wrong, oldGPIO), `"\xff"`,
			reportWith(request, `"hostname":"\u001b[2J","function":"gpio"`),
			reportWith(request, `"hostname":"evil","ipaddr":"127.0.0.1","service":"s","function":"\u009b31m\u202e"`),
			reportWith(request, `"hostname":"evil","ipaddr":"127.0.0.1\n","function":"gpio"`),
			reportWith(request, oldGPIO), reportWith(request, oldGPIO))
	})
	stdout, stderr := newLaptop(t).want(exitOK, "sweep", "--via", "mqtt", "--to", to)
	if strings.ContainsAny(stdout+stderr, "\x1b\u009b\u202e") {
		t.Errorf("raw control characters in %q", stdout+stderr)
	}
	if !strings.Contains(stderr, "1 host, 1 service in ") || !strings.Contains(stderr, "udpsrv: warning: 9 answers not understood and left out\n") {
		t.Errorf("stdout: %s\nstderr: %s", stdout, stderr)
	}
}

func TestRowsAreClean(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	h := &host{Found: reports.Found{Hostname: "pi1", IPAddr: "fe80::1%\x1b"}}
	newFound(&b, false).rows("", news{host: h, services: []reports.FoundService{{Name: "s", Function: "\u009b31m\u202e"}}})
	if want := "pi1              fe80::1%\\x1b    s              \\u009b31m\\u202e -            -  -\n"; !strings.HasSuffix(b.String(), want) {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestCollectAtDeadBroker(t *testing.T) {
	t.Parallel()
	_, stderr := newLaptop(t).want(exitFail, "--broker", "mqtt://me:secret@"+freePort(t), "sweep", "--via", "mqtt", "--to", "127.0.0.1")
	if !strings.HasPrefix(stderr, "udpsrv: collect answers: connect to tcp://127.0.0.1:") || strings.Contains(stderr, "secret") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("stderr: %s", stderr)
	}
}

func TestReplyTo(t *testing.T) {
	t.Parallel()
	own, other := &collector{}, &collector{}
	b, err := parseBroker("mqtt://127.0.0.1:1999")
	if err != nil {
		t.Fatal(err)
	}
	own.useNamed(t.Context(), b)
	local := netip.MustParseAddr("::ffff:192.0.2.1")
	if got := own.replyTo(local); got != "192.0.2.1:1999" || own.port != 1999 {
		t.Errorf("replyto of an own broker = %q, port %d", got, own.port)
	}
	if b, err = parseBroker("mqtt://me:secret@192.0.2.99"); err != nil {
		t.Fatal(err)
	}
	other.useNamed(t.Context(), b)
	if got := other.replyTo(local); got != "192.0.2.99" || other.port != 0 {
		t.Errorf("replyto of another's broker = %q, port %d", got, other.port)
	}
}
