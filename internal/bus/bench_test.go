package bus_test

import (
	"fmt"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
)

// BenchmarkPublishReceive is the floor that others are measured against: from Publish to the handler of another client, over
// the embedded broker. bare is paho without this package, on the same broker.
func BenchmarkPublishReceive(b *testing.B) {
	url := bustest.Start(b)
	for _, qos := range []byte{0, 1} {
		m := bus.Message{Topic: "/bench", Payload: []byte("ON"), QoS: qos}
		b.Run(fmt.Sprintf("bus/QoS%d", qos), func(b *testing.B) {
			from, to := bustest.Dial(b, url), bustest.Dial(b, url)
			got := make(chan struct{}, 1)
			if err := to.Subscribe(b.Context(), qos, func(bus.Message) { got <- struct{}{} }, m.Topic); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := from.Publish(b.Context(), m); err != nil {
					b.Fatal(err)
				}
				<-got
			}
		})
		b.Run(fmt.Sprintf("send/QoS%d", qos), func(b *testing.B) {
			from, to := bustest.Dial(b, url), bustest.Dial(b, url)
			got := make(chan struct{}, 1)
			if err := to.Subscribe(b.Context(), qos, func(bus.Message) { got <- struct{}{} }, m.Topic); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				from.Send(m)
				<-got
			}
		})
		b.Run(fmt.Sprintf("bare/QoS%d", qos), func(b *testing.B) {
			from, to := bare(b, url, "from"), bare(b, url, "to")
			got := make(chan struct{}, 1)
			wait(b, to.Subscribe(m.Topic, qos, func(paho.Client, paho.Message) { got <- struct{}{} }))
			for b.Loop() {
				wait(b, from.Publish(m.Topic, qos, false, m.Payload))
				<-got
			}
		})
	}
}

func bare(b *testing.B, url, id string) paho.Client {
	b.Helper()
	c := paho.NewClient(paho.NewClientOptions().AddBroker(url).SetClientID(id).SetAutoReconnect(false))
	wait(b, c.Connect())
	b.Cleanup(func() { c.Disconnect(250) })
	return c
}

func wait(b *testing.B, tok paho.Token) {
	b.Helper()
	if !tok.WaitTimeout(5*time.Second) || tok.Error() != nil {
		b.Fatal("paho: ", tok.Error())
	}
}
