package fleet

import (
	"crypto/ed25519"
	"errors"
	"runtime"
	"sync"

	"rollcall/internal/discover"
	"rollcall/internal/trust"
)

// keys makes a key for each host, and what it shares with the operator, on all processors.
func keys(hosts int, operator ed25519.PublicKey) ([]*discover.Sealer, error) {
	out, workers := make([]*discover.Sealer, hosts), runtime.GOMAXPROCS(0)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < hosts && errs[w] == nil; i += workers {
				var k trust.Key
				if k, errs[w] = trust.NewKey("virtual"); errs[w] == nil {
					out[i], errs[w] = discover.NewSealer(k, operator)
				}
			}
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// parse reads a request; one of an operator that the hosts don't obey is an error.
func (f *Fleet) parse(b []byte) (discover.Request, error) {
	if len(f.seals) > 0 {
		return discover.ParseSigned(b, f.c.Operator)
	}
	return discover.ParseRequest(b)
}

// size returns the length of a host's reply with a page, in bytes, as it is counted against what was asked.
func (f *Fleet) size(i int, page uint8) int {
	n := f.cards[i].Size(page)
	if len(f.seals) > 0 && n > 0 {
		return f.seals[i].Size(n)
	}
	return n
}

// job is a reply to be sealed and sent.
type job struct {
	host  int
	sweep *sweep
	sign  bool
	reply []byte
}

// jobQueue is how many replies may wait for each of those who seal; Run waits when there are more.
const jobQueue = 4096

// startSealers starts the goroutines that seal, if the hosts do, and returns what ends them.
func (f *Fleet) startSealers() (stop func()) {
	var wg sync.WaitGroup
	if len(f.seals) > 0 {
		for range runtime.GOMAXPROCS(0) {
			jobs := make(chan job, jobQueue)
			f.sign = append(f.sign, jobs)
			wg.Go(func() {
				var out []byte
				for j := range jobs {
					out = f.seal(out, j)
				}
			})
		}
	}
	return func() {
		for _, jobs := range f.sign {
			close(jobs)
		}
		wg.Wait()
	}
}

// seal seals a reply into buf, sends it, and returns the buffer for the next one.
func (f *Fleet) seal(buf []byte, j job) []byte {
	s, box := f.seals[j.host], j.sweep.boxes[j.host]
	if box == nil {
		var err error
		if box, err = s.Box(j.sweep.id); err != nil {
			return buf // no host has such a key
		}
		j.sweep.boxes[j.host] = box
	}
	out, err := s.Seal(buf, j.reply, box, j.sign)
	if err != nil {
		return buf // no reply of NewCard is too long for it
	}
	f.send(j.host, out, j.sweep.from)
	return out
}

// pass sends a reply that has passed its link, sealed if the hosts seal.
func (f *Fleet) pass(i int, s *sweep, reply []byte) {
	if len(f.seals) == 0 {
		f.send(i, reply, s.from)
		return
	}
	f.sign[i%len(f.sign)] <- job{i, s, s.sign, append([]byte(nil), reply...)}
}
