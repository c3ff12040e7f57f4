package discover

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// newTestReceiver returns a receiver on the loopback, and a socket that sends to it.
func newTestReceiver(t *testing.T) (*receiver, *net.UDPConn) {
	t.Helper()
	conn, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	from, err := net.DialUDP("udp4", nil, conn.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	r, err := newReceiver(conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.close(), from.Close() }) // a second time does no harm
	return r, from
}

// The receiver waits for datagrams and for a time, whichever comes first, and not once it is closed.
func TestReceiverReads(t *testing.T) {
	t.Parallel()
	r, from := newTestReceiver(t)
	for _, until := range []time.Time{time.Now().Add(-time.Hour), time.Now().Add(time.Millisecond)} {
		if n, err := r.read(until); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read until %v = %d, %v, want %v", until, n, err, os.ErrDeadlineExceeded)
		}
	}
	const sent = 3*atATime + 1
	for range sent {
		send(t, from, nil) // an empty datagram is one too
	}
	got := 0
	for got < sent {
		n, err := r.read(time.Now().Add(patience))
		if err != nil {
			t.Fatalf("read after %d = %v", got, err)
		}
		for i := range n {
			if d, err := r.datagram(i); err != nil || len(d.b) != 0 || d.src != from.LocalAddr().(*net.UDPAddr).AddrPort() || len(d.oob) == 0 {
				t.Fatalf("datagram %d = %+v, %v", got+i, d, err)
			}
		}
		got += n
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if n, err := r.read(time.Time{}); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("read of a closed socket = %d, %v, want %v", n, err, net.ErrClosed)
	}
}

// TestReceiverForgetsErrors has an error of somebody else's be left in the socket's queue, which the kernel tells of until it is taken away.
func TestReceiverForgetsErrors(t *testing.T) {
	t.Parallel()
	r, from := newTestReceiver(t)
	gone, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	nobody := gone.LocalAddr().(*net.UDPAddr).AddrPort()
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	s := r.sender()
	s.sure = true
	_ = r.raw.Control(func(fd uintptr) { tellErrors(fd, r.six, true) })
	if err := s.send([]byte("x"), nil, nobody); err != nil {
		t.Fatal(err)
	}
	for empty, until := 0, time.Now().Add(100*time.Millisecond); ; empty++ {
		n, err := r.read(until)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil || n > 0 || empty == 10 {
			t.Fatalf("read %d = %d, %v, want the end of the wait", empty, n, err)
		}
	}
	send(t, from, []byte("y"))
	if n, err := r.read(time.Now().Add(patience)); n != 1 || err != nil {
		t.Errorf("read after it = %d, %v", n, err)
	}
}

// close ends a read that waits, and gives the port back.
func TestReceiverCloses(t *testing.T) {
	t.Parallel()
	const times = 50
	taken := 0
	for range times { // so that it comes at different moments of it
		r, from := newTestReceiver(t)
		ended := make(chan error)
		go func() {
			for {
				if _, err := r.read(time.Time{}); err != nil {
					ended <- err
					return
				}
			}
		}()
		send(t, from, []byte("x"))
		if err := r.close(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if !errors.Is(err, net.ErrClosed) {
				t.Fatalf("read = %v, want %v", err, net.ErrClosed)
			}
		case <-time.After(patience):
			t.Fatal("read of a closed socket waits on")
		}
		conn, err := Listen(from.RemoteAddr().String())
		if err != nil {
			taken++ // by another test, once in a great while
			continue
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if taken > times/2 {
		t.Errorf("the port was still taken %d of %d times", taken, times)
	}
}

// A flooded host lets datagrams gather for as long as there is room for them, and no longer than until its next reply is due.
func TestGather(t *testing.T) {
	t.Parallel()
	r, from := newTestReceiver(t)
	r.gather(time.Now().Add(-time.Second), gatherMost)
	if r.span != gatherLeast {
		t.Errorf("for %v when there was no time, want %v", r.span, gatherLeast)
	}
	for range 10 {
		r.gather(time.Time{}, gatherMost)
	}
	if r.span != gatherMost {
		t.Errorf("for %v when little comes, want %v", r.span, gatherMost)
	}
	if memInfo(r.file).buffer == 0 {
		t.Skip("this kernel does not say what a socket holds")
	}
	for s := memInfo(r.file); s.queued <= s.buffer/4; s = memInfo(r.file) {
		send(t, from, make([]byte, 60_000))
	}
	for range 10 {
		r.gather(time.Time{}, gatherMost)
	}
	if r.span != gatherLeast {
		t.Errorf("for %v when the socket fills, want %v", r.span, gatherLeast)
	}
}

// A host that is told to stop while it is flooded does.
func TestStopDuringFlood(t *testing.T) {
	t.Parallel()
	b := newBed(t, "127.0.0.1:0", nil)
	b.r.Update(testHost(1, "pi"))
	ctx, stop := context.WithCancel(t.Context())
	flooding, dry := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.r.Run(ctx) }()
	var wg sync.WaitGroup
	wg.Go(func() { pour(flooding, b) })
	defer wg.Wait()
	defer dry()
	b.awaitAny(5000, malformed, sieved)
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Run() = %v", err)
		}
	case <-time.After(patience):
		t.Fatal("Run() goes on")
	}
	if _, err := b.r.in.read(time.Time{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read of its socket = %v, want %v", err, net.ErrClosed)
	}
}

// pour sends 50,000 datagrams a second, whether somebody listens or not, until ctx ends.
func pour(ctx context.Context, b *bed) {
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(b.addr))
	if err != nil {
		b.t.Error(err)
		return
	}
	defer func() { _ = conn.Close() }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		for range 50 {
			_, _ = conn.Write([]byte("{")) // which the kernel does not know to be of no use; that nobody listens any more, or that there is no way, is no error here
		}
		<-tick.C
	}
}
