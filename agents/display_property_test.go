package agents

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// tm1638Take does with the memory what the chip does with the frames, and returns the last display control.
func tm1638Take(t *rapid.T, m *tm1638Memory, frames [][]byte) (control byte) {
	fixed := false
	for _, f := range frames {
		switch {
		case len(f) == 0:
			t.Fatal("an empty frame")
		case f[0] == tm1638Write || f[0] == tm1638Fixed:
			fixed = f[0] == tm1638Fixed
			if len(f) > 1 {
				t.Fatalf("bytes behind the data command: %x", f)
			}
		case f[0]&0xC0 == tm1638Address:
			at := int(f[0] &^ tm1638Address)
			if at+len(f)-1 > len(m) || fixed && len(f) != 2 {
				t.Fatalf("frame %x does not fit, fixed address %v", f, fixed)
			}
			copy(m[at:], f[1:])
		case f[0]&0xC0 == tm1638Control && len(f) == 1:
			control = f[0]
		default:
			t.Fatalf("frame %x is no command", f)
		}
	}
	return control
}

// From whatever is shown, known or not, the frames lead to what is to be shown, and never send more than all of it.
func TestTM1638FramesProperty(t *testing.T) {
	t.Parallel()
	memory := rapid.Custom(func(t *rapid.T) tm1638Memory {
		return tm1638Memory(rapid.SliceOfN(rapid.Byte(), 2*tm1638Digits, 2*tm1638Digits).Draw(t, "memory"))
	})
	rapid.Check(t, func(t *rapid.T) {
		was, next := memory.Draw(t, "was"), memory.Draw(t, "next")
		for i := range was { // most changes are small
			if rapid.Bool().Draw(t, "same") {
				next[i] = was[i]
			}
		}
		brightness := rapid.IntRange(0, tm1638Brightest).Draw(t, "brightness")
		known := &was
		if rapid.Bool().Draw(t, "unknown") {
			known = nil
		}
		chip := was
		frames := tm1638Frames(known, next, brightness)
		control := tm1638Take(t, &chip, frames)
		if chip != next {
			t.Fatalf("frames %x make %x of %x, want %x", frames, chip, was, next)
		}
		if on := control&tm1638On != 0; on != (brightness > 0) || on && int(control&7) != brightness-1 || control&^byte(0x0F) != tm1638Control {
			t.Fatalf("brightness %d: control %#x", brightness, control)
		}
		if n := len(slices.Concat(frames...)); n > 3+len(next) {
			t.Fatalf("%d bytes are sent: %x", n, frames)
		}
	})
}

// Every set of keys that are down comes out of the answer that the chip gives for it.
func TestTM1638KeysProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.Uint32Max(tm1638KeysMost).Draw(t, "keys")
		var answer [4]byte
		for k := range 3 {
			for button := range tm1638Digits { // S1 to S4 in the low halves, S5 to S8 in the high ones
				if want>>(8*k+button)&1 == 1 {
					answer[button%4] |= 1 << (button/4*4 + k)
				}
			}
		}
		if got, ok := tm1638Keys(answer); got != want || !ok {
			t.Fatalf("answer %x is %b, %v, want %b", answer, got, ok, want)
		}
	})
}

// What a text shows is what is read back of it, on as many digits, and a text that was read back reads back the same.
func TestTM1638TextProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune(" .,:0123456789AbCdEfhLoPU-_°")), 0, 12, -1).Draw(t, "text")
		cells, err := tm1638Cells(text, tm1638Digits)
		if err != nil {
			return // more than there is room for
		}
		again, err := tm1638Cells(tm1638Text(cells), tm1638Digits)
		if err != nil || !slices.Equal(again, cells) {
			t.Fatalf("%q is %v, which is written %q and is %v, %v", text, cells, tm1638Text(cells), again, err)
		}
	})
}
