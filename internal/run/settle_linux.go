package run

import (
	"bufio"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
)

// Settle gives back the memory that only the start has needed: what the garbage collector holds in reserve, and the pages of the
// program itself, most of which no idle daemon touches again. They stay in the kernel's cache of files, and come back, for a
// microsecond each, where they are needed; but until then they don't count as this process's, and are the first to be had
// where memory is short. It does nothing where it can't find out which pages these are.
func Settle() {
	debug.FreeOSMemory()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer f.Close() //nolint:errcheck // only read
	for _, m := range untouched(f, exe) {
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.start, m.size, syscall.MADV_DONTNEED) // refused: the pages stay
	}
}

// mapping is a part of the address space.
type mapping struct{ start, size uintptr }

// untouched returns which mappings of the file exe are read-only and as the file has them, from smaps (proc_pid_smaps(5)): one
// with a page of its own, such as the relocated data of a position-independent program, would lose it.
func untouched(smaps io.Reader, exe string) (out []mapping) {
	var m mapping
	ours := false
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) >= 5 && strings.Contains(words[0], "-"): // 00400000-008b5000 r-xp 00000000 fe:00 1046 /usr/bin/x
			m, ours = parseMapping(words[0])
			_, path, _ := strings.Cut(lines.Text(), "/")
			ours = ours && (words[1] == "r-xp" || words[1] == "r--p") && "/"+path == exe
		case len(words) == 3 && words[0] == "Anonymous:" && words[1] != "0":
			ours = false
		case len(words) == 3 && words[0] == "Swap:": // stands behind Anonymous
			if ours && words[1] == "0" {
				out = append(out, m)
			}
			ours = false
		}
	}
	return out
}

// parseMapping reads START-END in hexadecimal.
func parseMapping(s string) (mapping, bool) {
	first, last, _ := strings.Cut(s, "-")
	start, err1 := strconv.ParseUint(first, 16, strconv.IntSize)
	end, err2 := strconv.ParseUint(last, 16, strconv.IntSize)
	if err1 != nil || err2 != nil || end <= start {
		return mapping{}, false
	}
	return mapping{uintptr(start), uintptr(end - start)}, true
}
