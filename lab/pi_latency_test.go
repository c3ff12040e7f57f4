package lab

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/lab/uml/sim"
)

// rounds is how often each latency is measured.
const rounds = 500

// publishPort is where the publisher is told to publish.
const publishPort = 37032

// retain tells the publisher to have the message retained.
const retain = "retain"

// publish is a client in a process of its own, as agentd and udpsrv are: each datagram makes it publish the time that it is.
func publish(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: publishPort})
	if err != nil {
		t.Fatal(err)
	}
	c := bustest.Dial(t, piBroker)
	fmt.Println("publishing")
	b := make([]byte, 16)
	for {
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		c.Send(bus.Message{Topic: "/bench/two", Payload: []byte(strconv.FormatInt(int64(sim.Now()), 10)), QoS: 1, Retained: string(b[:n]) == retain})
	}
}

// arrival is a message and when it came.
type arrival struct {
	at   time.Duration
	text string
}

// meter measures one thing after the other.
type meter struct {
	t     *testing.T
	bank  *sim.Bank
	trace *sim.Trace
	c     *bus.Client
	tell  net.Conn // to the publisher
	came  chan arrival
	quiet *time.Timer
	took  map[string][]time.Duration
}

// measureLatency measures in turns: publish → receive on topics that are nobody's, from another process (floor), the same for a
// retained message and with what woke that process up (woken), and from a client to itself (alone); set → line driven; and edge → message received.
func measureLatency(t *testing.T, bank *sim.Bank) {
	trace, err := bank.Trace(ledLine)
	if err != nil {
		t.Fatal(err)
	}
	defer trace.Close()
	tell, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", publishPort))
	if err != nil {
		t.Fatal(err)
	}
	defer tell.Close()
	m := &meter{t: t, bank: bank, trace: trace, c: bustest.Dial(t, piBroker), tell: tell, came: make(chan arrival, 100),
		quiet: time.NewTimer(0), took: map[string][]time.Duration{}}
	defer m.quiet.Stop()
	hear := func(msg bus.Message) {
		if !msg.Retained {
			m.came <- arrival{sim.Now(), string(msg.Payload)}
		}
	}
	if err := m.c.Subscribe(t.Context(), 1, hear, "/bench", "/bench/two", "/pi/gpio/output/led", "/pi/gpio/input/door"); err != nil {
		t.Fatal(err)
	}
	for i := range rounds {
		m.floors()
		m.set(i%2 == 0)
		m.edge(i%2 == 0)
	}
	for _, name := range []string{"floor", "retained", "woken", "alone", "set", "state", "edge"} {
		d := m.took[name]
		slices.Sort(d)
		fmt.Printf("%s %d %d\n", name, d[len(d)/2].Nanoseconds(), d[len(d)*99/100].Nanoseconds())
	}
}

func (m *meter) wait(what string) arrival {
	select {
	case a := <-m.came:
		return a
	case <-time.After(5 * time.Second):
		m.t.Fatalf("%s: nothing came", what)
		return arrival{}
	}
}

// pause lets everybody end what the measurement before has left to do, so that the next one does not pay for it.
func (m *meter) pause() {
	m.quiet.Reset(10 * time.Millisecond)
	<-m.quiet.C
}

func (m *meter) note(name string, d time.Duration) { m.took[name] = append(m.took[name], d) }

func (m *meter) floors() {
	m.pause()
	start := sim.Now()
	m.c.Send(bus.Message{Topic: "/bench", Payload: []byte("ON"), QoS: 1})
	m.note("alone", m.wait("bare").at-start)
	m.pause()
	sent, a := m.relay("publish")
	m.note("floor", a.at-sent)
	m.pause()
	sent, a = m.relay(retain)
	m.note("retained", a.at-sent)
	m.pause()
	start = sim.Now()
	_, a = m.relay(retain)
	m.note("woken", a.at-start)
}

// relay has the publisher publish, and returns when it did and what came.
func (m *meter) relay(how string) (sent time.Duration, a arrival) {
	if _, err := m.tell.Write([]byte(how)); err != nil {
		m.t.Fatal(err)
	}
	a = m.wait("bare, of another process")
	ns, err := strconv.ParseInt(a.text, 10, 64)
	if err != nil {
		m.t.Fatal(err)
	}
	return time.Duration(ns), a
}

func (m *meter) set(on bool) {
	value := map[bool]string{false: "OFF", true: "ON"}[on]
	m.pause()
	start := sim.Now()
	m.c.Send(bus.Message{Topic: "/pi/gpio/set/output/led", Payload: []byte(value), QoS: 1})
	m.note("state", m.wait("set").at-start)
	sets, err := m.trace.Drain()
	if level, lerr := m.bank.Level(ledLine); err != nil || lerr != nil || len(sets) != 1 || sets[0].High != on || level != on {
		m.t.Fatalf("set %s: the kernel noted %v, the level is %t: %v, %v", value, sets, level, err, lerr)
	}
	m.note("set", sets[0].At-start)
}

func (m *meter) edge(on bool) {
	m.pause()
	start := sim.Now()
	if err := m.bank.Pull(doorLine, on); err != nil {
		m.t.Fatal(err)
	}
	m.note("edge", m.wait("edge").at-start)
}
