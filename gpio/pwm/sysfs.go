package pwm

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The files of a channel appear at once, but udev gives them to the group gpio only some milliseconds later.
const (
	settleWithin = 2 * time.Second
	settleEvery  = 5 * time.Millisecond
)

// classPath is where the kernel has its PWM chips, below the root.
const classPath = "sys/class/pwm"

// maxAttribute is the most that a file of sysfs holds: a page.
const maxAttribute = 4096

// attributes are the files of a chip, by their path below it. Errors are those of the kernel.
type attributes interface {
	read(path string) (string, error)
	write(path, value string) error
	// writable returns why a file can't be written, and writes nothing.
	writable(path string) error
	// lock takes a folder for this program, as long as no other of ours has it.
	lock(path string) (io.Closer, error)
}

// folder is a chip in sysfs.
type folder string

func (f folder) read(path string) (string, error) { return readFile(filepath.Join(string(f), path)) }

func (f folder) write(path, value string) error {
	// Without O_CREATE: to make a file is what sysfs forbids, instead of saying that there is none.
	file, err := os.OpenFile(filepath.Join(string(f), path), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(value)
	return errors.Join(err, file.Close())
}

func (f folder) writable(path string) error {
	file, err := os.OpenFile(filepath.Join(string(f), path), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return file.Close()
}

func (f folder) lock(path string) (io.Closer, error) {
	file, err := os.Open(filepath.Join(string(f), path))
	if err != nil {
		return nil, err
	}
	if err := lock(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return locked{file}, nil
}

func readFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(file, maxAttribute))
	return string(b), errors.Join(err, file.Close())
}

// eventually tries again while what it tries may only not be there yet.
func eventually(deadline time.Time, try func() error) error {
	early := func(err error) bool {
		return (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) && time.Now().Before(deadline)
	}
	err := try()
	if !early(err) {
		return err
	}
	ticker := time.NewTicker(settleEvery)
	defer ticker.Stop()
	for early(err) {
		<-ticker.C
		err = try()
	}
	return err
}
