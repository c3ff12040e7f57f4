package input

import (
	"bufio"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/config"
)

// counterEnv has this test binary count totals in the file that it names, for ever, and print each as it is saved.
const counterEnv = "ROLLCALL_TEST_COUNTER"

func TestMain(m *testing.M) {
	if path := os.Getenv(counterEnv); path != "" {
		if err := countForEver(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func countForEver(path string) error {
	totals, err := OpenTotals(path)
	if err != nil {
		return err
	}
	for {
		n := totals.Get("door") + 1
		if err := totals.Set("door", n); err != nil {
			return err
		}
		if err := totals.Save(began); err != nil {
			return err
		}
		if _, err := fmt.Println(n); err != nil {
			return err
		}
	}
}

func open(t *testing.T, path string) *Totals {
	t.Helper()
	totals, err := OpenTotals(path)
	if err != nil {
		t.Fatal(err)
	}
	return totals
}

func set(t *testing.T, totals *Totals, name string, n uint64) {
	t.Helper()
	if err := totals.Set(name, n); err != nil {
		t.Fatal(err)
	}
}

func TestTotals(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gpio", "totals.json")
	totals := open(t, path)
	if got := totals.Get("door"); got != 0 || !totals.Next().IsZero() || totals.Due(began) {
		t.Errorf("without a file: Get = %d, Next = %v, Due = %v, want 0, never", got, totals.Next(), totals.Due(began))
	}
	set(t, totals, "door", math.MaxUint64)
	set(t, totals, "gas", 5)
	set(t, totals, "old", 6)
	totals.Retain(func(name string) bool { return name != "old" })
	if err := totals.Save(began); err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(path)
	if want := "{\n  \"version\": 1,\n  \"totals\": {\n    \"door\": 18446744073709551615,\n    \"gas\": 5\n  }\n}\n"; err != nil || string(doc) != want {
		t.Errorf("file = %s, %v, want %s", doc, err, want)
	}
	again := open(t, path)
	if again.Get("door") != math.MaxUint64 || again.Get("gas") != 5 || again.Get("old") != 0 {
		t.Errorf("read again: door %d, gas %d, old %d", again.Get("door"), again.Get("gas"), again.Get("old"))
	}
}

func TestTotalsAreSavedInTime(t *testing.T) {
	t.Parallel()
	totals := open(t, filepath.Join(t.TempDir(), "totals.json"))
	saves := 0
	check := func(after time.Duration, want bool) {
		t.Helper()
		now := began.Add(after)
		if got := totals.Due(now); got != want || want && totals.Next().After(now) {
			t.Errorf("after %v: Due = %v, Next = %v, want %v", after, got, totals.Next(), want)
		}
		if totals.Due(now) {
			saves++
			if err := totals.Save(now); err != nil {
				t.Fatal(err)
			}
		}
	}
	set(t, totals, "door", 1)
	check(0, true) // what counts seldom is saved at once
	check(time.Hour, false)
	for at := time.Duration(0); at < time.Minute; at += 100 * time.Millisecond {
		set(t, totals, "door", 2+uint64(at))
		check(time.Hour+at, at%SaveEvery == 0) // what counts often, once in SaveEvery
	}
	if saves != 7 {
		t.Errorf("%d saves, want 7", saves)
	}
	set(t, totals, "door", 1)
	totals.Retain(func(string) bool { return true })
	set(t, totals, "door", 1)
	if err := totals.Save(began); err != nil || !totals.Next().IsZero() {
		t.Errorf("Save at the stop: %v, Next = %v", err, totals.Next())
	}
	if got := open(t, totals.path).Get("door"); got != 1 {
		t.Errorf("saved %d, want 1", got)
	}
}

func TestTotalsThatCanNotBeSaved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	totals := open(t, filepath.Join(dir, "totals.json"))
	set(t, totals, "door", 1)
	if err := os.Mkdir(totals.path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := totals.Save(began); err == nil || !strings.HasPrefix(err.Error(), "save totals: save "+totals.path) {
		t.Errorf("Save onto a folder: %v", err)
	}
	if totals.Due(began.Add(SaveEvery-1)) || !totals.Due(began.Add(SaveEvery)) {
		t.Errorf("Next = %v, want %v", totals.Next(), began.Add(SaveEvery))
	}
	if err := os.Remove(totals.path); err != nil {
		t.Fatal(err)
	}
	if err := totals.Save(began); err != nil || open(t, totals.path).Get("door") != 1 {
		t.Errorf("Save: %v", err)
	}
}

func TestTotalsAreBounded(t *testing.T) {
	t.Parallel()
	totals := open(t, filepath.Join(t.TempDir(), "totals.json"))
	for n := range MaxTotals {
		set(t, totals, fmt.Sprintf("%0*d", 64, n), math.MaxUint64)
	}
	want := "total of more: " + totals.path + " has 512 totals, which is the most"
	if err := totals.Set("more", 1); err == nil || err.Error() != want {
		t.Errorf("Set of one more: %v, want %s", err, want)
	}
	if err := totals.Save(began); err != nil {
		t.Fatal(err)
	}
	if got := open(t, totals.path).Get(strings.Repeat("0", 64)); got != math.MaxUint64 {
		t.Errorf("the largest file: Get = %d", got)
	}
	totals.Retain(func(name string) bool { return name != strings.Repeat("0", 64) })
	if err := totals.Set("a/b", 1); err == nil || !strings.Contains(err.Error(), `name "a/b"`) {
		t.Errorf("Set of a bad name: %v", err)
	}
}

func TestDamagedTotals(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ doc, want string }{
		"empty":            {"", " is empty"},
		"zeroes":           {"\x00\x00\x00\x00", ":1: character U+0000 is not allowed"},
		"cut short":        {`{"version": 1, "totals": {"door": 12`, ":1: not YAML: did not find expected ',' or '}'"},
		"no map":           {"[1]", ":1: a list stands where a map is wanted"},
		"without version":  {`{"totals":{}}`, ":1: version: is 0, only 1 is known"},
		"another version":  {`{"version":2,"totals":{}}`, ":1: version: is 2, only 1 is known"},
		"without totals":   {`{"version":1}`, ":1: totals: is missing"},
		"unknown key":      {`{"version":1,"total":{}}`, `:1: total: unknown key; did you mean "totals"?`},
		"negative":         {"{\"version\":1,\n\"totals\":{\"door\":-1}}", ":2: totals.door: \"-1\" is not a whole number"},
		"a fraction":       {`{"version":1,"totals":{"door":1.5}}`, ""},
		"too large":        {`{"version":1,"totals":{"door":18446744073709551616}}`, ""},
		"no number":        {`{"version":1,"totals":{"door":"x"}}`, ""},
		"bad name":         {`{"version":1,"totals":{"a/b":1}}`, `:1: totals.a/b: name "a/b": only A-Z, a-z, 0-9, _ and - are allowed`},
		"twice":            {`{"version":1,"totals":{"a":1,"a":2}}`, ":1: totals.a: stands twice; first on line 1"},
		"something behind": {`{"version":1,"totals":{"a":1}}}`, ""},
		"too long":         {strings.Repeat(" ", config.MaxBytes+1), ": has 65537 bytes, at most 65536 are allowed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "totals.json")
			if err := os.WriteFile(path, []byte(test.doc), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := OpenTotals(path)
			prefix, suffix := "read totals: "+path+test.want, "; put "+path+" right or, to begin at 0, remove it"
			if got != nil || err == nil || !strings.HasPrefix(err.Error(), prefix) || !strings.HasSuffix(err.Error(), suffix) {
				t.Errorf("OpenTotals = %v, error\n%v, want\n%s…%s", got, err, prefix, suffix)
			}
			if doc, err := os.ReadFile(path); err != nil || string(doc) != test.doc {
				t.Errorf("the file is now %q, %v", doc, err)
			}
		})
	}
}

func TestTotalsOfAFolder(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	if _, err := OpenTotals(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("OpenTotals of a folder: %v", err)
	}
}

// TestTotalsCutAnywhere holds that a file of which any part is missing at the end is an error, never another total.
func TestTotalsCutAnywhere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "totals.json")
	totals := open(t, path)
	set(t, totals, "door", 1234567)
	set(t, totals, "gas", 89)
	if err := totals.Save(began); err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc {
		if err := os.WriteFile(path, doc[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		cut, err := OpenTotals(path)
		switch {
		case n == len(doc)-1: // the end of the last line only
			if err != nil || cut.Get("door") != 1234567 || cut.Get("gas") != 89 {
				t.Errorf("without its last byte: %v", err)
			}
		case err == nil || !strings.Contains(err.Error(), path):
			t.Errorf("cut after %d bytes, %q: %v", n, doc[:n], err)
		}
	}
}

// TestTotalsOfAKilledProcess kills a process that does nothing but save, again and again, and holds that the file has the total of its
// last whole save or the one that it was killed in.
func TestTotalsOfAKilledProcess(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "totals.json")
	for range 20 {
		told := killCounter(t, self, path, 1+rand.IntN(10))
		if got := open(t, path).Get("door"); got != told && got != told+1 {
			t.Fatalf("killed after it saved %d, the file has %d", told, got)
		}
	}
}

// killCounter runs the counter, kills it after it has said so many lines, and returns the last total that it said.
func killCounter(t *testing.T, self, path string, lines int) (told uint64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), counterEnv+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	for n := 0; said.Scan(); n++ {
		if told, err = strconv.ParseUint(said.Text(), 10, 64); err != nil {
			t.Error(err)
		}
		if n+1 == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Fatalf("the counter ended with %v", err)
	}
	return told
}

func TestTotalsAreSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	totals := open(t, filepath.Join(t.TempDir(), "totals.json"))
	var wg sync.WaitGroup
	for k := range 4 {
		name := fmt.Sprintf("n%d", k)
		wg.Go(func() {
			for n := range 50 {
				if err := totals.Set(name, uint64(n+1)); err != nil {
					t.Error(err)
				}
				if n%10 == k {
					if err := totals.Save(began); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := totals.Save(began); err != nil {
		t.Fatal(err)
	}
	again := open(t, totals.path)
	for k := range 4 {
		if got := again.Get(fmt.Sprintf("n%d", k)); got != 50 {
			t.Errorf("n%d = %d, want 50", k, got)
		}
	}
}
