package census

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/lab/loss"
)

// lossy is a way in which datagrams get lost.
type lossy struct {
	name string
	make func() loss.Model
}

// losses are those that a sweep has to be right about.
var losses = []lossy{
	{"0%", func() loss.Model { return loss.Independent(0) }},
	{"1%", func() loss.Model { return loss.Independent(0.01) }},
	{"10%", func() loss.Model { return loss.Independent(0.1) }},
	{"20%", func() loss.Model { return loss.Independent(0.2) }},
	{"30%", func() loss.Model { return loss.Independent(0.3) }},
	{"40%", func() loss.Model { return loss.Independent(0.4) }},
	{"10% in bursts of 4", func() loss.Model { return loss.NewPacketBursts(0.1, 4) }},
	{"2% in bursts of 4", func() loss.Model { return loss.NewPacketBursts(0.02, 4) }},
	{"20% in bursts of 4", func() loss.Model { return loss.NewPacketBursts(0.2, 4) }},
	{"30% in bursts of 3", func() loss.Model { return loss.NewPacketBursts(0.3, 3) }},
	{"2% in bursts of 5ms", func() loss.Model { return loss.NewTimeBursts(0.02, 5*time.Millisecond) }},
	{"20% in bursts of 5ms", func() loss.Model { return loss.NewTimeBursts(0.2, 5*time.Millisecond) }},
	{"10% in bursts of 5ms", func() loss.Model { return loss.NewTimeBursts(0.1, 5*time.Millisecond) }},
}

// long is how many sweeps are made of each kind: few in the normal test, those that ROLLCALL_LONG names in the long one.
func long(short int) int {
	if n, err := strconv.Atoi(os.Getenv("ROLLCALL_LONG")); err == nil {
		return n
	}
	return short
}

// TestCompleteMeansComplete holds sweeps to what they say of themselves: one in 10,000 at most may say that it is complete and
// have missed a host. The long form (`make bench`, or ROLLCALL_LONG=100) makes 100 sweeps of each kind, 26,000 in all.
func TestCompleteMeansComplete(t *testing.T) {
	t.Parallel()
	each := long(6)
	var total, wrong, unsure atomic.Int64
	t.Run("sweeps", func(t *testing.T) {
		for _, l := range losses {
			for _, kind := range []string{"unknown", "known", "home", "slow"} {
				t.Run(l.name+"/"+kind, func(t *testing.T) {
					t.Parallel()
					for _, n := range []int{1, 2, 3, 10, 100} {
						if kind == "slow" && n != 10 && each < 20 {
							continue // it takes its time
						}
						var last, ends []time.Duration
						requests := 0
						for i := range each {
							w := world{n: n, loss: l.make()}
							switch kind {
							case "known":
								w.known = n
							case "slow": // where so many wake up that each request takes long to be sent
								w.sending = time.Duration(i%4) * 2 * time.Millisecond
								w.configure = func(c *Config) { c.Most = smallNetwork }
							case "home": // a /24 with IPv6, where now and then a host has nothing else
								w.configure = func(c *Config) { c.Most, c.Late = smallNetwork, true }
								w.opening = time.Duration(i%4) * 200 * time.Microsecond
								if i%50 == 0 {
									w.six = 1
								}
								if i%10 == 1 {
									w.forged = n
								}
							}
							got := w.run(uint64(i))
							total.Add(1)
							if !got.Complete {
								unsure.Add(1)
							} else if got.heard+len(got.Missing) < n {
								wrong.Add(1)
								t.Logf("seed %d: heard %d of %d: %+v", i, got.heard, n, got.Result)
							}
							if got.bytesOverSpot > 0 {
								t.Errorf("seed %d: %d hosts sent more bytes than they got", i, got.bytesOverSpot)
							}
							last, ends = append(last, got.last), append(ends, got.ends)
							requests += got.requestBytes
						}
						slices.Sort(last)
						slices.Sort(ends)
						t.Logf("%d hosts: median of last %v, of end %v; %d bytes of requests a sweep", n, last[each/2], ends[each/2], requests/each)
					}
				})
			}
		}
	})
	t.Logf("%d sweeps: %d wrongly complete, %d incomplete", total.Load(), wrong.Load(), unsure.Load())
	if most := 1 + total.Load()/10_000; wrong.Load() > most {
		t.Errorf("%d of %d sweeps missed a host and said that they were complete, want at most %d", wrong.Load(), total.Load(), most)
	}
	if unsure.Load() > total.Load()/100 {
		t.Errorf("%d of %d sweeps were incomplete, want hardly any", unsure.Load(), total.Load())
	}
}

// TestStrangers has one host more than those known in every sweep. A sweep of known hosts believes that to be so in one of fifty, so one in
// 200 may say that it is complete and have missed it: one in 10,000 of all.
func TestStrangers(t *testing.T) {
	t.Parallel()
	each := 4 * long(6)
	var total, wrong atomic.Int64
	t.Run("sweeps", func(t *testing.T) {
		for _, l := range losses {
			for _, late := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/late=%v", l.name, late), func(t *testing.T) {
					t.Parallel()
					missStranger(t, l, each, &total, &wrong, func(c *Config) { c.Late = late }, 0)
				})
			}
		}
	})
	atMostMissed(t, &total, &wrong, strangers)
}

// TestLateStrangers has the one that is not known be asked late, which none of the others is.
func TestLateStrangers(t *testing.T) {
	t.Parallel()
	each := 4 * long(6)
	var total, wrong atomic.Int64
	t.Run("sweeps", func(t *testing.T) {
		for _, l := range losses {
			t.Run(l.name, func(t *testing.T) {
				t.Parallel()
				missStranger(t, l, each, &total, &wrong, func(c *Config) { c.Late, c.Known = true, c.Known[1:] }, 1)
			})
		}
	})
	atMostMissed(t, &total, &wrong, fewLate)
}

// missStranger makes so many sweeps of networks in which one host is not known, the first one if so many are asked late, else the last one;
// and counts those that miss it and say that they are complete.
func missStranger(t *testing.T, l lossy, each int, total, wrong *atomic.Int64, configure func(*Config), late int) {
	for _, n := range []int{1, 3, 10, 100} {
		missed := 0
		var ends []time.Duration
		for i := range each {
			w := world{n: n + 1, known: n + late, six: late, loss: l.make(), configure: func(c *Config) { c.Most = smallNetwork; configure(c) }}
			got := w.run(uint64(i))
			ends = append(ends, got.ends)
			if got.Complete && got.heard+len(got.Missing) < n+1 {
				missed++
			}
		}
		slices.Sort(ends)
		t.Logf("%d hosts are known: %d of %d sweeps missed another; median of end %v", n, missed, each, ends[each/2])
		total.Add(int64(each))
		wrong.Add(int64(missed))
	}
}

// atMostMissed holds sweeps that believe a stranger to be there so often to one wrong one in 10,000.
func atMostMissed(t *testing.T, total, wrong *atomic.Int64, believed float64) {
	t.Helper()
	t.Logf("%d of %d sweeps missed a stranger", wrong.Load(), total.Load())
	if most := int64(float64(total.Load()) * Delta / believed); wrong.Load() > most {
		t.Errorf("%d of %d sweeps missed a host that is not known, and said that they were complete, want at most %d", wrong.Load(), total.Load(), most)
	}
}
