package discover

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/internal/trust"
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
	for i := uint64(1); b.Loop(); i++ {
		binary.BigEndian.PutUint64(raw[offRequestSweep:], i) // one sweep is not answered without end
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

// serveAs and serveTo are set in the process that spawn starts.
const (
	serveAs = "ROLLCALL_TEST_SERVE"
	serveTo = "ROLLCALL_TEST_OPERATOR" // his public key in hexadecimal
)

// TestServe is the other side of the benchmarks, in a process of its own as on a network; alone it does nothing.
func TestServe(t *testing.T) {
	switch os.Getenv(serveAs) {
	case "responder":
		b := newBed(t, "127.0.0.1:0", nil)
		b.r.sealedRate = newLimiter(pace{1e12, 1e12}, pace{1e12, 1e12})
		b.r.Update(testHost(1, "pi", services(10, 8)...))
		fmt.Println("ADDR", b.addr)
		if err := b.r.Run(t.Context()); err != nil {
			t.Error(err)
		}
	case "closed":
		op, err := hex.DecodeString(os.Getenv(serveTo))
		if err != nil {
			t.Fatal(err)
		}
		b := closedBed(t, newKey(t, "host"), func(id [8]byte) (ed25519.PublicKey, bool) { return op, id == trust.PublicKey{Key: op}.ID() }, nil)
		fmt.Println("ADDR", b.addr)
		if err := b.r.Run(t.Context()); err != nil {
			t.Error(err)
		}
	case "echo":
		conn, err := Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("ADDR", conn.LocalAddr())
		for buf := make([]byte, 2048); ; {
			_, from, err := conn.ReadFromUDPAddrPort(buf)
			if err == nil {
				_, err = conn.WriteToUDPAddrPort(buf[:400], from)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// child is TestServe in a process of its own.
type child struct {
	pid  int
	addr netip.AddrPort
	op   trust.Key // of its operator, where it has one
}

// spawn starts TestServe as kind.
func spawn(t testing.TB, kind string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestServe$", "-test.v")
	c := &child{op: newKey(t, "op")}
	cmd.Env = append(os.Environ(), serveAs+"="+kind, fmt.Sprintf("%s=%x", serveTo, public(c.op)),
		"TMPDIR="+t.TempDir()) // it is killed, and clears up nothing
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it serves until then
		_ = cmd.Wait()
	})
	c.pid = cmd.Process.Pid
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if addr, ok := strings.CutPrefix(lines.Text(), "ADDR "); ok {
			c.addr = netip.MustParseAddrPort(addr)
			return c
		}
	}
	t.Fatal("server did not start")
	return nil
}

// BenchmarkSweepOne sweeps a host that was idle; reply-ns is the median time from the first request to the reply.
// BenchmarkEcho is its floor: a bare question and answer of the same sizes, from a new socket to a process that was idle.
func BenchmarkSweepOne(b *testing.B) {
	to := []string{spawn(b, "responder").addr.String()}
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	var after []time.Duration
	for b.Loop() {
		<-pause.C
		ctx, stop := context.WithCancel(b.Context())
		n := len(after)
		_, err := Sweep(ctx, SweepConfig{To: to, Sealed: true, Wait: time.Second}, func(a Answer) {
			after = append(after, a.After)
			stop()
		})
		stop()
		if err != nil || len(after) != n+1 {
			b.Fatalf("Sweep() error = %v, %d answers", err, len(after)-n)
		}
	}
	b.ReportMetric(median(after), "reply-ns")
}

func BenchmarkEcho(b *testing.B) {
	to := spawn(b, "echo").addr
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	raw, buf := make([]byte, MinRequest), make([]byte, 2048)
	var after []time.Duration
	for b.Loop() {
		<-pause.C
		conn, err := listenFor(to.Addr(), 0)
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if _, err := conn.WriteToUDPAddrPort(raw, to); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(buf); err != nil {
			b.Fatal(err)
		}
		after = append(after, time.Since(start))
		_ = conn.Close()
	}
	b.ReportMetric(median(after), "reply-ns")
}
