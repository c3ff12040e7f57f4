package pwm

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"rollcall/gpio"
)

func TestHardware(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	h := k.mustOpen(Options{Period: time.Millisecond, Initial: 0.2})
	k.want("export 1", "pwm1/period 1000000", "pwm1/duty_cycle 200000", "pwm1/enable 1")
	for _, duty := range []float64{0, 1, 1. / 3} {
		if err := h.Set(duty); err != nil {
			t.Fatal(err)
		}
	}
	k.want("pwm1/duty_cycle 0", "pwm1/duty_cycle 1000000", "pwm1/duty_cycle 333333")
	for _, duty := range []float64{-0.1, 1.1, math.NaN()} {
		if err := h.Set(duty); err == nil || !strings.Contains(err.Error(), "set pwmchip0/1: duty") {
			t.Errorf("Set(%v): error %v, want one of the duty", duty, err)
		}
	}
	for range 2 {
		if err := h.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	}
	k.want("pwm1/duty_cycle 0", "pwm1/enable 0", "unexport 1")
	if err := h.Set(0.5); !errors.Is(err, gpio.ErrClosed) {
		t.Errorf("Set after Close: error %v, want ErrClosed", err)
	}
	k.want()
	k.mustOpen(Options{})
	k.want("export 1", "pwm1/period 10000000", "pwm1/duty_cycle 0", "pwm1/enable 1")
}

// TestHardwareInverted: a channel that is inverted stays as it is when it is closed, as low would be active.
func TestHardwareInverted(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	for _, want := range [][]string{
		{"export 1", "pwm1/period 10000000", "pwm1/duty_cycle 5000000", "pwm1/polarity inversed", "pwm1/enable 1"},
		{"pwm1/duty_cycle 5000000"},
	} {
		h := k.mustOpen(Options{Inverted: true, Initial: 0.5})
		k.want(want...)
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		k.want("pwm1/duty_cycle 0")
	}
	k.mustOpen(Options{})
	k.want("pwm1/enable 0", "pwm1/duty_cycle 0", "pwm1/polarity normal", "pwm1/enable 1")
}

func TestHardwareExported(t *testing.T) {
	t.Parallel()
	const period = 10_000_000
	for _, tc := range []struct {
		name string
		from state
		o    Options
		want []string // nil: refused
	}{
		{"never used", state{}, Options{Initial: 0.5}, []string{"pwm1/period 10000000", "pwm1/duty_cycle 5000000", "pwm1/enable 1"}},
		{"disabled", state{period: period, duty: 1}, Options{}, []string{"pwm1/duty_cycle 0", "pwm1/enable 1"}},
		{"at duty 0", state{period: period, enabled: true}, Options{Initial: 1}, []string{"pwm1/duty_cycle 10000000"}},
		{"makes pulses", state{period: period, duty: 1, enabled: true}, Options{}, nil},
		{"is full", state{period: period, duty: period, enabled: true}, Options{}, nil},
		{"our own", state{period: period, duty: 1, enabled: true}, Options{TakeOver: true, Initial: 0.1}, []string{"pwm1/duty_cycle 1000000"}},
		{"our own, slower", state{period: period / 2, duty: 1, enabled: true}, Options{TakeOver: true, Initial: 1},
			[]string{"pwm1/period 10000000", "pwm1/duty_cycle 10000000"}},
		{"our own, faster", state{period: 2 * period, duty: 2 * period, enabled: true}, Options{TakeOver: true, Initial: 0.5},
			[]string{"pwm1/duty_cycle 5000000", "pwm1/period 10000000"}},
		{"our own, faster and inverted", state{period: 2 * period, duty: 2 * period, enabled: true}, Options{TakeOver: true, Inverted: true},
			[]string{"pwm1/enable 0", "pwm1/duty_cycle 0", "pwm1/period 10000000", "pwm1/polarity inversed", "pwm1/enable 1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			k := newKernel(t)
			k.channels[1] = &tc.from
			_, err := k.open(tc.o)
			k.want(tc.want...)
			const refused = "open pwmchip0/1: another program makes pulses with it ("
			if tc.want == nil && (err == nil || !strings.HasPrefix(err.Error(), refused) || !strings.HasSuffix(err.Error(), " of 10ms); "+
				"end that program and then: echo 1 > /sys/class/pwm/pwmchip0/unexport")) {
				t.Errorf("error %v, want %s…", err, refused)
			}
			if tc.want != nil && err != nil {
				t.Error(err)
			}
			if got := k.locked["pwm1"]; got != (err == nil) {
				t.Errorf("locked = %v", got)
			}
		})
	}
}

// TestHardwareProperties: from whatever state, to whatever state, the kernel refuses nothing, and meanwhile the output is never active
// for longer than in one of the two.
func TestHardwareProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		k := newKernel(t)
		from := &state{enabled: rapid.Bool().Draw(rt, "enabled"), inversed: rapid.Bool().Draw(rt, "inversed")}
		from.period = rapid.Uint64Range(k.shortest, 1000).Draw(rt, "period")
		from.duty = rapid.Uint64Range(0, from.period).Draw(rt, "duty")
		k.channels[1] = from
		o := Options{TakeOver: true, Inverted: rapid.Bool().Draw(rt, "inverted"), Initial: rapid.Float64Range(0, 1).Draw(rt, "initial")}
		o.Period = time.Duration(rapid.IntRange(int(k.shortest), 1000).Draw(rt, "new period"))
		part := func(s state) float64 { return float64(s.duty) / float64(s.period) }
		want := state{uint64(o.Period), uint64(active(o.Initial, o.Period)), true, o.Inverted}
		most := max(part(*from), part(want))
		k.refuse = func(path string) error {
			if part(*from) > most {
				rt.Errorf("before the write to %s: %+v is active for longer than %v", path, *from, most)
			}
			return nil
		}
		if _, err := k.open(o); err != nil {
			rt.Error(err)
		}
		if *from != want {
			rt.Errorf("state %+v, want %+v", *from, want)
		}
	})
}

func TestHardwareRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(k *kernel)
		o      Options
		is     error
		want   string
	}{
		{"no such channel", func(k *kernel) { k.npwm = 1 }, Options{}, nil, "open pwmchip0/1: the chip has the channels 0 to 0"},
		{"a driver has it", func(k *kernel) { k.requested[1] = true }, Options{}, syscall.EBUSY,
			"open pwmchip0/1: write 1 to export: device or resource busy (a driver of the kernel uses this channel, for a fan, a backlight or audio)"},
		{"we have it", func(k *kernel) { k.channels[1] = &state{}; k.locked["pwm1"] = true }, Options{TakeOver: true}, errLocked,
			"open pwmchip0/1: another rollcall service, or another output of this one, has this channel"},
		{"period too short", func(*kernel) {}, Options{Period: 19}, syscall.EINVAL,
			"open pwmchip0/1: write 19 to pwm1/period: invalid argument (the chip cannot make this period)"},
		{"no such polarity", func(k *kernel) { k.straight = true }, Options{Inverted: true}, syscall.EINVAL,
			"open pwmchip0/1: write inversed to pwm1/polarity: invalid argument (the chip cannot invert)"},
		{"read-only", func(k *kernel) { k.refuse = func(string) error { return syscall.EROFS } }, Options{}, syscall.EROFS,
			"open pwmchip0/1: write 1 to export: read-only file system (sysfs is read-only here: the service's unit must not set " +
				"ProtectKernelTunables, a container needs /sys writable)"},
		{"period", func(*kernel) {}, Options{Period: -1}, nil, "open pwmchip0/1: period -1ns: must be more than 0"},
		{"duty", func(*kernel) {}, Options{Initial: 2}, nil, "open pwmchip0/1: duty 2: must be from 0 to 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			k := newKernel(t)
			tc.change(k)
			exported, locked := len(k.channels), len(k.locked)
			_, err := k.open(tc.o)
			if err == nil || err.Error() != tc.want || tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("error %v, want %s", err, tc.want)
			}
			if len(k.channels) != exported || len(k.locked) != locked {
				t.Errorf("%d channels exported and %d locked, want %d and %d as before", len(k.channels), len(k.locked), exported, locked)
			}
		})
	}
}

// TestHardwareUdev: the files of the channel come late, and the rights to write them one by one.
func TestHardwareUdev(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, start := newKernel(t), time.Now()
		after := map[string]time.Duration{"pwm1/period": 40 * ms, "pwm1/duty_cycle": 50 * ms, "pwm1/enable": 120 * ms}
		k.late = func() bool { return time.Since(start) < 30*ms }
		k.refuse = func(path string) error {
			if time.Since(start) < after[path] {
				return &os.PathError{Op: "open", Path: path, Err: syscall.EACCES}
			}
			return nil
		}
		k.mustOpen(Options{Initial: 0.5})
		k.want("export 1", "pwm1/period 10000000", "pwm1/duty_cycle 5000000", "pwm1/enable 1")
		if took := time.Since(start); took < 120*ms || took > 120*ms+settleEvery {
			t.Errorf("took %v, want 120ms", took)
		}
	})
}

// TestPrepare: who has prepared a channel need not wait for it, whatever comes of it.
func TestPrepare(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		within       time.Duration // of ctx
		comes, waits time.Duration // the folder; and how long it takes
		file         string        // to which the rights come late
		rights       time.Duration
		exported     bool // before
		opens        bool
	}{
		{"at once", time.Minute, 0, 0, "", 0, false, true},
		{"exported before", time.Minute, 0, 0, "", 0, true, true},
		{"folder and rights late", time.Minute, 30 * ms, 120 * ms, "pwm1/enable", 120 * ms, false, true},
		{"rights never", time.Minute, 0, settleWithin, "pwm1/enable", time.Hour, false, false},
		{"folder never", time.Minute, time.Hour, settleWithin, "", 0, false, false},
		{"nobody waits", 50 * ms, 0, 50 * ms, "pwm1/period", time.Hour, false, false},
		{"no right to export", time.Minute, 0, 0, "export", time.Hour, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				k, start := newKernel(t), time.Now()
				if tt.exported {
					k.channels[1] = &state{}
				}
				k.late = func() bool { return time.Since(start) < tt.comes }
				k.refuse = func(path string) error {
					if path == tt.file && time.Since(start) < tt.rights {
						return &os.PathError{Op: "open", Path: path, Err: syscall.EACCES}
					}
					return nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), tt.within)
				defer cancel()
				undo := prepare(ctx, &hardware{files: k, channel: 1})
				if took := time.Since(start); took < tt.waits || took > tt.waits+settleEvery {
					t.Errorf("took %v, want %v", took, tt.waits)
				}
				opened := time.Now()
				h, err := k.open(Options{Prepared: true})
				if took := time.Since(opened); took != 0 || (err == nil) != tt.opens {
					t.Errorf("open: %v after %v, want it opened at once: %v", err, took, tt.opens)
				}
				before := len(k.channels)
				if err := undo(); err != nil && !k.late() {
					t.Errorf("undo: %v", err)
				}
				if h != nil {
					if len(k.channels) != before {
						t.Error("undo took the channel from who has it")
					}
					if err := h.Close(); err != nil {
						t.Error(err)
					}
				}
				if tt.opens = tt.opens || k.late(); len(k.locked) != 0 || !tt.opens && len(k.channels) != 0 {
					t.Errorf("%d channels left, %d locked", len(k.channels), len(k.locked))
				}
			})
		})
	}
}

// TestHardwareForbidden: rights that never come are an error that says what to do, and leave nothing behind.
func TestHardwareForbidden(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"export", "pwm1/enable"} {
		synctest.Test(t, func(t *testing.T) {
			k, start := newKernel(t), time.Now()
			k.refuse = func(path string) error {
				if path == file {
					return &os.PathError{Op: "open", Path: path, Err: syscall.EACCES}
				}
				return nil
			}
			_, err := k.open(Options{})
			if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "the user must be in the group gpio") {
				t.Errorf("%s: error %v, want one that names the group", file, err)
			}
			if took := time.Since(start); took > settleWithin+settleEvery || len(k.channels) != 0 || len(k.locked) != 0 {
				t.Errorf("%s: took %v, left %d channels exported and %d locked", file, took, len(k.channels), len(k.locked))
			}
		})
	}
}

// TestHardwareGone: somebody takes the channel away from under us.
func TestHardwareGone(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	h := k.mustOpen(Options{})
	delete(k.channels, 1)
	set := h.Set(0.5)
	for verb, err := range map[string]error{"set": set, "close": h.Close()} {
		if !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), verb+" pwmchip0/1: ") ||
			!strings.Contains(err.Error(), "somebody has unexported the channel") {
			t.Errorf("%s: error %v, want one that says that it is gone", verb, err)
		}
	}
	if len(k.locked) != 0 {
		t.Error("still locked after Close")
	}
}

func TestHardwareNoChip(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	const none = "open pwmchip3/0: there is no such chip, and no other: put dtoverlay=pwm-2chan into /boot/firmware/config.txt" +
		" (before Debian 12: /boot/config.txt) and restart"
	if _, err := Hardware(root, 3, 0, Options{}); err == nil || err.Error() != none {
		t.Errorf("no chip: error %v, want %s", err, none)
	}
	for _, chip := range []string{"pwmchip0", "pwmchip2"} {
		if err := os.MkdirAll(filepath.Join(root, classPath, chip), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const others = "open pwmchip3/0: there is no such chip; there are pwmchip0, pwmchip2"
	if _, err := Hardware(root, 3, 0, Options{}); err == nil || err.Error() != others {
		t.Errorf("other chips: error %v, want %s", err, others)
	}
	for _, npwm := range []string{"", "two", "-1"} {
		put(t, filepath.Join(root, classPath, "pwmchip0", "npwm"), []byte(npwm))
		if _, err := Hardware(root, 0, 0, Options{}); err == nil || !strings.Contains(err.Error(), "is not a number of channels") {
			t.Errorf("npwm %q: error %v, want one that says so", npwm, err)
		}
	}
}

// put writes a file and the folders above it.
func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
