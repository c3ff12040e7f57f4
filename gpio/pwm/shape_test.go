package pwm

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// near tells whether two duties are the same but for rounding.
func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestShape(t *testing.T) {
	t.Parallel()
	motor := Shape{Min: 20, Max: 80, Gamma: 1}
	for _, tc := range []struct {
		name          string
		shape         Shape
		percent, want float64
	}{
		{"nothing set", Shape{}, 35, 0.35},
		{"nothing set, off", Shape{}, 0, 0},
		{"nothing set, full", Shape{}, 100, 1},
		{"less than off", Shape{Min: 20}, -5, 0},
		{"more than full", Shape{Max: 80}, 120, 0.8},
		{"not a number", Shape{Min: 20}, math.NaN(), 0},
		{"infinite", Shape{}, math.Inf(1), 1},
		{"min, off is off", motor, 0, 0},
		{"min, the least", motor, 1e-9, 0.2},
		{"min, half", motor, 50, 0.5},
		{"min, full", motor, 100, 0.8},
		{"gamma 2", Shape{Gamma: 2}, 50, 0.25},
		{"gamma 2.2", Shape{Gamma: 2.2}, 50, 0.217637640824},
		{"gamma of a half", Shape{Gamma: 0.5}, 25, 0.5},
		{"all", Shape{Min: 10, Max: 90, Gamma: 2}, 50, 0.3},
		{"min is max", Shape{Min: 40, Max: 40}, 3, 0.4},
	} {
		if err := tc.shape.Validate(); err != nil {
			t.Errorf("%s: Validate() = %v", tc.name, err)
		}
		if got := tc.shape.Duty(tc.percent); math.Abs(got-tc.want) > 1e-10 {
			t.Errorf("%s: Duty(%v) = %v, want %v", tc.name, tc.percent, got, tc.want)
		}
	}
}

func TestShapeValidate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		shape Shape
		want  string
	}{
		{Shape{Min: -1}, "min -1: must be from 0 to less than 100 percent"},
		{Shape{Min: 100}, "min 100: must be from 0"},
		{Shape{Min: math.NaN()}, "min NaN: must be from 0"},
		{Shape{Max: -1}, "max -1: must be more than 0 and at most 100 percent"},
		{Shape{Max: 101}, "max 101: must be"},
		{Shape{Max: math.NaN()}, "max NaN: must be"},
		{Shape{Min: 50, Max: 40}, "min 50: must not be more than max, which is 40 percent"},
		{Shape{Gamma: -1}, "gamma -1: must be more than 0 and at most 10"},
		{Shape{Gamma: 11}, "gamma 11: must be"},
		{Shape{Gamma: math.Inf(1)}, "gamma +Inf: must be"},
	} {
		if err := tc.shape.Validate(); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%+v.Validate() = %v, want %s…", tc.shape, err, tc.want)
		}
	}
}

// TestShapeProperties: 0 is off, 100 is Max, it never falls, and it stays within 0 and Max.
func TestShapeProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := Shape{Max: rapid.Float64Range(0.1, 100).Draw(t, "max"), Gamma: rapid.Float64Range(0.05, maxGamma).Draw(t, "gamma")}
		s.Min = min(rapid.Float64Range(0, s.Max).Draw(t, "min"), 99.9)
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		if got := s.Duty(0); got != 0 {
			t.Errorf("Duty(0) = %v, want 0", got)
		}
		if got := s.Duty(100); got != s.Max/100 {
			t.Errorf("Duty(100) = %v, want %v", got, s.Max/100)
		}
		a := rapid.Float64Range(-10, 110).Draw(t, "a")
		b := rapid.Float64Range(a, 110).Draw(t, "b")
		low, high := s.Duty(a), s.Duty(b)
		if low > high {
			t.Errorf("Duty(%v) = %v is more than Duty(%v) = %v", a, low, b, high)
		}
		if low < 0 || high > s.Max/100 {
			t.Errorf("Duty(%v) = %v, Duty(%v) = %v, want 0 to %v", a, low, b, high, s.Max/100)
		}
		if a > 0 && low < s.Min/100*(1-1e-12) {
			t.Errorf("Duty(%v) = %v, want at least min %v", a, low, s.Min/100)
		}
	})
}

func TestServo(t *testing.T) {
	t.Parallel()
	wide := Servo{MinPulse: 500 * time.Microsecond, MaxPulse: 2500 * time.Microsecond, MinAngle: -90, MaxAngle: 90}
	back := Servo{MinAngle: 180, MaxAngle: 0}
	for _, tc := range []struct {
		name        string
		servo       Servo
		angle, want float64
	}{
		{"defaults, least", Servo{}, 0, 0.05},
		{"defaults, middle", Servo{}, 90, 0.075},
		{"defaults, most", Servo{}, 180, 0.1},
		{"wide, least", wide, -90, 0.025},
		{"wide, middle", wide, 0, 0.075},
		{"wide, most", wide, 90, 0.125},
		{"the other way, least", back, 0, 0.1},
		{"the other way, quarter", back, 45, 0.0875},
		{"the other way, most", back, 180, 0.05},
		{"digital, 300 Hz", Servo{Period: 4 * time.Millisecond}, 180, 0.5},
	} {
		if got, err := tc.servo.Duty(tc.angle); err != nil || !near(got, tc.want) {
			t.Errorf("%s: Duty(%v) = %v, %v, want %v", tc.name, tc.angle, got, err, tc.want)
		}
	}
}

func TestServoErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		servo Servo
		angle float64
		want  string
	}{
		{Servo{}, -0.1, "angle -0.1: must be from 0 to 180 degrees"},
		{Servo{}, 180.1, "angle 180.1: must be from 0 to 180 degrees"},
		{Servo{MinAngle: 90, MaxAngle: -90}, 91, "angle 91: must be from -90 to 90 degrees"},
		{Servo{}, math.NaN(), "angle NaN: must be from 0 to 180 degrees"},
		{Servo{MinPulse: -1}, 0, "min pulse -1ns: must be more than 0"},
		{Servo{MinPulse: 2 * time.Millisecond}, 0, "min pulse 2ms: must be less than the max pulse, which is 2ms"},
		{Servo{MaxPulse: 21 * time.Millisecond}, 0, "max pulse 21ms: must not be more than the period, which is 20ms"},
		{Servo{Period: -1}, 0, "max pulse 2ms: must not be more than the period, which is -1ns"},
		{Servo{MinAngle: 5, MaxAngle: 5}, 5, "angles 5 to 5: must be two different numbers"},
		{Servo{MaxAngle: math.NaN()}, 5, "angles 0 to NaN: must be two different numbers"},
		{Servo{MaxAngle: math.Inf(1)}, 5, "angles 0 to +Inf: must be two different numbers"},
	} {
		if got, err := tc.servo.Duty(tc.angle); err == nil || err.Error() != tc.want || got != 0 {
			t.Errorf("%+v.Duty(%v) = %v, %v, want 0, %s", tc.servo, tc.angle, got, err, tc.want)
		}
	}
}

// TestServoProperties: the pulse is never out of its limits, and goes one way only.
func TestServoProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		us := func(name string, from, to int) time.Duration {
			return time.Duration(rapid.IntRange(from, to).Draw(t, name)) * time.Microsecond
		}
		s := Servo{MinPulse: us("min", 100, 1500), MaxPulse: us("max", 1501, 3000), Period: us("period", 3000, 30000)}
		s.MinAngle = rapid.Float64Range(-360, 359).Draw(t, "from")
		s.MaxAngle = rapid.Float64Range(s.MinAngle+1, 361).Draw(t, "to")
		a := rapid.Float64Range(s.MinAngle, s.MaxAngle).Draw(t, "a")
		b := rapid.Float64Range(a, s.MaxAngle).Draw(t, "b")
		low, errLow := s.Duty(a)
		high, errHigh := s.Duty(b)
		if errLow != nil || errHigh != nil {
			t.Fatal(errLow, errHigh)
		}
		const rounding = time.Nanosecond
		if low > high || active(low, s.Period) < s.MinPulse-rounding || active(high, s.Period) > s.MaxPulse+rounding {
			t.Errorf("%+v: Duty(%v) = %v, Duty(%v) = %v, want rising and within the pulses", s, a, low, b, high)
		}
	})
}

func TestFade(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	f := Fade{From: 20, To: 80, Start: start, For: 3 * time.Second}
	for _, tc := range []struct {
		after time.Duration
		want  float64
		done  bool
	}{
		{-time.Second, 20, false},
		{0, 20, false},
		{time.Second, 40, false},
		{2 * time.Second, 60, false},
		{3*time.Second - 1, 80, false},
		{3 * time.Second, 80, true},
		{time.Hour, 80, true},
	} {
		if got, done := f.At(start.Add(tc.after)); math.Abs(got-tc.want) > 1e-6 || done != tc.done {
			t.Errorf("At(start + %v) = %v, %v, want %v, %v", tc.after, got, done, tc.want, tc.done)
		}
	}
	if got, done := (Fade{From: 5, To: 7, Start: start}).At(start); got != 7 || !done {
		t.Errorf("a fade of no time: At(start) = %v, %v, want 7, true", got, done)
	}
	for _, bad := range []Fade{{From: math.NaN()}, {To: math.Inf(1)}, {From: math.Inf(1), To: math.Inf(-1)}, {For: -1}} {
		if err := bad.Validate(); err == nil {
			t.Errorf("%+v.Validate() = nil, want an error", bad)
		}
	}
}

// TestFadeProperties: it begins at From, goes one way only, stays between the two, and ends at To exactly.
func TestFadeProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		percent := rapid.Float64Range(0, 100)
		f := Fade{From: percent.Draw(t, "from"), To: percent.Draw(t, "to"), Start: time.Unix(0, 0)}
		f.For = time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "for"))
		if err := f.Validate(); err != nil {
			t.Fatal(err)
		}
		a := rapid.Int64Range(0, int64(f.For)).Draw(t, "a")
		b := rapid.Int64Range(a, int64(f.For)).Draw(t, "b")
		first, _ := f.At(f.Start.Add(time.Duration(a)))
		second, _ := f.At(f.Start.Add(time.Duration(b)))
		for _, v := range []float64{first, second} {
			if v < min(f.From, f.To) || v > max(f.From, f.To) {
				t.Errorf("%+v: value %v is out of its bounds", f, v)
			}
		}
		const rounding = 1e-9
		if (second-first)*(f.To-f.From) < 0 && math.Abs(second-first) > rounding {
			t.Errorf("%+v: goes from %v at %v to %v at %v, which is back", f, first, a, second, b)
		}
		if end, done := f.At(f.Start.Add(f.For)); end != f.To || !done {
			t.Errorf("%+v: ends at %v, %v, want %v, true", f, end, done, f.To)
		}
	})
}
