package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Inside runs f in a network namespace (ip-netns(8)), in a thread of its own, and waits for it. Sockets that f opens stay there.
// The thread finds its way back: were it to end, the programs that it has started would be killed (prctl(2), PR_SET_PDEATHSIG).
func Inside(ns string, f func()) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			done <- fmt.Errorf("open own network namespace: %w", err)
			return
		}
		defer func() { _ = unix.Close(home) }() // nothing was written
		if err = enter(ns); err == nil {
			f()
		}
		if back := unix.Setns(home, unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread() // else the thread ends with the goroutine, and with it the way into the namespace
		}
		done <- err
	}()
	return <-done
}

// enter moves the calling thread into a network namespace.
func enter(ns string) error {
	fd, err := unix.Open(filepath.Join("/run/netns", ns), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", ns, err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", ns, err)
	}
	return nil
}

// Inside runs f in the network of host i and waits for it.
func (l *LAN) Inside(i int, f func()) {
	l.t.Helper()
	if err := Inside(l.NS(i), f); err != nil {
		l.t.Fatal(err)
	}
}

// Switch returns the name of the network namespace that the bridge, br0, is in.
func (l *LAN) Switch() string { return l.name + "-sw" }

// Lose has every port of the bridge lose this share of what goes out by it, each frame by itself, also of those that are flooded:
// frames of IP alone, or of all kinds. It replaces what was set before; 0 loses nothing.
func (l *LAN) Lose(share float64, all bool) {
	l.t.Helper()
	kinds := "ether type { ip, ip6 } "
	if all {
		kinds = ""
	}
	rule := fmt.Sprintf("%snumgen random mod 1000 < %d drop", kinds, int(share*1000))
	if share == 0 {
		rule = ""
	}
	cmd := exec.Command("ip", "netns", "exec", l.Switch(), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader("table bridge loss\ndelete table bridge loss\n" +
		"table bridge loss { chain forward { type filter hook forward priority 0; " + rule + "; }; }\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("nft: %v\n%s", err, out)
	}
}

// Forget has hosts 1 to n know nobody's hardware address, as if nobody had talked to them for a long time.
func (l *LAN) Forget(n int) {
	l.t.Helper()
	for i := 1; i <= n; i++ {
		if out, err := exec.Command("ip", "-n", l.NS(i), "neigh", "flush", "dev", "eth0").CombinedOutput(); err != nil {
			l.t.Fatalf("ip neigh flush: %v\n%s", err, out)
		}
	}
}

// sent returns how many bytes hosts 1 to n have sent, with the headers of Ethernet: what came in at their ports of the bridge
// (/proc/net/dev, proc(5)).
func (l *LAN) sent(n int) []uint64 {
	l.t.Helper()
	out := make([]uint64, n)
	var text []byte
	var err error
	if inside := Inside(l.Switch(), func() { text, err = os.ReadFile("/proc/thread-self/net/dev") }); inside != nil || err != nil {
		l.t.Fatal(inside, err)
	}
	for line := range strings.Lines(string(text)) {
		var port int
		var bytes uint64
		if _, err := fmt.Sscanf(strings.TrimSpace(line), "v%d: %d", &port, &bytes); err == nil && port >= 1 && port <= n {
			out[port-1] = bytes
		}
	}
	return out
}

// ManyNeighbours gives the kernel's tables of neighbours room for so many entries until the test ends. They are one for all network
// namespaces of a machine (gc_thresh3, arp(7): 1,024 by default), while each real host has its own.
func (l *LAN) ManyNeighbours(entries int) {
	l.t.Helper()
	for _, family := range []string{"ipv4", "ipv6"} {
		for _, name := range []string{"gc_thresh3", "gc_thresh2", "gc_thresh1"} { // from the highest down, as each is checked against the next
			path := filepath.Join("/proc/sys/net", family, "neigh/default", name)
			old, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, []byte(fmt.Sprint(entries)), 0)
			}
			if err != nil {
				l.t.Fatal(err)
			}
			l.t.Cleanup(func() { _ = os.WriteFile(path, old, 0) }) // what was there is legal
		}
	}
}
