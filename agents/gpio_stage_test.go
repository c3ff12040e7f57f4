package agents

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"rollcall/gpio/gpiotest"
	"rollcall/reports"
)

type changeOf = gpiotest.Change

// kill ends the process, as it were: nothing of the agent runs any more, and the kernel takes its lines back.
func (s *gpioStage) kill() {
	s.t.Helper()
	gpioEngine(s.t, s.agent, func() {
		for topic := range s.agent.link.stops {
			s.agent.link.stops[topic]()
		}
		if s.agent.present.chip != nil {
			_ = s.agent.present.chip.Close() // the kernel does
		}
		for _, l := range s.agent.present.lines {
			if l.hold != nil && l.hold.channel != nil {
				_ = l.hold.channel.Close() // its line is gone
			}
			l.hold = nil
		}
		if s.agent.saver.done != nil {
			<-s.agent.saver.done
			s.agent.saver.done = nil
		}
		s.agent.deps.StateDir = "" // nothing is saved after this
		s.agent.totals = nil
	})
	if err := s.agent.Close(); err != nil {
		s.t.Error(err)
	}
}

// saves returns what is another one with each save of a file, which is renamed into place.
func (s *gpioStage) saves(name string) string {
	info, err := os.Stat(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprint(info.ModTime(), info.Sys().(*syscall.Stat_t).Ino)
}

// gpioFakeLink is a connection to a broker.
type gpioFakeLink struct {
	mu        sync.Mutex
	up        bool
	watch     func(bool)
	subs      map[string]func([]byte)
	published []string
	faults    map[string]string
}

func (l *gpioFakeLink) Up() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up
}

func (l *gpioFakeLink) Watch(f func(bool)) (stop func()) {
	l.mu.Lock()
	l.watch = f
	up := l.up
	l.mu.Unlock()
	f(up)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.watch = nil
	}
}

func (l *gpioFakeLink) Subscribe(topic string, f func([]byte)) (stop func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := reports.ValidTopic(topic); err != nil {
		return nil, err
	}
	l.subs[topic] = f
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.subs, topic)
	}, nil
}

func (l *gpioFakeLink) Check(topic string, points ...string) error {
	if path, ours := strings.CutPrefix(topic, "/pi/gpio/"); ours && (strings.HasPrefix(path, "set/") || slices.Contains(points, path)) {
		return reports.Errorf(reports.CodeBadTopic, "topic %q must not be published to", topic)
	}
	return nil
}

func (l *gpioFakeLink) Fault(about string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.faults == nil {
		l.faults = map[string]string{}
	}
	delete(l.faults, about)
	if err != nil {
		l.faults[about] = err.Error()
	}
}

func (l *gpioFakeLink) Publish(topic string, payload []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published = append(l.published, topic+" "+string(payload))
	return nil
}

// set makes the connection be or not be.
func (l *gpioFakeLink) set(up bool) {
	l.mu.Lock()
	l.up = up
	watch := l.watch
	l.mu.Unlock()
	if watch != nil {
		watch(up)
	}
}

// say has somebody publish.
func (l *gpioFakeLink) say(topic, payload string) {
	l.mu.Lock()
	f := l.subs[topic]
	l.mu.Unlock()
	if f != nil {
		f([]byte(payload))
	}
}
