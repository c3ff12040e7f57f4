package agents

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"rollcall/gpio"
)

// dht22Collisions reckons with how many of all ways to turn n bits of the frame the checksum is right all the same.
func dht22Collisions(frame [5]byte, n int) (collisions, ways int) {
	var turn func(f [5]byte, from, left int)
	turn = func(f [5]byte, from, left int) {
		if left == 0 {
			ways++
			if f[0]+f[1]+f[2]+f[3] == f[4] {
				collisions++
			}
			return
		}
		for bit := from; bit <= dht22Bits-left; bit++ {
			g := f
			g[bit/8] ^= 0x80 >> (bit % 8)
			turn(g, bit+1, left-1)
		}
	}
	turn(frame, 0, n)
	return collisions, ways
}

// TestDHT22Corrupted is the proof that issue 4 asks for: 10,000 random frames with 0 to 3 pulses that are wrong. All clean ones are
// decoded. A wrong value comes only of pulses that make the bits of another frame whose checksum is right, and not more often than
// reckoned from all ways to turn that many bits of these frames.
func TestDHT22Corrupted(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(2026, 4))
	var frames, accepted, wrong, believed [4]int
	var reckoned [4]float64
	for i := range 10_000 {
		n := i % 4
		want := dht22Random(random)
		parts, turned := dht22Line(want), want
		for _, bit := range random.Perm(dht22Bits)[:n] { // each to the other length, the worst there is
			part := &parts[4+2*bit]
			*part = 96*time.Microsecond - *part
			turned[bit/8] ^= 0x80 >> (bit % 8)
		}
		got, _, err := dht22Decode(dht22Edged(parts))
		sum := turned[0]+turned[1]+turned[2]+turned[3] == turned[4]
		if (err == nil) != sum || err == nil && got != turned {
			t.Fatalf("% x sent as % x: % x, %v", want, turned, got, err)
		}
		frames[n]++
		if n > 0 && i%100 < 4 {
			collisions, ways := dht22Collisions(want, n)
			reckoned[n] += float64(collisions) / float64(ways) / 100
		}
		if err != nil {
			continue
		}
		accepted[n]++
		if got != want {
			wrong[n]++
			before, _ := dht22Convert(dht22Model22, want)
			if v, err := dht22Convert(dht22Model22, got); err == nil && v.near(before, dht22LimitsOf(dht22Model22).celsiusNoise, dht22PercentNoise) {
				believed[n]++
			}
		}
	}
	for n := range frames {
		rate := float64(wrong[n]) / float64(frames[n])
		allowed := reckoned[n] + 4*math.Sqrt(reckoned[n]*(1-reckoned[n])/float64(frames[n])) // four standard deviations
		if rate > allowed {
			t.Errorf("%d wrong pulses: %.4f of the frames gave a wrong value, reckoned are %.4f", n, rate, reckoned[n])
		}
		t.Logf("%d wrong pulses: %d of %d frames accepted, %d wrong (%.2f %%, reckoned %.2f %%), %d of these in range and as the value before, but for noise",
			n, accepted[n], frames[n], wrong[n], 100*rate, 100*reckoned[n], believed[n])
	}
	if accepted[0] != frames[0] || wrong[0]+wrong[1] > 0 {
		t.Errorf("of clean frames %d of %d were accepted, and %d with one wrong bit, want all and none", accepted[0], frames[0], wrong[1])
	}
}

// TestDHT22Noise wrecks 10,000 frames as lines do: pulses of any length, edges late, lost, or too many. What is accepted all the
// same must be the bits whose lengths are on the line.
func TestDHT22Noise(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6))
	wrong, refused, clean := 0, 0, 0
	for i := range 10_000 {
		want := dht22Random(random)
		parts := dht22Line(want)
		lengths := 0
		edit := func(edges []gpio.Event) []gpio.Event { return edges }
		for range i % 4 {
			at := 2 + random.IntN(82)
			switch random.IntN(4) {
			case 0:
				parts[at] = time.Duration(random.IntN(130_000)) // ns
				lengths++
			case 1:
				before, late := edit, time.Duration(random.IntN(40_000))
				edit = func(e []gpio.Event) []gpio.Event { e = before(e); e[at%len(e)].Time += late; return e }
			case 2:
				before := edit
				edit = func(e []gpio.Event) []gpio.Event { return slices.Delete(before(e), at%80, at%80+1) }
			case 3:
				before, n := edit, 5+time.Duration(random.IntN(20))
				edit = func(e []gpio.Event) []gpio.Event {
					e = before(e)
					p := e[at%80]
					return slices.Insert(e, at%80+1, gpio.Event{Rising: !p.Rising, Time: p.Time + n*time.Microsecond}, gpio.Event{Rising: p.Rising, Time: p.Time + (n+4)*time.Microsecond})
				}
			}
		}
		got, _, err := dht22Decode(edit(dht22Edged(parts)))
		switch {
		case err != nil:
			refused++
			if i%4 == 0 {
				t.Fatalf("a clean frame: %v", err)
			}
		case got == want:
			clean++
		default:
			wrong++
			if lengths < 1 {
				t.Errorf("% x made % x, though no pulse has another length", want, got)
			}
		}
	}
	t.Logf("%d right, %d refused, %d wrong", clean, refused, wrong)
	if most := 10; wrong > most {
		t.Errorf("%d of 10,000 are wrong, want at most %d", wrong, most)
	}
}

// TestDHT22Timing is the proof that issue 4 asks for, with what is wrong on a line: 10,000 random frames of which 0 to 3 pulses have
// any length at all from 0 to 130 µs. Clean ones are published, the first of them a read later. Of the others none is that has another
// value, as far as two reads of the same air are alike, and not even such a one as the first value.
func TestDHT22Timing(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(4, 2026))
	limits := dht22LimitsOf(dht22Model22)
	decoded, flips, noise, clean := 0, 0, 0, 0
	for i := range 10_000 {
		want := dht22Random(random)
		parts := dht22Line(want)
		for range i % 4 {
			parts[3+random.IntN(2*dht22Bits)] = time.Duration(random.IntN(130_000))
		}
		is, _ := dht22Convert(dht22Model22, want) // which it can measure
		frame, doubt, err := dht22Decode(dht22Edged(parts))
		var says dht22Value
		if err == nil {
			says, err = dht22Convert(dht22Model22, frame)
			decoded++
		}
		flip := err == nil && frame != want
		if flip {
			flips++
		}
		bad := dht22Says{says, doubt, err, nil}
		good := dht22Says{value: is}
		for name, reads := range map[string][]dht22Says{"as the first": {bad, good, good}, "after others": {good, good, bad, good}, "after one": {good, bad, good, good}} {
			driver := &dht22Says{}
			now := time.Unix(1_800_000_000, 0)
			a := dht22With(dht22Options{Model: dht22Model22}, driver, func() time.Time { return now })
			for n, read := range reads {
				*driver = read
				now = now.Add(2 * time.Second)
				a.measure(t.Context())
				if a.err != nil {
					if i%4 == 0 && n > 0 || n == len(reads)-1 {
						t.Fatalf("%s: a clean frame: %v", name, a.err)
					}
					continue
				}
				if a.belief.value != is {
					noise++
				}
				if !a.belief.value.near(is, limits.celsiusNoise, dht22PercentNoise) {
					t.Errorf("%s: % x was published as % x, %+v", name, want, frame, a.belief.value)
				}
			}
		}
		if i%4 == 0 {
			clean++
		}
	}
	t.Logf("%d clean ones were published; of the others %d were decoded, %d as another value; published were %d, no farther than the sensor's noise",
		clean, decoded-clean, flips, noise)
}
