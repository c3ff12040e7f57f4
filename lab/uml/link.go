//go:build linux

package uml

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"rollcall/lab/uml/job"
)

var errOff = errors.New("it is off")

// link is the serial line to the attendant of a Pi.
type link struct {
	file  *os.File
	dir   string        // for long orders
	one   chan struct{} // holds a token while an order is not answered
	hello chan struct{} // closed when the attendant listens
	done  chan struct{} // closed when no more will come

	mu      sync.Mutex
	last    int
	answers map[int]chan<- job.Word
	news    map[int]func(job.Word)
}

// socketPair returns a wire: ours, which the runtime polls, and theirs, for a child.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		return nil, nil, errors.Join(err, syscall.Close(fds[0]), syscall.Close(fds[1]))
	}
	return os.NewFile(uintptr(fds[0]), "serial"), os.NewFile(uintptr(fds[1]), "serial"), nil
}

func newLink(file *os.File, dir string) *link {
	l := &link{file: file, dir: dir, one: make(chan struct{}, 1), hello: make(chan struct{}), done: make(chan struct{}), answers: map[int]chan<- job.Word{}, news: map[int]func(job.Word){}}
	go l.read() // until the file is closed, here or by the guest's end
	return l
}

// close ends the link and waits until all that came was delivered.
func (l *link) close() {
	_ = l.file.Close() // again does nothing
	<-l.done
}

// ask sends an order and waits for its answer. News of what it starts goes to f, from one goroutine, until the last: job.Gone.
func (l *link) ask(ctx context.Context, o job.Order, f func(job.Word)) (job.Word, error) {
	select {
	case l.one <- struct{}{}:
		defer func() { <-l.one }()
	case <-ctx.Done():
		return job.Word{}, fmt.Errorf("another order is not answered: %w", ctx.Err())
	}
	answer := make(chan job.Word, 1)
	if err := l.expect(&o, answer, f); err != nil {
		return job.Word{}, err
	}
	if err := l.send(o); err != nil {
		return job.Word{}, errors.Join(errOff, err)
	}
	select {
	case w := <-answer:
		if w.Error != "" {
			return w, errors.New(w.Error)
		}
		return w, nil
	case <-l.done:
		return job.Word{}, errOff
	case <-ctx.Done():
		return job.Word{}, fmt.Errorf("no answer: %w", ctx.Err())
	}
}

// expect numbers an order and notes who hears of it.
func (l *link) expect(o *job.Order, answer chan<- job.Word, f func(job.Word)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.news == nil { // read has ended
		return errOff
	}
	l.last++
	o.ID = l.last
	l.answers[o.ID] = answer
	if f != nil {
		l.news[o.ID] = f
	}
	return nil
}

func (l *link) send(o job.Order) error {
	line, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if len(line) >= job.LongestOrder {
		see := job.Order{ID: o.ID, Do: job.See, Path: filepath.Join(l.dir, fmt.Sprintf("order-%d", o.ID))}
		if err := os.WriteFile(see.Path, line, 0o644); err != nil {
			return err
		}
		if line, err = json.Marshal(see); err != nil {
			return err
		}
	}
	_, err = l.file.Write(append(line, '\n'))
	return err
}

// read delivers what comes until the end.
func (l *link) read() {
	defer close(l.done)
	in := json.NewDecoder(bufio.NewReader(l.file))
	for {
		var w job.Word
		if in.Decode(&w) != nil { // the end; a guest that is cut off ends in the midst of a word
			break
		}
		l.deliver(w)
	}
	l.mu.Lock()
	left := l.news
	l.news = nil
	l.mu.Unlock()
	for _, f := range left {
		f(job.Word{News: job.Gone})
	}
}

func (l *link) deliver(w job.Word) {
	if w.News == job.Hello {
		close(l.hello)
		return
	}
	l.mu.Lock()
	answer, f := l.answers[w.ID], l.news[w.ID]
	if w.News == "" {
		delete(l.answers, w.ID)
	}
	l.mu.Unlock()
	switch {
	case w.News == "" && answer != nil:
		answer <- w
	case w.News != "" && f != nil:
		f(w)
	}
}
