package bus

import (
	"context"
	"fmt"
	"sync"
)

// Deliver connects to the broker of c, publishes the messages one after the other, each until the broker has acknowledged
// it, and disconnects. It is for answers to a requester's broker: c.Foreign should be set. ctx bounds the whole.
func Deliver(ctx context.Context, c Config, messages ...Message) error {
	client, err := New(c)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = client.Run(running) }) // Run returns nil when its context ends
	defer wg.Wait()
	defer stop()
	if err := client.Wait(ctx); err != nil {
		return fmt.Errorf("connect to %s: %w", c.URL, err)
	}
	for _, m := range messages {
		if err := client.Publish(ctx, m); err != nil {
			return fmt.Errorf("publish %s at %s: %w", m.Topic, c.URL, err)
		}
	}
	return nil
}
