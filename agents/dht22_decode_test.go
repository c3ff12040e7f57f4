package agents

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/gpio"
)

// dht22Line are the parts of an answer as the datasheets have them: levels by turns, beginning with the high one after the master
// has let go, ending with the low one before the sensor does.
func dht22Line(frame [5]byte) []time.Duration {
	const us = time.Microsecond
	parts := []time.Duration{30 * us, 80 * us, 80 * us}
	for i := range dht22Bits {
		high := 26 * us
		if frame[i/8]&(0x80>>(i%8)) != 0 {
			high = 70 * us
		}
		parts = append(parts, 50*us, high)
	}
	return append(parts, 50*us)
}

// dht22Edged makes the edges of the parts, which begin with the line being let go.
func dht22Edged(parts []time.Duration) []gpio.Event {
	at := 1000 * time.Second
	edges := []gpio.Event{{Rising: true, Time: at, Seq: 1}}
	for i, p := range parts {
		at += p
		edges = append(edges, gpio.Event{Rising: i%2 == 1, Time: at, Seq: uint32(i + 2)})
	}
	return edges
}

// dht22Framed fills in the sum.
func dht22Framed(b0, b1, b2, b3 byte) [5]byte { return [5]byte{b0, b1, b2, b3, b0 + b1 + b2 + b3} }

// dht22Values are worked examples: those of the AM2302's and the DHT11's datasheets, and the ends of their ranges.
func dht22Values() []dht22Example {
	return []dht22Example{
		{"manual, 65.2 % 35.1 °C", dht22Model22, [5]byte{0x02, 0x8c, 0x01, 0x5f, 0xee}, dht22Value{35.1, 65.2}, ""},
		{"manual, −10.1 °C", dht22Model2302, dht22Framed(0x02, 0x8c, 0x80, 0x65), dht22Value{-10.1, 65.2}, ""},
		{"least", dht22Model22, dht22Framed(0x00, 0x01, 0x81, 0x90), dht22Value{-40, 0.1}, ""},
		{"most", dht22Model22, dht22Framed(0x03, 0xe8, 0x03, 0x20), dht22Value{80, 100}, ""},
		{"minus zero", dht22Model22, dht22Framed(0x01, 0xf4, 0x80, 0x00), dht22Value{0, 50}, ""},
		{"one tenth below zero", dht22Model22, dht22Framed(0x01, 0xf4, 0x80, 0x01), dht22Value{-0.1, 50}, ""},
		{"too hot", dht22Model22, dht22Framed(0x01, 0xf4, 0x03, 0x21), dht22Value{}, "80.1 °C, which a dht22 can't measure"},
		{"too cold", dht22Model22, dht22Framed(0x01, 0xf4, 0x81, 0x91), dht22Value{}, "-40.1 °C"},
		{"too wet", dht22Model22, dht22Framed(0x03, 0xe9, 0x00, 0xc8), dht22Value{}, "100.1 % of humidity"},
		{"two's complement", dht22Model22, dht22Framed(0x01, 0xf4, 0xff, 0x9b), dht22Value{}, "can't measure"},
		{"nothing", dht22Model22, [5]byte{}, dht22Value{}, "all bits are 0"},
		{"manual of the DHT11, 53 % 24.4 °C", dht22Model11, [5]byte{0x35, 0x00, 0x18, 0x04, 0x51}, dht22Value{24.4, 53}, ""},
		{"manual of the DHT11, −10.1 °C", dht22Model11, dht22Framed(0x35, 0x00, 0x0a, 0x81), dht22Value{-10.1, 53}, ""},
		{"DHT11 of the first kind", dht22Model11, dht22Framed(45, 0, 21, 0), dht22Value{21, 45}, ""},
		{"DHT22 taken for a DHT11", dht22Model11, dht22Framed(0x02, 0x8c, 0x01, 0x5f), dht22Value{}, "is it a dht22"},
		{"DHT11 taken for a DHT22", dht22Model22, dht22Framed(45, 0, 21, 0), dht22Value{}, "can't measure"},
	}
}

type dht22Example struct {
	name, model string
	frame       [5]byte
	value       dht22Value
	fault       string
}

func TestDHT22Convert(t *testing.T) {
	t.Parallel()
	for _, test := range dht22Values() {
		frame, _, err := dht22Decode(dht22Edged(dht22Line(test.frame)))
		if err != nil || frame != test.frame {
			t.Errorf("%s: decoded % x, %v, want % x", test.name, frame, err, test.frame)
		}
		got, err := dht22Convert(test.model, frame)
		if test.fault != "" {
			if !errors.Is(err, errDHT22Read) || !strings.Contains(err.Error(), test.fault) {
				t.Errorf("%s: error %v, want %q in it", test.name, err, test.fault)
			}
			continue
		}
		if err != nil || got != test.value || math.Signbit(got.celsius) != (test.value.celsius < 0) {
			t.Errorf("%s: %+v, %v, want %+v", test.name, got, err, test.value)
		}
	}
}

// TestDHT22Start lets the first edges be missing, as many as there are before the start of the first bit.
func TestDHT22Start(t *testing.T) {
	t.Parallel()
	want := [5]byte{0x02, 0x8c, 0x01, 0x5f, 0xee}
	edges := dht22Edged(dht22Line(want))
	if len(edges) != 85 {
		t.Fatalf("%d edges, want 85", len(edges))
	}
	for missing := range 4 {
		for _, end := range []int{85, 84} { // with and without the last, by which the sensor lets go
			if got, _, err := dht22Decode(edges[missing:end]); err != nil || got != want {
				t.Errorf("edges %d to %d: % x, %v, want % x", missing, end, got, err, want)
			}
		}
	}
	for missing := 4; missing < len(edges); missing++ {
		if got, _, err := dht22Decode(edges[missing:]); !errors.Is(err, errDHT22Read) {
			t.Errorf("without the first %d edges: % x, %v, want an error", missing, got, err)
		}
	}
	for last := range 84 { // cut off, which must not shift the bits
		if got, _, err := dht22Decode(edges[:last]); !errors.Is(err, errDHT22Read) {
			t.Errorf("the first %d edges: % x, %v, want an error", last, got, err)
		}
	}
	noise := append(slices.Clone(edges), gpio.Event{Time: edges[84].Time + 40*time.Microsecond}, gpio.Event{Rising: true, Time: edges[84].Time + 90*time.Microsecond})
	if got, _, err := dht22Decode(noise); err == nil {
		t.Errorf("with a pulse too many: % x, want an error", got)
	}
}

// TestDHT22LostEdge loses each edge in turn. No other value may come of it, and where the edges on both sides are there, the right one.
func TestDHT22LostEdge(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		want := dht22Random(random)
		edges := dht22Edged(dht22Line(want))
		for lost := range edges {
			got, _, err := dht22Decode(slices.Delete(slices.Clone(edges), lost, lost+1))
			if (err == nil && got != want) || (err != nil && lost != 3 || err == nil && lost == 3) {
				t.Fatalf("% x without edge %d: % x, %v", want, lost, got, err)
			}
		}
		for first := range edges { // a pulse that was too short to be seen at all
			if got, _, err := dht22Decode(slices.Delete(slices.Clone(edges), first, min(first+2, len(edges)))); err == nil && got != want {
				t.Fatalf("% x without edges %d and the next: % x", want, first, got)
			}
		}
	}
}

// TestDHT22WrongKind has the kernel tell edges in the middle as the other kind, since it looks when the pulse is over.
func TestDHT22WrongKind(t *testing.T) {
	t.Parallel()
	want := [5]byte{0x02, 0x8c, 0x01, 0x5f, 0xee}
	for _, wrong := range []int{4, 20, 21, 50, 82} {
		edges := dht22Edged(dht22Line(want))
		edges[wrong].Rising = !edges[wrong].Rising
		if got, _, err := dht22Decode(edges); err != nil || got != want {
			t.Errorf("edge %d told wrong: % x, %v, want % x", wrong, got, err, want)
		}
	}
}

// TestDHT22LateEdge tells each edge late by up to 60 µs. That alone must never make a bit wrong, whatever the checksum would say.
func TestDHT22LateEdge(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		want := dht22Random(random)
		edges := dht22Edged(dht22Line(want))
		for i := range len(edges) - 1 {
			for late := 5 * time.Microsecond; late <= 60*time.Microsecond; late += 5 * time.Microsecond {
				at := edges[i].Time
				edges[i].Time += late
				got, _, err := dht22Decode(edges)
				if edges[i].Time = at; err == nil && got != want || err != nil && late <= 20*time.Microsecond {
					t.Fatalf("% x with edge %d %v late: % x, %v", want, i, late, got, err)
				}
				if err != nil && strings.Contains(err.Error(), "checksum") {
					t.Fatalf("% x with edge %d %v late: %v, want it found by its length", want, i, late, err)
				}
			}
		}
	}
}

func TestDHT22StretchedBit(t *testing.T) {
	t.Parallel()
	for stretched, fine := range map[time.Duration]bool{ // a 0 in the first byte
		16: true, 22: true, 36: true, 15: false, 37: false, 49: false, 59: false, 70: false, 95: false, 200: false, 4: false,
	} {
		parts := dht22Line([5]byte{0x02, 0x8c, 0x01, 0x5f, 0xee})
		parts[4] = stretched * time.Microsecond
		if got, _, err := dht22Decode(dht22Edged(parts)); (err == nil) != fine {
			t.Errorf("a 0 of %d µs: % x, %v, want accepted %t", stretched, got, err, fine)
		}
	}
}

// dht22Random returns a frame that a DHT22 may send.
func dht22Random(r *rand.Rand) [5]byte {
	humidity, celsius := r.IntN(1000)+1, r.IntN(1201)-400
	sign := 0
	if celsius < 0 {
		sign, celsius = 0x80, -celsius
	}
	return dht22Framed(byte(humidity>>8), byte(humidity), byte(celsius>>8|sign), byte(celsius))
}

func TestDHT22DewPoint(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		v    dht22Value
		want float64
	}{ // of the tables that every formula agrees with to a tenth
		{dht22Value{20, 100}, 20}, {dht22Value{25, 50}, 13.9}, {dht22Value{20, 50}, 9.3}, {dht22Value{30, 80}, 26.2},
		{dht22Value{0, 100}, 0}, {dht22Value{-10, 70}, -14.4},
	} {
		if got, err := dht22DewPoint(test.v); err != nil || math.Abs(got-test.want) > 0.051 {
			t.Errorf("dew point of %+v = %v, %v, want %v", test.v, got, err, test.want)
		}
	}
	if _, err := dht22DewPoint(dht22Value{20, 0}); err == nil {
		t.Error("dry air has a dew point")
	}
}

func FuzzDHT22Decode(f *testing.F) {
	for _, e := range dht22Values() {
		var seed []byte
		for _, p := range dht22Line(e.frame) {
			seed = append(seed, byte(p/time.Microsecond))
		}
		f.Add(seed)
		f.Add(seed[3:])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, doc []byte) {
		at := time.Duration(0)
		var edges []gpio.Event
		for i, b := range doc[:min(len(doc), gpio.EventBuffer)] {
			at += time.Duration(b) * time.Microsecond
			edges = append(edges, gpio.Event{Rising: (i%2 == 0) != (b%32 == 31), Time: at})
		}
		frame, _, err := dht22Decode(edges)
		if err != nil {
			if !errors.Is(err, errDHT22Read) {
				t.Errorf("error %v is none of a read", err)
			}
			return
		}
		for _, model := range []string{dht22Model11, dht22Model22, dht22Model2302} {
			if v, err := dht22Convert(model, frame); err == nil && v.check(model) != nil {
				t.Errorf("% x is %+v, out of range", frame, v)
			}
		}
	})
}
