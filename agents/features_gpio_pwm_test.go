package agents

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// gpioPWMFeatures are the rows of modulated outputs.
var gpioPWMFeatures = []gpioFeature{
	{"pwm in software", "", func(f *features) {
		f.do("setup", "pwm: {lamp: {pin: 4, period: 20ms, initial: 50, driver: software}}")
		f.wantState("pwm/lamp", "50")
		f.wantLevel(4, 1)
		f.wantLevel(4, 0)
		f.wantLevel(4, 1)
		f.do("set/pwm/lamp", "100")
		f.wantLevel(4, 1)
		f.do("set/pwm/lamp", `{"value":0,"fade":"100ms"}`)
		f.wantState("pwm/lamp", "0")
		f.wantLevel(4, 0)
		f.refuse("set/pwm/lamp", "101", "100")
	}},
	{"servo", "", func(f *features) {
		f.do("setup", "servos: {arm: {pin: 4, initial: 90, driver: software}}")
		f.wantState("servo/arm", "90")
		f.wantLevel(4, 1)
		f.wantLevel(4, 0)
		f.do("set/servo/arm", "180")
		f.wantState("servo/arm", "180")
		f.refuse("set/servo/arm", "181", "180")
	}},
	{"pwm polarity", "", func(f *features) {
		f.do("setup", "pwm: {a: {pin: 4, polarity: inverted, driver: software}, b: {pin: 5, driver: software}}")
		f.wantLevel(4, 1)
		f.wantLevel(5, 0)
		f.do("set/pwm/a", "100")
		f.do("set/pwm/b", "100")
		f.wantLevel(4, 0)
		f.wantLevel(5, 1)
	}},
	{"pwm min, max and gamma", "", func(f *features) {
		f.do("setup", "pwm: {a: {pin: 4, period: 100ms, gamma: 3, driver: software}, b: {pin: 5, period: 100ms, max: 40, driver: software}, c: {pin: 6, period: 100ms, min: 60, driver: software}}")
		f.do("set/pwm/a", "50")
		f.do("set/pwm/b", "100")
		f.do("set/pwm/c", "1")
		for offset, want := range map[int]float64{4: 0.125, 5: 0.4, 6: 0.604} {
			f.await(fmt.Sprintf("line %d to be on for %.3f of the time", offset, want), func() bool { // a busy host looks unevenly
				return math.Abs(f.duty(offset, time.Second)-want) <= 0.15
			})
		}
		f.refuse("setup", "pwm: {a: {pin: 4, min: 60, max: 40, driver: software}}", "setup:1", "min")
	}},
	{"pwm fade", "", func(f *features) {
		f.do("setup", "pwm: {a: {pin: 4, period: 10ms, fade: 1s, driver: software}}")
		start := time.Now()
		f.do("set/pwm/a", "100")
		f.wantState("pwm/a", "100") // where to
		if got := f.duty(4, 400*time.Millisecond); got == 0 || got > 0.6 && time.Since(start) < 600*time.Millisecond {
			f.t.Errorf("while it fades it is on for %.3f of the time, want about 0.2", got)
		}
		f.await("full power", func() bool { return time.Since(start) > 1100*time.Millisecond })
		f.await("full power after the fade", func() bool { return f.duty(4, 100*time.Millisecond) == 1 })
		f.do("set/pwm/a", `{"value":0,"fade":"50ms"}`)
		f.wantLevel(4, 0)
		f.refuse("set/pwm/a", `{"value":0,"fade":"-1s"}`, "fade")
	}},
	{"pwm in hardware", "Linux 6.1 simulates no PWM chip", func(f *features) {
		f.root = gpioPWMChip(f.t, 1)
		f.restart()
		f.do("setup", "pwm: {lamp: {pin: 4, period: 1ms, initial: 20, driver: pwmchip0/0}}")
		want := func(period, duty, enable string) {
			f.t.Helper()
			for name, text := range map[string]string{"period": period, "duty_cycle": duty, "enable": enable} {
				got, err := os.ReadFile(filepath.Join(f.root, "sys/class/pwm/pwmchip0/pwm0", name))
				if err != nil || strings.TrimSpace(string(got)) != text {
					f.t.Errorf("%s is %q, %v, want %s", name, got, err, text)
				}
			}
		}
		want("1000000", "200000", "1")
		f.do("set/pwm/lamp", "35")
		want("1000000", "350000", "1")
		f.wantState("pwm/lamp", "35")
		f.refuse("setup", "pwm: {lamp: {pin: 4, driver: pwmchip0/1}}", "pwmchip0/1", "0 to 0")
		f.refuse("setup", "pwm: {lamp: {pin: 4, driver: hardware}}", "setup:1", "hardware")
		f.stop()
		want("1000000", "0", "0")
	}},
}
