package broker

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkPublishReceive is the way of one message of 64 bytes, from a publisher through the broker to a subscriber, alone.
func BenchmarkPublishReceive(b *testing.B) {
	for qos := range byte(2) {
		b.Run(fmt.Sprintf("qos%d", qos), func(b *testing.B) {
			_, addr := start(b, Config{Allow: allowAll})
			sub, pub := dial(b, addr), dial(b, addr)
			sub.connect("sub")
			sub.subscribe("/h/gpio/input/door", qos)
			pub.connect("pub")
			payload := strings.Repeat("x", 64)
			for b.Loop() {
				pub.publish("/h/gpio/input/door", payload, qos, false)
				sub.expect(publish)
			}
		})
	}
}

// BenchmarkFlood is the rate of messages of 64 bytes that do not wait for each other.
func BenchmarkFlood(b *testing.B) {
	for qos := range byte(2) {
		b.Run(fmt.Sprintf("qos%d", qos), func(b *testing.B) {
			_, addr := start(b, Config{Allow: allowAll})
			sub, pub := dial(b, addr), dial(b, addr)
			sub.connect("sub")
			sub.subscribe("/h/gpio/input/door", qos)
			pub.connect("pub")
			payload := strings.Repeat("x", 64)
			acks := make(chan struct{})
			b.ResetTimer()
			go func() {
				defer close(acks)
				pub.drain()
			}()
			go func() {
				for i := range b.N {
					pub.send(publishFrame("/h/gpio/input/door", payload, qos, false, uint16(i%60_000+1)))
				}
			}()
			for range b.N {
				sub.expect(publish)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			_ = pub.conn.Close()
			<-acks
		})
	}
}

// BenchmarkConnect is a connection from dialling to CONNACK.
func BenchmarkConnect(b *testing.B) {
	_, addr := start(b, Config{Allow: allowAll})
	for b.Loop() {
		c := dial(b, addr)
		c.connect("c")
		c.disconnect()
	}
}
