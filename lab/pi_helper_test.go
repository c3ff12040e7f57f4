package lab

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"rollcall/lab/uml/sim"
)

// What the benchmarks of gpio run inside of a virtual Pi, beside udpmon and agentd: the clock, the trace of the lines, the broker
// and the client are all there, so no measurement crosses to the host.

var (
	piRole = flag.String("pi-role", "", "latency, publish, count or pwm; for TestPiHelper alone")
	piFor  = flag.Duration("pi-for", 10*time.Second, "how long to count or to watch")
	piRate = flag.Int("pi-rate", 1000, "edges a second, on all inputs together")
)

// What the Pi of the benchmarks has on its lines.
const (
	piBroker = "tcp://127.0.0.1:1883"
	ledLine  = 17
	doorLine = 22
	fanLine  = 18
	counters = 8 // in0 to in7 on the lines 0 to 7
)

// TestPiHelper is no test: it is the program that benchmarks run in a virtual Pi.
func TestPiHelper(t *testing.T) {
	if *piRole == "" {
		t.Skip("run by benchmarks as a program")
	}
	bank, err := sim.Open(sim.Label)
	if err != nil {
		t.Fatal(err)
	}
	switch *piRole {
	case "latency":
		measureLatency(t, bank)
	case "publish":
		publish(t)
	case "count":
		generate(t, bank)
	case "pwm":
		watchPWM(t, bank)
	}
}

// generate makes edges on the counters' lines, one line after the other, evenly in time, and prints how many were rising on each.
// What is late is made up for at once.
func generate(t *testing.T, bank *sim.Bank) {
	var rising [counters]int
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	start, made := sim.Now(), 0
	for total := int(piFor.Seconds() * float64(*piRate)); made < total; <-tick.C {
		for due := min(total, int((sim.Now()-start).Seconds()*float64(*piRate))); made < due; made++ {
			line, high := made%counters, made/counters%2 == 0
			if err := bank.Pull(line, high); err != nil {
				t.Fatal(err)
			}
			if high {
				rising[line]++
			}
		}
	}
	fmt.Printf("made %d in %d", made, (sim.Now() - start).Nanoseconds())
	for _, n := range rising {
		fmt.Printf(" %d", n)
	}
	fmt.Println()
}

// watchPWM prints the edges of the fan's line as the kernel made them: nanoseconds and level.
func watchPWM(t *testing.T, bank *sim.Bank) {
	trace, err := bank.Trace(fanLine)
	if err != nil {
		t.Fatal(err)
	}
	defer trace.Close()
	var all []sim.Set
	again := time.NewTicker(500 * time.Millisecond) // the trace holds the edges of minutes; reading them seldom disturbs nothing
	defer again.Stop()
	for start := sim.Now(); sim.Now()-start < *piFor; {
		<-again.C
		sets, err := trace.Drain()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sets...)
	}
	var b bytes.Buffer
	for _, s := range all {
		b.WriteString("edge " + strconv.FormatInt(s.At.Nanoseconds(), 10) + " " + strconv.FormatBool(s.High) + "\n")
	}
	if _, err := os.Stdout.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
}
