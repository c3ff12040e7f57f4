package agents

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"rollcall/reports"
)

// Bounds of a run beside those of the options.
const (
	execMaxSaid = 4 << 10 // of standard error is kept; the rest is thrown away
	// execGrace is how long output is waited for once all of the group is dead: only a process that has left the group can
	// hold the pipe open.
	execGrace = 500 * time.Millisecond
	execPath  = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// execRan is how a run ended.
type execRan struct {
	status         int
	stdout, stderr []byte
}

// execBuffer keeps the first bytes that are written to it. It is written to by one goroutine, and read when that has ended.
type execBuffer struct {
	kept bytes.Buffer
	most int
	full chan struct{} // closed when there was more; nil: more is thrown away in silence
	over bool
}

// Write keeps what fits.
func (b *execBuffer) Write(p []byte) (int, error) {
	room := min(len(p), b.most-b.kept.Len())
	b.kept.Write(p[:room])
	if room < len(p) && !b.over {
		b.over = true
		if b.full != nil {
			close(b.full)
		}
	}
	return len(p), nil
}

// execRun runs the command once and returns when it and all of its process group are gone.
func execRun(ctx context.Context, o execOptions) (execRan, error) {
	most := o.timeout()
	if at, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(at))
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	// The command is killed with the thread that started it (PR_SET_PDEATHSIG), so this one must last as long as the run: then a
	// service that is killed leaves nothing behind.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	stdout := &execBuffer{most: o.MaxOutput, full: make(chan struct{})}
	stderr := &execBuffer{most: execMaxSaid}
	cmd := exec.Command(o.Command[0], o.Command[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = o.Dir, execEnv(o.Env), stdout, stderr, execGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return execRan{}, fmt.Errorf("start the command: %w", err)
	}
	ended := execEnded(cmd.Process.Pid)
	var why error
	select {
	case <-ended:
	case <-stdout.full:
		why = fmt.Errorf("the command was killed: it has printed more than max_output, %d bytes", o.MaxOutput)
	case <-ctx.Done():
		why = fmt.Errorf("the command was killed: it runs for more than %s: %w", execMost(most, o.timeout()), ctx.Err())
		if errors.Is(ctx.Err(), context.Canceled) {
			why = ctx.Err()
		}
	}
	// The command is not reaped yet, so its number, and that of its group, can't be another's.
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // fails if nothing is left to be killed
	<-ended
	err := cmd.Wait()
	if why == nil && stdout.over {
		why = fmt.Errorf("the command has printed more than max_output, %d bytes", o.MaxOutput)
	}
	return execOutcome(cmd, err, why, execRan{stdout: stdout.kept.Bytes(), stderr: stderr.kept.Bytes()})
}

// execMost names the time that was up: the timeout, or less where whoever asks does not wait for so long.
func execMost(most, timeout time.Duration) string {
	if most < timeout {
		return fmt.Sprintf("%s, after which nobody waits for it any more (timeout is %s)", most.Round(time.Millisecond), timeout)
	}
	return fmt.Sprintf("timeout, %s", timeout)
}

// execEnded returns a channel that is closed when the process has ended, and leaves it there to be waited for.
func execEnded(pid int) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
			if err != unix.EINTR {
				return // without an error it has ended, and with ECHILD too
			}
		}
	}()
	return ended
}

// execOutcome says how the run ended. A process that left the group may still hold the pipe: what was printed until then counts.
func execOutcome(cmd *exec.Cmd, err, why error, ran execRan) (execRan, error) {
	exit, exited := errors.AsType[*exec.ExitError](err)
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case why != nil:
		return execRan{}, why
	case err != nil && !exited && !errors.Is(err, exec.ErrWaitDelay):
		return execRan{}, fmt.Errorf("wait for the command: %w", err)
	case exited && ok && status.Signaled():
		return execRan{}, fmt.Errorf("the command has ended by a signal: %s%s", exit, execSaid(ran.stderr))
	}
	ran.status = cmd.ProcessState.ExitCode()
	return ran, nil
}

// execEnv returns the environment of the command.
func execEnv(extra map[string]string) []string {
	env := map[string]string{"PATH": execPath, "LC_ALL": "C"}
	maps.Copy(env, extra)
	var out []string
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out = append(out, k+"="+env[k])
	}
	return out
}

// execText returns output that is one number or word: a line, without the space around it.
func execText(out []byte) (string, error) {
	s := string(bytes.TrimSpace(out))
	switch {
	case s == "":
		return "", errors.New("the command has printed nothing")
	case !utf8.ValidString(s):
		return "", fmt.Errorf("the command has printed %.40q, which is no UTF-8", s)
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", fmt.Errorf("the command has printed %.40q, which is more than one number or word", s)
	}
	return s, nil
}

// execObject reads output that is one JSON object.
func execObject(out []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(out)) == 0 {
		return nil, errors.New("the command has printed nothing")
	}
	if !utf8.Valid(out) {
		return nil, errors.New("the command has printed something that is no UTF-8")
	}
	if reports.Depth(out) > reports.MaxDepth {
		return nil, fmt.Errorf("the command has printed JSON that is nested more than %d deep", reports.MaxDepth)
	}
	d := json.NewDecoder(bytes.NewReader(out))
	d.UseNumber()
	var doc map[string]any
	if err := d.Decode(&doc); err != nil || doc == nil {
		if err == nil {
			err = errors.New("it is null")
		}
		return nil, fmt.Errorf("the command has printed %.40q, which is no JSON object: %w", bytes.TrimSpace(out), err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("the command has printed more than one JSON object")
	}
	return doc, nil
}

// execPointer splits the name of a field: one that begins with a slash is a JSON Pointer (RFC 6901), any other a key.
func execPointer(field string) ([]string, error) {
	if !strings.HasPrefix(field, "/") {
		return []string{field}, nil
	}
	keys := strings.Split(field[1:], "/")
	for i, k := range keys {
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(k), "~") {
			return nil, fmt.Errorf("%.60q: after ~ must stand 0 or 1 (RFC 6901)", field)
		}
		keys[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(k)
	}
	return keys, nil
}

// execPick takes the value of the point from what was printed: the field of an object, or all of a text.
func execPick(p reports.Point, doc any, field string) (any, error) {
	v := doc
	if _, text := doc.(string); !text {
		keys, err := execPointer(field)
		if err != nil {
			return nil, err
		}
		if v, err = execFind(doc, keys); err != nil {
			return nil, fmt.Errorf("field %.60q: %w", field, err)
		}
	}
	if v == nil {
		return nil, fmt.Errorf("field %.60q is null", field)
	}
	if n, ok := v.(json.Number); ok && p.Type == reports.String {
		v = n.String()
	}
	got, err := p.ParseValue(v)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), p.Path+": "))
	}
	if got == reports.Toggle {
		return nil, errors.New(`"toggle" is not a value of type bool`)
	}
	return got, nil
}

// execFind follows the keys.
func execFind(v any, keys []string) (any, error) {
	for _, k := range keys {
		switch in := v.(type) {
		case map[string]any:
			next, ok := in[k]
			if !ok {
				return nil, fmt.Errorf("there is no %.60q in what the command has printed", k)
			}
			v = next
		case []any:
			i, err := strconv.Atoi(k)
			if err != nil || i < 0 || i >= len(in) || strconv.Itoa(i) != k {
				return nil, fmt.Errorf("%.60q is not one of the %d of a list", k, len(in))
			}
			v = in[i]
		default:
			return nil, fmt.Errorf("%.60q stands below something that is neither object nor list", k)
		}
	}
	return v, nil
}

// execSaid returns the first line of what a command wrote to its standard error, for an error, or nothing.
func execSaid(stderr []byte) string {
	lines := slices.DeleteFunc(strings.Split(string(stderr), "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	if len(lines) == 0 {
		return ""
	}
	return fmt.Sprintf(" and says %.200q", strings.TrimSpace(lines[0]))
}
