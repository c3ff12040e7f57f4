package agents

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"rollcall/gpio/gpiotest"
	"rollcall/internal/bus"
	"rollcall/reports"
)

// TestGPIOCommandsAtRandom sends commands of every kind, good and bad, over a real broker, without waiting for one before the
// next, restarting the service and the broker in between. Every command that reached the service is answered once; interlocked
// outputs were never on together; and when it is quiet, the published states are those of the lines.
func TestGPIOCommandsAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			board := newMemoryBoard()
			f, chip := newFeatures(t, board), board.present()
			both := 0 // changes after which up and down were on
			for _, pin := range []int{4, 5} {
				defer chip.Watch(pin, func(gpiotest.Change) {
					if chip.Level(4) == 1 && chip.Level(5) == 1 {
						both++
					}
				})()
			}
			d := &drawn{features: f, rand: rand.New(rand.NewPCG(seed, 3)), want: map[string]bool{}}
			d.ask("setup", d.setups()[0])
			for range 3 {
				for range 40 {
					d.command()
				}
				d.settle()
				if d.rand.IntN(2) == 0 {
					f.restart()
				} else {
					d.loseBroker()
				}
			}
			d.settle()
			d.compare()
			chip.Wait()
			if both > 0 {
				t.Errorf("up and down were on together %d times", both)
			}
		})
	}
}

// drawn draws commands.
type drawn struct {
	*features
	rand *rand.Rand
	sent int
	want map[string]bool // ids of the commands
}

// loseBroker stops the broker and starts it again, and waits until service and client are back.
func (d *drawn) loseBroker() {
	d.t.Helper()
	d.broker.Stop()
	d.mu.Lock()
	delete(d.states, "/pi/gpio/status")
	d.mu.Unlock()
	d.broker.Start()
	if err := d.client.Wait(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
	d.await("the service back", func() bool { return d.states["/pi/gpio/status"] == "online" })
}

func (d *drawn) setups() []string {
	const all = "interlocks: [[up, down]]\ndead_time: 1ms\n"
	return []string{
		"outputs: {up: {pin: 4}, down: {pin: 5}, pump: {pin: 6, max_on: 20ms}, led: {pin: 7, as: led}}\ninputs: {door: {pin: 8}}\n" + all,
		"outputs: {up: {pin: 4, initial: restore}, down: {pin: 5}, led: {pin: 7, as: led, initial: keep}}\n" + all,
		"outputs: {up: {pin: 4, active_low: false}, down: {pin: 5, single: true, pulse: 3ms}, pump: {pin: 9}}\ninputs: {door: {pin: 8, count: true}}\n" + all,
		"outputs: {up: {pin: 4}, down: {pin: 4}}\n",
		"outputs: {up: {pin: 99}}\n",
		"nonsense",
	}
}

// command sends one command with an id of its own.
func (d *drawn) command() {
	id := fmt.Sprintf("c%d", d.sent)
	d.sent++
	pick := func(words ...string) string { return words[d.rand.IntN(len(words))] }
	name := pick("up", "down", "pump", "led", "nosuch")
	topic, payload := "set/output/"+name, fmt.Sprintf(`{"value":%q,"id":%q}`, pick("ON", "OFF", "TOGGLE", "MAYBE"), id)
	switch d.rand.IntN(8) {
	case 0:
		payload = fmt.Sprintf(`{"value":"ON","for":%q,"id":%q}`, pick("2ms", "10ms", "-1s", "x"), id)
	case 1:
		topic, payload = "control", fmt.Sprintf(`{"verb":%q,"path":"output/%s","for":"2ms","id":%q}`, pick("pulse", "toggle", "fly"), name, id)
	case 2:
		topic, payload = "set/blink/led", fmt.Sprintf(`{"value":%q,"id":%q}`, pick("alert", "off", "on", "disco"), id)
	case 3:
		topic, payload = "get/"+pick("output", "input", "chip", "nosuch"), fmt.Sprintf(`{"id":%q}`, id)
	case 4:
		doc, err := json.Marshal(d.setups()[d.rand.IntN(len(d.setups()))])
		if err != nil {
			d.t.Fatal(err)
		}
		topic, payload = "setup", fmt.Sprintf(`{"value":%s,"id":%q}`, doc, id)
	case 5:
		d.board.Drive(8, d.rand.IntN(2))
	}
	d.want[`"`+id+`"`] = true
	if err := d.client.Publish(d.t.Context(), bus.Message{Topic: "/pi/gpio/" + topic, Payload: []byte(payload), QoS: 1}); err != nil {
		d.t.Fatal(err)
	}
}

// settle waits until every command has its result, and fails when one has two.
func (d *drawn) settle() {
	d.t.Helper()
	answered := func() map[string]int {
		out := map[string]int{}
		for _, payload := range d.all["/pi/gpio/result"] {
			var r reports.Result
			if json.Unmarshal([]byte(payload), &r) == nil && d.want[string(r.ID)] {
				out[string(r.ID)]++
			}
		}
		return out
	}
	d.await("every result", func() bool { return len(answered()) == len(d.want) })
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, n := range answered() {
		if n != 1 {
			d.t.Errorf("command %s has %d results", id, n)
		}
	}
}

// compare ends all timers and waits until the published states are the levels of the lines.
func (d *drawn) compare() {
	d.t.Helper()
	d.do("setup", d.setups()[0])
	d.do("set/blink/led", "off")
	pins := map[string]int{"up": 4, "down": 5, "pump": 6, "led": 7}
	d.await("the states of the lines", func() bool {
		for name, pin := range pins {
			if d.states["/pi/gpio/output/"+name] != []string{"OFF", "ON"}[d.board.Level(pin)] {
				return false
			}
		}
		return slices.Contains([]string{"ON", "OFF"}, d.states["/pi/gpio/input/door"]) &&
			(d.states["/pi/gpio/input/door"] == "ON") == (d.board.Level(8) == 1)
	})
	<-time.After(30 * time.Millisecond) // longer than max_on: nothing may change any more but the pump
	d.wantState("output/pump", "OFF")
}
