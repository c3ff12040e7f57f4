package gpiotest_test

import (
	"testing"

	"go.uber.org/goleak"

	"rollcall/gpio"
	"rollcall/gpio/chiptest"
	"rollcall/gpio/gpiotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	chiptest.Run(t, func(t *testing.T) (gpio.Chip, chiptest.Board) {
		t.Parallel()
		c := gpiotest.New("bank", 8)
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		return c, c
	})
}
