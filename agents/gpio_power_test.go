package agents

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
)

// The two set-ups between which the power is cut.
const (
	gpioPowerOld = "chip: sim\noutputs:\n  old:\n    pin: \"2\"\n    initial: \"on\"\n"
	gpioPowerNew = "chip: sim\noutputs:\n  new:\n    pin: \"3\"\n    initial: \"on\"\ninputs:\n  door:\n    pin: \"22\"\n    pull: up\n"
)

// A power cut leaves in the folder, beside the file, what was being written when it came: whatever part of it there is, the set-up
// is the old one. And once the new one is in its place, it is that.
// What a power cut has left of a save is gone with the next start, and nothing of other services.
func TestGPIOTidies(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	names := []string{".gpio.setup.yaml.123.tmp", ".gpio.state.json.4.tmp", ".gpio.totals.json.56.tmp", ".door.setup.yaml.123.tmp"}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte("half a"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.open("chip: pinctrl-bcm2835\n")
	for i, name := range names {
		if _, err := os.Stat(filepath.Join(b.dir, name)); (err == nil) != (i == 3) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGPIOPowerCutTruncates(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	b.chips["sim"] = gpiotest.Sim()
	file := filepath.Join(b.dir, "gpio.setup.yaml")
	begin := func(want string) {
		t.Helper()
		a, err := b.try("chip: sim")
		if err != nil || gpioDoc(t, a) != want {
			t.Errorf("%v, set-up\n%swant\n%s", err, gpioDoc(t, a), want)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(file, []byte(gpioPowerOld), 0o600); err != nil {
		t.Fatal(err)
	}
	rest := filepath.Join(b.dir, ".gpio.setup.yaml.123.tmp")
	for n := range len(gpioPowerNew) + 1 {
		if err := os.WriteFile(rest, []byte(gpioPowerNew[:n]), 0o600); err != nil {
			t.Fatal(err)
		}
		begin(gpioPowerOld)
	}
	if err := errors.Join(os.WriteFile(rest, []byte(gpioPowerNew), 0o600), os.Rename(rest, file)); err != nil { // the start has tidied up
		t.Fatal(err)
	}
	begin(gpioPowerNew)
	// A file system that lies, and has the name but not the bytes: nothing is driven that nobody has asked for, and it is said.
	saved := gpioFrame([]byte(gpioPowerNew))
	for n := range len(saved) - 1 { // without the last newline it is whole
		if err := os.WriteFile(file, saved[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := b.try(gpioPowerOld)
		if err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("cut to %d bytes: error %v, want one that names the file", n, err)
		}
		if b.chips["sim"].Level(2) != 0 || b.held() != "" {
			t.Errorf("cut to %d bytes: an output of the configuration is driven", n)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

// gpioPowerEnv makes a process of this test binary one that sets up for ever: in a folder, on the chip of a path or one in memory.
const (
	gpioPowerEnv     = "ROLLCALL_TEST_GPIO_POWER"
	gpioPowerNameEnv = "ROLLCALL_TEST_GPIO_NAME"
	gpioPowerPathEnv = "ROLLCALL_TEST_GPIO_PATH"
)

// TestGPIOPowerVictim is the process that TestGPIOPowerCutKills kills.
func TestGPIOPowerVictim(t *testing.T) {
	dir := os.Getenv(gpioPowerEnv)
	if dir == "" {
		t.Skip("only TestGPIOPowerCutKills runs this, in a process of its own")
	}
	chip, path := os.Getenv(gpioPowerNameEnv), os.Getenv(gpioPowerPathEnv)
	a, err := newGPIO(gpioOptions{Chip: chip}, Deps{Service: "gpio", StateDir: dir, OpenChip: func(string) (gpio.Chip, error) {
		if path != "" {
			return gpio.Open(path)
		}
		return gpiotest.Sim(), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close() // the kill comes first
	for i := 0; ; i++ {
		doc := []string{gpioPowerNew, gpioPowerOld}[i%2]
		if err := a.Setup(t.Context(), []byte(strings.Replace(doc, "chip: sim", "chip: "+chip, 1))); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("set up %d\n", i)
	}
}

// A process that is killed at any moment of a set-up leaves the old set-up or the new one.
func TestGPIOPowerCutKills(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for k := range 25 {
		victim := newGPIOVictim(t, dir, "sim", "")
		victim.wait(1 + k%3)
		<-time.After(time.Duration(k*137) * time.Microsecond) // any moment of the next one
		victim.kill()
		doc, err := os.ReadFile(filepath.Join(dir, "gpio.setup.yaml"))
		if err != nil || string(doc) != string(gpioFrame([]byte(gpioPowerOld))) && string(doc) != string(gpioFrame([]byte(gpioPowerNew))) {
			t.Fatalf("kill %d: %v, file %q", k, err, doc)
		}
	}
}

// gpioVictim is a process that sets up for ever.
type gpioVictim struct {
	t     *testing.T
	cmd   *exec.Cmd
	out   io.Reader
	lines *bufio.Scanner
}

func newGPIOVictim(t *testing.T, dir, chip, path string) *gpioVictim {
	t.Helper()
	v := &gpioVictim{t: t, cmd: exec.Command(os.Args[0], "-test.run=^TestGPIOPowerVictim$", "-test.v")}
	v.cmd.Env = append(os.Environ(), gpioPowerEnv+"="+dir, gpioPowerNameEnv+"="+chip, gpioPowerPathEnv+"="+path)
	out, err := v.cmd.StdoutPipe()
	if err == nil {
		err = v.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	v.out, v.lines = out, bufio.NewScanner(out)
	return v
}

// wait waits until it has set up n times and once.
func (v *gpioVictim) wait(n int) {
	v.t.Helper()
	var said []string
	for v.lines.Scan() {
		if strings.HasPrefix(v.lines.Text(), fmt.Sprintf("set up %d", n)) {
			return
		}
		said = append(said, v.lines.Text())
	}
	v.t.Errorf("the process that sets up ended:\n%s", strings.Join(said, "\n"))
}

func (v *gpioVictim) kill() {
	v.t.Helper()
	if err := v.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		v.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, v.out) // until its end
	_ = v.cmd.Wait()                  // killed, as it says
}
