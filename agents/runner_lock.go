package agents

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// locks are what this process holds of a state directory: a file for each service that it runs. A second process that ran one of them
// as well would switch the same lines, save over the same files and be the same client to the broker, each throwing the other out.
// Units that each run another agent of one configuration (--only) do not meet.
type locks struct {
	log  *slog.Logger
	held map[string]*os.File // by path
}

// lockSuffix ends the name of the file, after that of the service. It is left where it is: who removes it could remove another's.
const lockSuffix = ".lock"

// lockPatience is how long the start waits for a process that has been killed, and is just being taken apart by the kernel.
const lockPatience = 2 * time.Second

// await takes the locks of a plan, if need be once another process has ended.
func (l *locks) await(ctx context.Context, p plan) error {
	for late := time.Now().Add(lockPatience); ; {
		err := l.take(p)
		if err == nil || time.Now().After(late) || sensorWait(ctx, lockPatience/40) != nil {
			return err
		}
	}
}

// take takes the locks of a plan. What another process holds is an error, and nothing is taken then. Where there can be no file, since
// the directory is not ours, nothing can be saved either, and there is only a warning.
func (l *locks) take(p plan) error {
	var fresh []string
	for _, e := range p.entries {
		path := filepath.Join(p.stateDir, e.name+lockSuffix)
		if p.stateDir == "" || l.held[path] != nil {
			continue
		}
		f, err := openLock(path)
		if err != nil {
			l.log.Warn("a second process that runs this agent would go unnoticed", "agent", e.name, "err", err)
			continue
		}
		if err := flock(f); err != nil && !errors.Is(err, syscall.EWOULDBLOCK) { // such as on a file system that has no locks
			l.log.Warn("a second process that runs this agent would go unnoticed", "agent", e.name, "err", err)
		} else if err != nil {
			err = fmt.Errorf("agent %s is run by %s already: %s is locked; stop that one, or give this one another state_dir", e.name, lockOwner(f), path)
			l.drop(fresh)
			return errors.Join(err, f.Close())
		}
		l.held[path] = f
		fresh = append(fresh, path)
		if err := errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid())+"\n")); err != nil {
			l.log.Debug("lock does not say whose it is", "agent", e.name, "err", err)
		}
	}
	return nil
}

// retain gives back what is not of the plan.
func (l *locks) retain(p plan) {
	var gone []string
	for path := range l.held {
		name := strings.TrimSuffix(filepath.Base(path), lockSuffix)
		if filepath.Dir(path) != filepath.Clean(p.stateDir) || p.index(name) < 0 {
			gone = append(gone, path)
		}
	}
	l.drop(gone)
}

// drop gives locks back.
func (l *locks) drop(paths []string) {
	for _, path := range paths {
		if err := errors.Join(funlock(l.held[path]), l.held[path].Close()); err != nil {
			l.log.Warn("give a lock back", "file", path, "err", err)
		}
		delete(l.held, path)
	}
}

// openLock opens the file of a lock, which may be one that another user has made.
func openLock(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if errors.Is(err, os.ErrPermission) {
		return os.Open(path)
	}
	return f, err
}

// lockOwner says which process holds a lock, as far as its file tells.
func lockOwner(f *os.File) string {
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if pid, wrong := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && wrong == nil {
		return fmt.Sprintf("process %d", pid)
	}
	return "another process"
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// flock takes a file until funlock, or until the program ends in whatever way; syscall.EWOULDBLOCK says that another one has it.
func flock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// funlock gives it back. To close it is not enough: a program that is being started just now has it open as well, between its fork and
// its exec.
func funlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
