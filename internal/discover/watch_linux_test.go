package discover

import (
	"errors"
	"testing"
	"time"
)

// TestWatchLAN watches by broadcast, over a bridge: hosts whose cable is pulled, and a laptop that gets another address.
func TestWatchLAN(t *testing.T) { t.Parallel(); inNamespace(t, watchLAN) }

func watchLAN(t *testing.T) {
	home := homeLAN(t)
	const port = 37030
	var beds []*bed
	for i := byte(1); i <= 3; i++ {
		beds = append(beds, lanHost(t, home, i, port))
	}
	v := view(t, WatchConfig{SweepConfig: SweepConfig{Interfaces: []string{"lan0"}}, Beat: 150 * time.Millisecond, Cycle: time.Second})
	ip(t, "link set port2 down")
	v.want("lost 2")
	ip(t, "link set port2 up")
	v.want("seen pi2 with 0 services at 10.77.0.12")
	before := beds[0].r.Stats()[answered.String()]
	beds[0].r.Update(testHost(1, "pi1", services(2, 8)...))
	v.want("seen pi1 with 2 services at 10.77.0.11")
	beds[0].await(answered, before+3) // it is due again and again, though nobody hears anything new
	ip(t, "addr add 10.78.0.1/24 brd + dev lan0")
	select {
	case <-v.done:
	case <-time.After(watchFor):
		t.Error("the watch goes on though the laptop has another address")
	}
	if _, err := v.end(); !errors.Is(err, ErrNetworkChanged) || len(v.events) != 0 {
		t.Errorf("Run() = %v, %d events more, want %v", err, len(v.events), ErrNetworkChanged)
	}
}
