package discover

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// benchBed is a responder whose limits are out of the way.
func benchBed(b *testing.B) *bed {
	bd := newBed(b, "127.0.0.1:0", nil)
	bd.r.sealedRate = newLimiter(pace{1e12, 1e12}, pace{1e12, 1e12})
	bd.r.Update(testHost(1, "pi", services(10, 8)...))
	return bd
}

// BenchmarkHandleSealed is what a request costs a host but for the two system calls: parse, checks, and a reply from the cache.
func BenchmarkHandleSealed(b *testing.B) {
	bd := benchBed(b)
	bd.r.reply = func([]byte, []byte, netip.AddrPort) error { return nil }
	raw, err := question(1, 1).Marshal()
	if err != nil {
		b.Fatal(err)
	}
	d := datagram{b: raw, src: netip.MustParseAddrPort("127.0.0.1:4242"), at: time.Now(), iface: 1}
	b.ReportAllocs()
	for i := uint32(1); b.Loop(); i++ {
		binary.BigEndian.PutUint32(raw[60:], i)
		if o, err := bd.r.handle(&d); o != answered {
			b.Fatalf("%v, %v", o, err)
		}
	}
}

// BenchmarkHandleGarbage is what a datagram that is none of ours costs.
func BenchmarkHandleGarbage(b *testing.B) {
	for name, raw := range map[string][]byte{"noise": make([]byte, 512), "magic": append([]byte(magic+"\x01\x01\x00\x00"), make([]byte, 1300)...),
		"json": append([]byte(`{"cmd":`), make([]byte, 1300)...)} {
		b.Run(name, func(b *testing.B) {
			bd := benchBed(b)
			d := datagram{b: raw, src: netip.MustParseAddrPort("127.0.0.1:4242"), at: time.Now(), iface: 1}
			b.ReportAllocs()
			for b.Loop() {
				if o, _ := bd.r.handle(&d); o == answered || o == accepted {
					b.Fatal(o)
				}
			}
		})
	}
}

func median(list []time.Duration) float64 {
	slices.Sort(list)
	return float64(list[len(list)/2])
}

// BenchmarkSweepOne sweeps one host over the loopback; first-reply-ns is the median time from the first request to the host's
// being told of. BenchmarkEcho is its floor: a bare question and answer of the same sizes.
func BenchmarkSweepOne(b *testing.B) {
	bd := benchBed(b)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	go func() { done <- bd.r.Run(ctx) }()
	var after []time.Duration
	for b.Loop() {
		one, stop := context.WithCancel(ctx)
		n := len(after)
		_, err := Sweep(one, SweepConfig{To: []string{bd.addr.String()}, Sealed: true, Wait: time.Second}, func(a Answer) {
			after = append(after, a.After)
			stop()
		})
		stop()
		if err != nil || len(after) != n+1 {
			b.Fatalf("Sweep() error = %v, %d answers", err, len(after)-n)
		}
	}
	b.ReportMetric(median(after), "first-reply-ns")
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}

func BenchmarkEcho(b *testing.B) {
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			_, from, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if _, err := server.WriteToUDPAddrPort(buf[:400], from); err != nil {
				return
			}
		}
	}()
	client, err := net.DialUDP("udp4", nil, server.LocalAddr().(*net.UDPAddr))
	if err != nil {
		b.Fatal(err)
	}
	raw, buf := make([]byte, MinRequest), make([]byte, 2048)
	var after []time.Duration
	for b.Loop() {
		start := time.Now()
		if _, err := client.Write(raw); err != nil {
			b.Fatal(err)
		}
		if _, err := client.Read(buf); err != nil {
			b.Fatal(err)
		}
		after = append(after, time.Since(start))
	}
	b.ReportMetric(median(after), "first-reply-ns")
	_, _ = client.Close(), server.Close()
	<-done
}
