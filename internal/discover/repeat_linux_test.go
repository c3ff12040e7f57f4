package discover

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// usage is what a process must not use more of, however many sweeps it makes.
type usage struct {
	goroutines, files int
	heap              uint64
}

func measure(t *testing.T) (u usage) {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.GC() // what the first has finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), len(files), m.HeapAlloc}
}

// TestManySweeps makes sweep after sweep in one process of its own, a thousand unless in -short: goroutines, descriptors and
// memory stay as they are.
func TestManySweeps(t *testing.T) { t.Parallel(); inNamespace(t, manySweeps) }

func manySweeps(t *testing.T) {
	ip(t, "link set lo up")
	b := newBed(t, "127.0.0.1:0", func(c *ResponderConfig) {
		c.LocalReplyTo = "" // nobody reads what would be published
	})
	b.r.sealedRate = newLimiter(pace{1e9, 1e9}, pace{1e9, 1e9})
	b.r.Update(testHost(1, "pi", services(5, 20)...))
	b.start()
	n := 1000
	if testing.Short() {
		n = 100
	}
	ring := new(Keyring)
	op := newKey(t, "op")
	sweep := func() {
		got, stats := gather(t, SweepConfig{To: []string{b.addr.String()}, Sealed: true, Key: op, Keyring: ring, Wait: 2 * time.Second})
		if len(got) != 1 || !stats.Complete {
			t.Fatalf("found %d hosts, %+v", len(got), stats)
		}
	}
	for range 50 {
		sweep()
	}
	before := measure(t)
	for range n {
		sweep()
	}
	after := measure(t)
	t.Logf("before %+v, after %d sweeps %+v", before, n, after)
	if after.goroutines > before.goroutines || after.files > before.files {
		t.Errorf("after %d sweeps %+v, before %+v", n, after, before)
	}
	if most := before.heap + 1<<20; after.heap > most {
		t.Errorf("heap has %d bytes after %d sweeps, %d before: want at most 1 MiB more", after.heap, n, before.heap)
	}
}
