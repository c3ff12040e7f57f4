package input

import "time"

// presses tells presses of a button from one another. The level that it is told of is debounced.
type presses struct {
	long, double time.Duration // 0: none are told of

	down    bool
	told    bool          // this press has been told of
	waiting bool          // a press is over, which is a single one unless another follows
	at      time.Duration // when the last press began
}

// press begins a press.
func (p *presses) press(t time.Duration, tell *[]string) {
	if p.long == 0 && p.double == 0 {
		return
	}
	p.down, p.told = true, false
	switch {
	case p.waiting && t-p.at < p.double:
		*tell = append(*tell, Double)
		p.told = true
	case p.waiting:
		*tell = append(*tell, Single)
	}
	p.waiting, p.at = false, t
}

// release ends a press.
func (p *presses) release(t time.Duration, tell *[]string) {
	if !p.down {
		return // it began before New
	}
	p.down = false
	switch {
	case p.told:
	case p.long > 0 && t-p.at >= p.long:
		*tell = append(*tell, Long)
	case t-p.at >= p.double:
		*tell = append(*tell, Single)
	default:
		p.waiting = true
	}
}

// due returns when a press is known to be long, or to be no double click.
func (p *presses) due() (time.Duration, bool) {
	switch {
	case p.down && !p.told && p.long > 0:
		return p.at + p.long, true
	case p.waiting:
		return p.at + p.double, true
	}
	return 0, false
}

// pass is what due waits for.
func (p *presses) pass(tell *[]string) {
	if p.down {
		*tell, p.told = append(*tell, Long), true
		return
	}
	*tell, p.waiting = append(*tell, Single), false
}
