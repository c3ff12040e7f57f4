package lab

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"
)

var floodTarget = flag.String("flood", "", "address to send garbage to; for TestFloodHelper alone")

// TestFloodHelper is no test: it is the program that floods, run in a namespace of its own by other tests. It sends 50,000
// datagrams a second for at most 30 s: random bytes, JSON with random ends, and requests with the magic of the sealed form.
func TestFloodHelper(t *testing.T) {
	if *floodTarget == "" {
		t.Skip("run by other tests as a program")
	}
	conn, err := net.Dial("udp", *floodTarget)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const perMilli = 50
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	buf := make([]byte, 1400)
	sent, start := 0, time.Now()
	heads := []string{"", "RCL1\x01\x01", `{"cmd":"status","replyto":"10.77.0.9","topic":"/x","id":`}
	for {
		select {
		case <-end:
			return
		case <-tick.C:
		}
		for due := int(time.Since(start).Milliseconds()+1)*perMilli - sent; due > 0; due-- {
			n := copy(buf, heads[sent%len(heads)])
			for k := n; k < n+64; k += 8 {
				v := rand.Uint64()
				for b := range 8 {
					buf[k+b] = byte(v >> (8 * b))
				}
			}
			_, _ = conn.Write(buf[:n+64]) // a full queue drops, as a network does
			sent++
		}
		if sent%(perMilli*1000) < perMilli {
			fmt.Printf("flooding: %.0f datagrams a second\n", float64(sent)/time.Since(start).Seconds())
		}
	}
}

var (
	sendFile = flag.String("send", "", "file to send as one datagram; for TestSendHelper alone")
	sendTo   = flag.String("to", "", "address to send it to")
)

// TestSendHelper is no test: it sends one datagram from the namespace it is run in.
func TestSendHelper(t *testing.T) {
	if *sendFile == "" {
		t.Skip("run by other tests as a program")
	}
	b, err := os.ReadFile(*sendFile)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("udp", *sendTo)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
}
