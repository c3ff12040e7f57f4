package broker

import (
	"fmt"
	"sync"
	"testing"
)

// Clients subscribe to everything while others set and clear retained messages: what they get are whole messages. Under the race
// detector mochi alone fails here.
func TestRetainedWhileSubscribing(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{Allow: func(Peer, string, bool) bool { return true }})
	const clients, times, topics = 4, 50, 5
	var wg sync.WaitGroup
	for i := range clients {
		pub, sub := dial(t, addr), dial(t, addr)
		pub.connect(fmt.Sprintf("pub%d", i))
		sub.connect(fmt.Sprintf("sub%d", i))
		wg.Go(func() {
			for k := range times {
				payload := fmt.Sprint(k)
				if k%5 == 4 {
					payload = ""
				}
				pub.publish(fmt.Sprintf("a/b/%d", k%topics), payload, 0, true)
			}
			pub.ping()
		})
		wg.Go(func() {
			for range times {
				sub.send(wrap(0x82, append(append([]byte{0, 1}, str("a/#")...), 0)))
				sub.await(suback)
			}
		})
	}
	wg.Wait()
	if got := b.Stats().Retained; got < 0 || got > topics {
		t.Errorf("%d messages are retained, want %d at most", got, topics)
	}
}
