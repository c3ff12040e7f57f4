package main

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports/janitoo/janitootest"
	"rollcall/reports/janitoo/wire"
)

// replayed is Janitoo's own servers, by what they have said: each request is answered as it was by them.
type replayed struct {
	*bus.Client
	controllers []string
	heard       chan wire.Request
	gone        atomic.Bool  // it answers no more
	value       atomic.Value // func(wire.Request), which answers a request for a value; none: silence
}

// replay starts the servers of these controllers at a broker.
func replay(t *testing.T, url string, controllers ...string) *replayed {
	t.Helper()
	r := &replayed{Client: bustest.Dial(t, url), controllers: controllers, heard: make(chan wire.Request, 100)}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Subscribe(ctx, 0, r.answer, wire.BroadcastRequest, "/nodes/+/+/request"); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *replayed) answer(m bus.Message) {
	request, err := wire.ParseRequest(m.Payload)
	if err != nil || r.gone.Load() {
		return
	}
	select {
	case r.heard <- request:
	default: // nobody looks at so many
	}
	hadd, direct := wire.ParseRequestTopic(m.Topic)
	if !request.IsDiscovery() {
		if f, ok := r.value.Load().(func(wire.Request)); ok {
			f(request)
		}
		return
	}
	for _, c := range r.controllers {
		topic := wire.BroadcastReplyTopic(request.ReplyHadd)
		if direct {
			topic = wire.ReplyTopic(request.ReplyHadd)
		}
		if direct && string(hadd[:4]) != c {
			continue
		}
		payload := captured(c, request.UUID)
		if payload == nil { // what a controller says that has nothing of the genre
			payload = wire.MarshalReply(request, nil, nil)
		}
		r.Send(bus.Message{Topic: topic, Payload: payload})
	}
}

// captured returns what a controller of Janitoo answered, nil where it was never asked.
func captured(controller, info string) []byte {
	name := "broadcast_" + controller + "_" + info + ".json"
	if _, err := os.Stat(filepath.Join("../reports/janitoo/janitootest/testdata/replies", name)); err != nil {
		return nil
	}
	return janitootest.Capture("replies/" + name)
}
