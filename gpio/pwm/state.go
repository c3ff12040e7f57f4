package pwm

import "strconv"

// state is what a channel does.
type state struct {
	period, duty uint64 // nanoseconds
	enabled      bool
	inversed     bool
}

// setting is a write that is to be done.
type setting struct{ name, value string }

// settings returns the writes that lead from one state to another, in an order that the kernel accepts and in which the output is
// never active for longer than in one of the two.
func settings(from, to state) []setting {
	var list []setting
	add := func(name, value string) { list = append(list, setting{name, value}) }
	if from.enabled && from.inversed != to.inversed {
		add("enable", "0") // the polarity can only be changed while it is disabled
	}
	period := setting{"period", strconv.FormatUint(to.period, 10)}
	duty := setting{"duty_cycle", strconv.FormatUint(to.duty, 10)}
	switch {
	case to.period < from.period:
		list = append(list, duty, period)
	case to.period > from.period:
		list = append(list, period, duty)
	default:
		list = append(list, duty)
	}
	if from.inversed != to.inversed {
		polarity := "normal"
		if to.inversed {
			polarity = "inversed"
		}
		add("polarity", polarity)
	}
	if !from.enabled || from.inversed != to.inversed {
		add("enable", "1")
	}
	return list
}
