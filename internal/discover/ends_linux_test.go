package discover

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPointToPoint(t *testing.T) { t.Parallel(); inNamespace(t, pointToPoint) }

// pointToPoint runs in a namespace with nothing in it: a host at the other end of a link without broadcast.
func pointToPoint(t *testing.T) {
	ip(t, "link set lo up")
	near := tun(t, "ppp0", "addr add 10.82.0.1 peer 10.82.0.2/32 dev ppp0")
	var far *os.File
	var b *bed
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked, see nsHost
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		if far = tun(t, "ppp0", "addr add 10.82.0.2 peer 10.82.0.1/32 dev ppp0"); far == nil {
			return
		}
		list, err := interfaces()
		if err != nil {
			return
		}
		b = newBed(t, "0.0.0.0:37030", nil)
		b.r.ifaces = func() ([]iface, error) { return list, nil }
	}()
	<-done
	if near == nil || b == nil {
		t.Skip("no tun devices here")
	}
	var copies sync.WaitGroup
	carry := func(from, to *os.File) {
		buf := make([]byte, 2000)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			_, _ = to.Write(buf[:n]) // a packet that is lost
		}
	}
	copies.Go(func() { carry(near, far) })
	copies.Go(func() { carry(far, near) })
	defer func() { _, _ = near.Close(), far.Close(); copies.Wait() }()
	b.r.Update(testHost(1, "pi1"))
	b.start()
	got, stats := gather(t, SweepConfig{Sealed: true, Wait: 5 * time.Second})
	if len(got) != 1 || got[0].From.Addr().String() != "10.82.0.2" || got[0].Interface != "ppp0" {
		t.Errorf("found %+v, %+v, want pi1 at the other end", got, stats)
	}
}

// tun makes a tun device in the namespace of the calling thread; nil means that there can be none.
func tun(t *testing.T, name string, setup ...string) *os.File {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	for _, args := range append(setup, "link set "+name+" up") {
		if err == nil {
			err = exec.Command("ip", strings.Fields(args)...).Run()
		}
	}
	if err != nil {
		t.Logf("tun %s: %v", name, err)
		_ = unix.Close(fd)
		return nil
	}
	return os.NewFile(uintptr(fd), "tun")
}
