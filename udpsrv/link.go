package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"rollcall/internal/bus"
	tasks "rollcall/internal/run"
	"rollcall/reports"
)

// errInterrupted is what a command says that was told to stop.
var errInterrupted = errors.New("interrupted")

// link is a connection to a broker, and what its retained messages say of one host.
type link struct {
	*bus.Client
	target
	name string // of the broker, for errors

	mu       sync.Mutex
	retained map[string][]byte // by topic
	seen     chan struct{}     // closed once the description of the target is there
}

// connect returns a client that is connected, or an error after the first attempt that failed: a person waits. What is to run
// beside the client runs as long as it does. The caller calls stop, which ends and waits for both.
func connect(ctx context.Context, conf bus.Config, within time.Duration, beside ...tasks.Task) (client *bus.Client, stop func() error, err error) {
	wait, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	conf.OnDown = giveUp // later on it does nothing: the client tries again by itself
	if client, err = bus.New(conf); err != nil {
		return nil, nil, fmt.Errorf("broker %s: %w", conf.URL, err)
	}
	alive, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- tasks.Tasks(alive, append(beside, tasks.Task{Name: "client", Run: client.Run})...) }()
	stop = func() error {
		cancel()
		return <-ended
	}
	wait, end := context.WithTimeoutCause(wait, within, fmt.Errorf("connect to %s: no answer within %s", conf.URL, within))
	defer end()
	if client.Wait(wait) == nil {
		return client, stop, nil
	}
	err = context.Cause(wait)
	if ctx.Err() != nil {
		err = errInterrupted
	}
	return nil, nil, errors.Join(err, stop())
}

// withBroker connects to a broker within the time given, calls f and closes the connection.
func withBroker(ctx context.Context, a *app, b brokerURL, within time.Duration, f func(context.Context, *link) error) (err error) {
	client, stop, err := connect(ctx, b.config(a), within)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	return f(ctx, &link{Client: client, name: b.String(), retained: map[string][]byte{}, seen: make(chan struct{})})
}

// look reads what the broker has retained of the target: descriptions and statuses. It returns as soon as the description of
// the service is there, at the latest after verifyWait, and reports whether the broker knows the host.
func (l *link) look(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, verifyWait)
	defer cancel()
	t := l.topics()
	var once sync.Once
	keep := func(m bus.Message) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, again := l.retained[m.Topic]; len(l.retained) >= 2*maxServices && !again {
			return
		}
		l.retained[m.Topic] = m.Payload
		if m.Topic == t.To("description") {
			once.Do(func() { close(l.seen) })
		}
	}
	// Other services' descriptions come before the target's own, which ends the wait. Not getting them is no loss. QoS 0 will do,
	// and leaves nothing unacknowledged: mochi 2.7.9 refuses a SUBSCRIBE whose packet id is that of a message on its way to us.
	_ = l.Subscribe(ctx, 0, keep, "/"+l.host+"/+/description")
	if err := l.Subscribe(ctx, 0, keep, reports.HostStatus(l.host), t.To("status"), t.To("description")); err != nil {
		return false
	}
	select {
	case <-l.seen:
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, payload := range l.retained {
		if len(payload) > 0 {
			return true
		}
	}
	return false
}

// payload returns the retained payload of a topic, nil if there is none.
func (l *link) payload(topic string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.retained[topic]
}

// described returns the services of the host that describe themselves, by name.
func (l *link) described() (out []reports.Service) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, topic := range slices.Sorted(maps.Keys(l.retained)) {
		segs := strings.Split(topic, "/")
		if segs[len(segs)-1] != "description" {
			continue
		}
		if s, err := reports.ParseService(l.retained[topic], segs[len(segs)-2]); err == nil {
			out = append(out, s)
		}
	}
	return out
}

// description returns what the target's service says of itself, if it does.
func (l *link) description() (reports.Service, bool) {
	all := l.described()
	i := slices.IndexFunc(all, func(s reports.Service) bool { return s.Name == l.service })
	if i < 0 {
		return reports.Service{}, false
	}
	return all[i], true
}

// answer is a reports.Result with its data still in JSON.
type answer struct {
	ID    reports.ID      `json:"id"`
	OK    bool            `json:"ok"`
	Data  json.RawMessage `json:"data"`
	Error string          `json:"error"` // with OK: what of a branch could not be read
	Code  string          `json:"code"`
}

// newCommand returns the id of a command and the topic of its result, which nobody can guess.
func newCommand() (id reports.ID, reply string) {
	return reports.ID(strconv.Quote("udpsrv-" + rand.Text())), "/udpsrv/" + rand.Text()
}

// command sends the target's service a command and waits for its result: on a topic that nobody else knows, or on the
// service's own result topic, which is all that a simple program may publish to.
func (l *link) command(ctx context.Context, verb string, fields map[string]any, timeout time.Duration) (answer, error) {
	id, reply := newCommand()
	m, err := l.compose(verb, fields, id, reply)
	if err != nil {
		return answer{}, err
	}
	wait, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	got := make(chan answer, 1)
	receive := func(m bus.Message) {
		r, ok := answerOf(m.Payload)
		if !ok || r.ID != id {
			return
		}
		select {
		case got <- r:
		default: // the same result on the other topic
		}
	}
	err = l.Subscribe(wait, 1, receive, reply)
	if other := l.Subscribe(wait, 1, receive, l.topics().To("result")); err == nil || other == nil {
		err = l.Publish(wait, m) // one topic is enough
	}
	if err == nil {
		select {
		case r := <-got:
			return r, l.refusal(r)
		case <-wait.Done():
		}
	}
	switch {
	case ctx.Err() != nil:
		return answer{}, errInterrupted
	case wait.Err() != nil:
		return answer{}, l.silent(timeout)
	}
	return answer{}, fmt.Errorf("%s %s: %w", verb, l.target, err)
}

// compose makes the message of a command.
func (l *link) compose(verb string, fields map[string]any, id reports.ID, reply string) (bus.Message, error) {
	envelope := map[string]any{}
	maps.Copy(envelope, fields)
	envelope["id"], envelope["reply"] = id, reply
	var payload bytes.Buffer
	e := json.NewEncoder(&payload)
	e.SetEscapeHTML(false)
	if err := e.Encode(envelope); err != nil {
		return bus.Message{}, err
	}
	sent := bytes.TrimSpace(payload.Bytes())
	if len(sent) > reports.MaxPayload {
		return bus.Message{}, fmt.Errorf("%s of %s needs %d bytes, at most %d can be sent; nothing was sent", verb, l.target, len(sent), reports.MaxPayload)
	}
	tail := verb
	if l.path != "" && (verb == "get" || verb == "set") {
		tail += "/" + l.path
	}
	return bus.Message{Topic: l.topics().To(tail), Payload: sent, QoS: 1}, nil
}

// topics returns the topics of the target's service.
func (l *link) topics() reports.Topics { return reports.Topics{Host: l.host, Service: l.service} }

// refusal is the error of a result that is one.
func (l *link) refusal(r answer) error {
	if r.OK {
		return nil
	}
	return fmt.Errorf("%s: %s (%s)", l.target, cmp.Or(r.Error, "refused"), cmp.Or(r.Code, "no code"))
}

// silent is the error for a service that did not answer.
func (l *link) silent(timeout time.Duration) error {
	status := cmp.Or(string(l.payload(l.topics().To("status"))), string(l.payload(reports.HostStatus(l.host))), "unknown")
	text := fmt.Sprintf("no answer from %s within %s (is it online? status: %.20s)", l.target, timeout, status)
	var names []string
	for _, s := range l.described() {
		names = append(names, s.Name)
	}
	if _, ok := l.description(); !ok && len(names) > 0 {
		text += fmt.Sprintf("; %s has %s", l.host, listed(names))
	}
	return errors.New(text)
}
