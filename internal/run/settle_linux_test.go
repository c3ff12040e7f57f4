package run

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestUntouched holds which mappings may be given back: a wrong one would change the program under way.
func TestUntouched(t *testing.T) {
	t.Parallel()
	part := func(head, anonymous, swap string) string {
		return head + "\nSize: 4 kB\nRss: 4 kB\nAnonymous: " + anonymous + " kB\nKSM: 0 kB\nSwap: " + swap + " kB\nSwapPss: 0 kB\nVmFlags: rd ex\n"
	}
	smaps := part("00400000-008b5000 r-xp 00000000 fe:00 104 /usr/bin/a program", "0", "0") +
		part("008b5000-00d92000 r--p 004b5000 fe:00 104    /usr/bin/a program", "0", "0") +
		part("00d92000-00d93000 r--p 004b5000 fe:00 104 /usr/bin/a program", "4", "0") + // relocated
		part("00d93000-00d94000 r--p 004b5000 fe:00 104 /usr/bin/a program", "0", "4") +
		part("00d94000-00d95000 rw-p 00990000 fe:00 104 /usr/bin/a program", "0", "0") +
		part("00d95000-00d96000 r--s 00990000 fe:00 104 /usr/bin/a program", "0", "0") +
		part("00d96000-00d97000 r-xp 00000000 fe:00 104 /usr/bin/a", "0", "0") +
		part("7f00000000-7f00001000 r-xp 00000000 00:00 0 [vdso]", "0", "0") +
		part("7f00001000-7f00002000 r--p 00000000 00:00 0", "0", "0") +
		"00e00000-00e01000 r-xp 00000000 fe:00 104 /usr/bin/a program\n" // cut off
	want := []mapping{{0x400000, 0x4b5000}, {0x8b5000, 0x4dd000}}
	if got := untouched(strings.NewReader(smaps), "/usr/bin/a program"); !slices.Equal(got, want) {
		t.Errorf("untouched() = %x, want %x", got, want)
	}
}

// TestSettle is not parallel: nothing else may run the program in the meantime.
func TestSettle(t *testing.T) {
	resident := func() (kb int) {
		text, err := os.ReadFile("/proc/self/smaps_rollup")
		if err != nil {
			t.Skip(err)
		}
		m := regexp.MustCompile(`Rss: +(\d+) kB`).FindSubmatch(text)
		if m == nil {
			t.Fatalf("no size in %s", text)
		}
		kb, err = strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		return kb
	}
	before := resident()
	Settle()
	if after := resident(); after >= before {
		t.Errorf("%d kB are resident, %d kB were", after, before)
	}
	Settle() // and everything still works
}
