package agents

import (
	"errors"
	"fmt"
	"math"
	"time"

	"rollcall/gpio"
)

// What a DHT sensor sends, as the edges of its line, made into values. All of this is pure.
//
// The master holds the line low and lets it go. After 20–200 µs the sensor answers: 80 µs low and 80 µs high, then 40 bits, each 50 µs
// low and then high for 26 µs (0) or 70 µs (1), then 50 µs low. With the master letting go that is 85 edges. The last 80 before
// the end are those of the bits, so that edges at the start may be missing: a program is often late to look for them. (Aosong,
// AM2302 product manual, table 6; drivers/iio/humidity/dht11.c of Linux.)

// errDHT22Read is what every error of a read is that the next one may cure: interrupts come late, and sensors now and then do not
// answer.
var errDHT22Read = errors.New("bad read of the sensor")

const (
	dht22Bits     = 40
	dht22MostLead = 4 // edges before the first bit's rising one: let go, answer low, high, first bit low
)

// How long the parts of a bit may be. A high part counts as 1 from where the kernel's driver sets its threshold (DHT11_THRESHOLD,
// for 22–30 µs and 68–75 µs). The bounds of the low part, 50 µs, are such that no edge which is told late can make a bit wrong:
// it takes more than 20 µs, and what is added to the high part is taken from the low one.
const (
	dht22LowLeast  = 30 * time.Microsecond
	dht22LowMost   = 70 * time.Microsecond
	dht22HighLeast = 5 * time.Microsecond
	dht22One       = 49 * time.Microsecond
	dht22HighMost  = 95 * time.Microsecond
)

// What a high part is meant to be, and how far it may be from that. One that is farther counts only if its neighbours make up for
// it, as those of an edge do that was told late: a pulse that is neither 0 nor 1 on the line is refused with its frame.
const (
	dht22HighZero = 26 * time.Microsecond
	dht22HighOne  = 70 * time.Microsecond
	dht22LowTrue  = 50 * time.Microsecond
	dht22Jitter   = 10 * time.Microsecond
	dht22Doubt    = 5 * time.Microsecond // from here on a high part is not what the data sheets promise (22–30, 68–75 µs)
)

// A whole bit from falling to falling, or from rising to rising edge, is 76 µs or 120 µs. It is what remains of a bit of which one
// edge was lost.
const (
	dht22PeriodLeast = 60 * time.Microsecond
	dht22PeriodOne   = 98 * time.Microsecond
	dht22PeriodMost  = 140 * time.Microsecond
)

// dht22Mark is an edge, or where one was lost.
type dht22Mark struct {
	rising, lost bool
	at           time.Duration
}

// dht22Decode returns the five bytes that the edges say, the last of which is right as the sum of the others. They are in doubt if an
// edge was lost, or a bit is longer or shorter than a sensor makes it: then they may be those of another frame.
func dht22Decode(edges []gpio.Event) (frame [5]byte, doubt bool, err error) {
	marks, err := dht22Marks(edges)
	if err != nil {
		return frame, false, err
	}
	end := len(marks)
	released := end > 0 && marks[end-1].rising
	if released {
		end--
	}
	first := end - 2*dht22Bits
	switch {
	case first < 1:
		return frame, false, fmt.Errorf("%w: %d edges of a sensor's answer came, at least %d are needed", errDHT22Read, len(edges), 2*dht22Bits+1)
	case first > dht22MostLead:
		return frame, false, fmt.Errorf("%w: %d edges came, which are too many for a sensor's answer", errDHT22Read, len(edges))
	case marks[first-1].lost:
		return frame, false, fmt.Errorf("%w: the start of the first bit is missing", errDHT22Read)
	}
	for i := range dht22Bits {
		one, off, err := dht22Bit(marks, first+2*i)
		if err != nil {
			return frame, false, fmt.Errorf("%w: bit %d of %d: %w", errDHT22Read, i+1, dht22Bits, err)
		}
		doubt = doubt || off > dht22Doubt
		frame[i/8] <<= 1
		if one {
			frame[i/8] |= 1
		}
	}
	if released {
		if err := dht22Low(marks[end-1], marks[end]); err != nil { // what belongs to the last bit
			return frame, false, fmt.Errorf("%w: after the last bit: %w", errDHT22Read, err)
		}
	}
	if sum := frame[0] + frame[1] + frame[2] + frame[3]; sum != frame[4] {
		return frame, false, fmt.Errorf("%w: checksum %#02x, but the sum is %#02x", errDHT22Read, frame[4], sum)
	}
	return frame, doubt, nil
}

// dht22Marks puts right what the kernel tells wrong, and notes where an edge must have been lost, which may be one: with two the
// bits might be shifted.
func dht22Marks(edges []gpio.Event) ([]dht22Mark, error) {
	told := make([]dht22Mark, len(edges))
	for i, e := range edges {
		told[i] = dht22Mark{rising: e.Rising, at: e.Time}
	}
	// The kernel looks which edge it was only after the interrupt (edge_irq_thread in drivers/gpio/gpiolib-cdev.c), when a short
	// pulse may be over. Three of a kind within one bit: that in the middle is the other one.
	for i := 1; i+1 < len(told); i++ {
		same := told[i-1].rising == told[i].rising && told[i].rising == told[i+1].rising
		if same && told[i+1].at-told[i-1].at < dht22PeriodMost {
			told[i].rising = !told[i].rising
		}
	}
	marks := make([]dht22Mark, 0, len(told)+1)
	for i, m := range told {
		if i > 0 && m.rising == told[i-1].rising {
			if len(marks) > i {
				return nil, fmt.Errorf("%w: more than one edge was lost", errDHT22Read)
			}
			marks = append(marks, dht22Mark{rising: !m.rising, lost: true})
		}
		marks = append(marks, m)
	}
	return marks, nil
}

// dht22Bit decides the bit whose high part begins at marks[i], and says how far that is from what it is meant to be. There is a mark
// before.
func dht22Bit(marks []dht22Mark, i int) (one bool, off time.Duration, err error) {
	before, rise, fall := marks[i-1], marks[i], marks[i+1]
	switch {
	case rise.lost:
		one, err = dht22Period(fall.at - before.at)
		return one, dht22HighMost, err
	case fall.lost:
		one, err = dht22Period(marks[i+2].at - rise.at) // only between two edges one is known to be lost
		return one, dht22HighMost, err
	}
	if err := dht22Low(before, rise); err != nil {
		return false, 0, err
	}
	high := fall.at - rise.at
	if high < dht22HighLeast || high > dht22HighMost {
		return false, 0, fmt.Errorf("high for %v, not %v to %v", high, dht22HighLeast, dht22HighMost)
	}
	one, off = high > dht22One, (high - dht22HighZero).Abs()
	if one {
		off = (high - dht22HighOne).Abs()
	}
	return one, off, dht22Plausible(marks, i, one)
}

// dht22Plausible refuses the high part that begins at marks[i], if it is too far from what its bit is on the wire. An edge that was
// told late has taken from one part what it has given to the other; which of the two edges was, or both, can't be known.
func dht22Plausible(marks []dht22Mark, i int, one bool) error {
	want := dht22HighZero
	if one {
		want = dht22HighOne
	}
	off := marks[i+1].at - marks[i].at - want
	late := []time.Duration{0}
	if !marks[i-1].lost {
		late = append(late, marks[i].at-marks[i-1].at-dht22LowTrue) // the rising edge
	}
	if i+2 < len(marks) && !marks[i+2].lost {
		after := marks[i+2].at - marks[i+1].at - dht22LowTrue // the falling edge
		for _, before := range late[:len(late):len(late)] {
			late = append(late, before+after)
		}
	}
	for _, made := range late {
		if (off + made).Abs() <= dht22Jitter {
			return nil
		}
	}
	return fmt.Errorf("high for %v, which is neither %v nor %v", off+want, dht22HighZero, dht22HighOne)
}

// dht22Low checks the low part of a bit, if its start is known.
func dht22Low(fall, rise dht22Mark) error {
	if low := rise.at - fall.at; !fall.lost && (low < dht22LowLeast || low > dht22LowMost) {
		return fmt.Errorf("low for %v, not %v to %v", low, dht22LowLeast, dht22LowMost)
	}
	return nil
}

// dht22Period decides a bit by how long all of it is.
func dht22Period(d time.Duration) (one bool, err error) {
	if d < dht22PeriodLeast || d > dht22PeriodMost {
		return false, fmt.Errorf("an edge was lost, and %v are not one bit", d)
	}
	return d > dht22PeriodOne, nil
}

// dht22Value is what a sensor measures.
type dht22Value struct{ celsius, percent float64 }

// dht22Limits are what a model can measure, and by how much two reads of the same air differ (repeatability).
type dht22Limits struct{ celsiusLeast, celsiusMost, celsiusNoise float64 }

// The models. An AM2302 is a DHT22 with a cable.
const (
	dht22Model11   = "dht11"
	dht22Model22   = "dht22"
	dht22Model2302 = "am2302"
)

// dht22LimitsOf returns the range of a model (Aosong: DHT11 v1.3 −20–60 °C ± 1 °C, AM2302 −40–80 °C ± 0.2 °C). Humidity is 0–100 % ± 1 %
// for all.
func dht22LimitsOf(model string) dht22Limits {
	if model == dht22Model11 {
		return dht22Limits{-20, 60, 1 + dht22Exact}
	}
	return dht22Limits{-40, 80, 0.2 + dht22Exact}
}

// dht22Convert makes values of a frame whose checksum is right. A DHT22 sends tenths as 16 bits each, the temperature with a sign
// bit, not as two's complement: 02 8c 01 5f ee is 65.2 %, 35.1 °C. A DHT11 sends whole numbers and tenths, with the sign in the
// highest bit of the temperature's tenths.
func dht22Convert(model string, f [5]byte) (dht22Value, error) {
	if f == [5]byte{} {
		return dht22Value{}, fmt.Errorf("%w: all bits are 0, which is a line held low", errDHT22Read)
	}
	var v dht22Value
	negative := false
	if model == dht22Model11 {
		if f[1] > 9 || f[3]&0x7f > 9 {
			return v, fmt.Errorf("%w: %d and %d are no tenths: is it a dht22?", errDHT22Read, f[1], f[3]&0x7f)
		}
		v = dht22Value{float64(f[2]) + float64(f[3]&0x7f)/10, float64(f[0]) + float64(f[1])/10}
		negative = f[3]&0x80 != 0
	} else {
		v = dht22Value{float64(int(f[2]&0x7f)<<8|int(f[3])) / 10, float64(int(f[0])<<8|int(f[1])) / 10}
		negative = f[2]&0x80 != 0
	}
	if negative && v.celsius != 0 {
		v.celsius = -v.celsius
	}
	return v, v.check(model)
}

// check refuses what the model can't measure.
func (v dht22Value) check(model string) error {
	l := dht22LimitsOf(model)
	switch {
	case !(v.celsius >= l.celsiusLeast && v.celsius <= l.celsiusMost):
		return fmt.Errorf("%w: %.1f °C, which a %s can't measure", errDHT22Read, v.celsius, model)
	case !(v.percent >= 0 && v.percent <= 100):
		return fmt.Errorf("%w: %.1f %% of humidity", errDHT22Read, v.percent)
	}
	return nil
}

// How far two reads may be apart to be the same, but for noise, and how far not to be far from each other.
const (
	dht22Exact        = 0.01 // since tenths are not exact
	dht22PercentNoise = 1 + dht22Exact
	dht22CelsiusStep  = 5
	dht22PercentStep  = 20
)

// near reports whether two reads are no farther from each other.
func (v dht22Value) near(other dht22Value, celsius, percent float64) bool {
	return math.Abs(v.celsius-other.celsius) <= celsius && math.Abs(v.percent-other.percent) <= percent
}

// The constants of the Magnus formula over water, −45 to 60 °C (D. Sonntag, Zeitschrift für Meteorologie 40, 1990; WMO-No. 8,
// annex 4.B).
const (
	dht22MagnusB = 17.62
	dht22MagnusC = 243.12 // °C
)

// dht22DewPoint returns the temperature to which the air must cool for water to condense, in tenths of °C.
func dht22DewPoint(v dht22Value) (float64, error) {
	if v.percent <= 0 {
		return 0, errors.New("perfectly dry air has no dew point")
	}
	g := math.Log(v.percent/100) + dht22MagnusB*v.celsius/(dht22MagnusC+v.celsius)
	return math.Round(dht22MagnusC*g/(dht22MagnusB-g)*10)/10 + 0, nil // + 0 makes 0 of -0
}
