package agents

import "slices"

// gpioFeature is a row of the table in docs/gpio.md: it is run on the chip in memory and on a kernel's.
type gpioFeature struct {
	name        string
	notOnKernel string // why not; "": it is
	run         func(f *features)
}

// gpioFeatures returns all rows; docs reads them in the order of the files' names.
func gpioFeatures() []gpioFeature {
	return slices.Concat(gpioGoneFeatures, gpioInputFeatures, gpioOutputFeatures, gpioPWMFeatures, gpioSetupFeatures)
}
