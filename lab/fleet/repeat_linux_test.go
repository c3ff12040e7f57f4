package fleet

import (
	"os"
	"runtime"
	"testing"

	"rollcall/internal/discover"
	"rollcall/internal/trust"
)

// usage is what a process must not use more of, however many sweeps it makes.
type usage struct {
	goroutines, files int
	heap              uint64
}

func use(t *testing.T) usage {
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

// TestManySealedSweeps makes a thousand sweeps of hosts that seal what they say: goroutines, descriptors and memory stay as they are.
// It is not parallel, so that there is nothing else in the process meanwhile.
func TestManySealedSweeps(t *testing.T) {
	key, err := trust.NewKey("op")
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, Config{Hosts: 3, Services: 2, Operator: key.Public().Key})
	ring := new(discover.Keyring)
	short := 0 // on a busy machine a process may stand still for longer than a sweep waits
	sweep := func() {
		heard := 0
		_, err := discover.Sweep(t.Context(), discover.SweepConfig{To: []string{"127.64.0.1", "127.64.0.2", "127.64.0.3"}, Port: int(f.Addr().Port()),
			Sealed: true, Key: key, Keyring: ring}, func(discover.Answer) { heard++ })
		if err != nil {
			t.Fatal(err)
		}
		if heard != 3 {
			short++
		}
	}
	for range 2 * keptSweeps { // after which a fleet forgets one for each that it hears of
		sweep()
	}
	before := use(t)
	n := 1000
	if testing.Short() {
		n = 100
	}
	for range n {
		sweep()
	}
	after := use(t)
	if short > n/50 {
		t.Errorf("%d of %d sweeps found fewer than the 3 hosts", short, n)
	}
	t.Logf("before %+v, after %d sweeps %+v", before, n, after)
	if after.goroutines > before.goroutines || after.files > before.files || after.heap > before.heap+1<<20 {
		t.Errorf("after %d sweeps %+v, before %+v, want no more goroutines and files, and at most 1 MiB more", n, after, before)
	}
}
