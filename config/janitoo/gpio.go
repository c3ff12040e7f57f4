package janitoo

import (
	"fmt"
	"strings"
	"time"

	"rollcall/gpio/pinout"
	"rollcall/reports"
)

// lastLine is the last line that the header of a Raspberry Pi has.
const lastLine = 27

// pin takes the number of a pin and returns the line, as GPIO19. A number counts as Broadcom's, unless the bus says BOARD; not all
// components heed that.
func (p part) pin(name string, fallback int, board bool) (string, bool) {
	k := p.take(name)
	n := fallback
	if k != nil {
		number, ok := whole(k.value)
		if !ok {
			p.refuse(k, "it is no number of a pin")
			return "", false
		}
		n = number
	}
	line := p.section.line
	if k != nil {
		line = k.line
	}
	mode := p.bus.find("rpigpio_boardmode_0")
	bcm := n
	switch {
	case board && mode != nil && strings.EqualFold(mode.value, "BOARD"):
		if bcm, _ = pinout.At(n); bcm < 0 {
			p.file.note(line, "[%s] %s: pin %d of the header is no line", shown(p.section.name), name, n)
			return "", false
		}
	case n > lastLine:
		p.file.note(line, "[%s] %s: the header has no GPIO%d", shown(p.section.name), name, n)
		return "", false
	case board && mode == nil:
		p.file.note(line, "[%s] %s: taken as GPIO%d, for its bus has no rpigpio_boardmode_0; look at the wiring", shown(p.section.name), name, n)
	}
	word := fmt.Sprintf("GPIO%d", bcm)
	if other, twice := p.pins[word]; twice {
		p.file.note(line, "[%s] %s: %s is [%s]'s already", shown(p.section.name), name, word, shown(other))
		return "", false
	}
	p.pins[word] = p.section.name
	return word, true
}

// boardmode marks the key as dealt with: pin has.
func (p part) boardmode() {
	if k := p.bus.take("rpigpio_boardmode_0"); k != nil && !strings.EqualFold(k.value, "BOARD") && !strings.EqualFold(k.value, "BCM") {
		p.bus.refuse(k, "it is neither BCM nor BOARD; pins count as Broadcom's")
	}
}

// entry puts a line into a map of the agent gpio: outputs, inputs, pwm or servos.
func (p part) entry(kind, name, pin string, more map[string]string) *agent {
	p.boardmode()
	a := p.add("gpio", "gpio", p.bus, p.section)
	if a == nil {
		return nil
	}
	name = unique(name, func(s string) bool { return p.names["gpio/"+s] })
	p.names["gpio/"+name] = true
	entries, _ := a.options[kind].(map[string]map[string]string)
	if entries == nil {
		entries = map[string]map[string]string{}
		a.options[kind] = entries
	}
	entry := map[string]string{"pin": pin}
	for k, v := range more {
		entry[k] = v
	}
	if label := p.section.find("name"); label != nil {
		if text := strings.Join(strings.Fields(label.value), " "); text != "" && len(text) <= 80 && plain(text) {
			entry["label"] = text
		}
	}
	entries[name] = entry
	p.node.of = a.name + "/" + name
	return a
}

// single is a component of one line.
func (p part) single(kind string, more map[string]string) *agent {
	pin, ok := p.pin("pin_0", 1, true)
	if !ok {
		return nil
	}
	return p.entry(kind, p.name, pin, more)
}

func (p part) led() *agent    { return p.single("outputs", map[string]string{"as": "led"}) }
func (p part) output() *agent { return p.single("outputs", nil) }
func (p part) servo() *agent  { return p.single("servos", nil) }

func (p part) pwm() *agent {
	if k := p.take("max_level_0"); k != nil {
		if n, ok := whole(k.value); !ok || n != 100 {
			p.refuse(k, "the greatest level is always 100")
		}
	}
	return p.single("pwm", nil)
}

func (p part) pir() *agent {
	more := map[string]string{"as": "pir"}
	p.inputWords(more)
	return p.single("inputs", more)
}

func (p part) input() *agent {
	more := map[string]string{}
	p.inputWords(more)
	return p.single("inputs", more)
}

// inputWords carries the words of an input over.
func (p part) inputWords(more map[string]string) {
	words := map[string]map[string]string{
		"pullupdown_0": {"PUD_UP": "up", "PUD_DOWN": "down", "NONE": "none"},
		"edge_0":       {"BOTH": "both", "RISING": "rising", "FALLING": "falling"},
	}
	for name, to := range map[string]string{"pullupdown_0": "pull", "edge_0": "edge"} {
		if k := p.take(name); k != nil {
			if word, ok := words[name][strings.ToUpper(k.value)]; ok {
				more[to] = word
			} else {
				p.refuse(k, "it is no word of Janitoo's")
			}
		}
	}
	if k := p.take("bouncetime_0"); k != nil {
		if ms, ok := whole(k.value); ok && ms <= 10_000 {
			more["debounce"] = reports.Duration(time.Duration(ms) * time.Millisecond).String()
		} else {
			p.refuse(k, "it is no time in milliseconds")
		}
	}
	if k := p.take("trigger_0"); k != nil && !truth(k.value) {
		more["on_change"] = "false"
	}
	if k := p.take("state_poll_0"); k != nil {
		if d, ok := seconds(k.value); ok && (d == 0 || d >= time.Second) && more["edge"] != "rising" && more["edge"] != "falling" {
			more["scan"] = reports.Duration(d).String()
		} else {
			p.refuse(k, "it is no delay in seconds, or the input is an event, which has no state")
		}
	}
}

func (p part) rgb() *agent {
	var pins [3]string
	for i, name := range []string{"pinr_0", "ping_0", "pinb_0"} {
		pin, ok := p.pin(name, -1, true)
		if !ok {
			return nil
		}
		pins[i] = pin
	}
	var a *agent
	p.section.file.note(p.section.line, "[%s]: it became three outputs, which are numbered by themselves", shown(p.section.name))
	p.section.lost()
	for i, color := range []string{"_red", "_green", "_blue"} {
		if a = p.entry("pwm", p.name+color, pins[i], nil); a == nil {
			return nil
		}
	}
	p.node.of = nowhere
	return a
}

func (p part) dht() *agent {
	models := map[int]string{11: "dht11", 22: "dht22", 2302: "am2302"}
	model := models[11]
	if k := p.take("sensor_0"); k != nil {
		n, _ := whole(k.value)
		if model = models[n]; model == "" {
			p.refuse(k, "it is none of 11, 22 and 2302")
			return nil
		}
	}
	pin, ok := p.pin("pin_0", 1, false)
	if !ok {
		return nil
	}
	a := p.add(p.name, "dht22", p.bus, p.section)
	if a == nil {
		return nil
	}
	a.options["model"], a.options["driver"], a.options["pin"] = model, "edges", pin
	return a
}

func (p part) sonar() *agent {
	trigger, ok := p.pin("pin_trig_0", 20, true)
	if !ok {
		return nil
	}
	echo, ok := p.pin("pin_echo_0", 21, true)
	if !ok {
		return nil
	}
	p.boardmode()
	a := p.add(p.name, "sonar", p.bus, p.section)
	if a == nil {
		return nil
	}
	a.options["trigger"], a.options["echo"] = trigger, echo
	if k := p.take("timer_delay_0"); k != nil {
		if d, ok := seconds(k.value); ok && d >= time.Second {
			a.options["poll"] = reports.Duration(d).String()
		} else {
			p.refuse(k, "it is no delay in seconds")
		}
	}
	return a
}
