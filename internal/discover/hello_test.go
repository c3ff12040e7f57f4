package discover

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHello(t *testing.T) {
	t.Parallel()
	key := newKey(t, "host")
	h := Hello{Open: true, Host: ID{1}, Time: time.UnixMilli(1_770_000_000_123).UTC(), Seq: 3, Age: time.Minute, MAC: [6]byte{2, 0, 0, 0, 0, 1},
		Edition: 7, BootID: bootID("6f1cb2b5-4fbb-4e3b-a56a-000000000001")}
	if h.BootID == [16]byte{} || bootID("nonsense") != [16]byte{} {
		t.Errorf("bootID() = %x", h.BootID)
	}
	for name, k := range map[string]Key{"signed": key, "not signed": nil} {
		h.Bye = !h.Bye
		h.Key = nil
		if k != nil {
			h.Key = public(k)
		}
		b := h.marshal(k)
		got, err := ParseHello(b)
		if err != nil || !cmp.Equal(got, h) {
			t.Errorf("%s: ParseHello(marshal()) = %+v, %v, want %+v", name, got, err, h)
		}
		for n := range b {
			if got, err := ParseHello(b[:n]); err == nil {
				t.Errorf("%s: ParseHello() of %d bytes = %+v, want an error", name, n, got)
			}
		}
		if k == nil {
			continue
		}
		for i := range b {
			if got, err := ParseHello(edit(b, i, b[i]^0x10)); err == nil {
				t.Errorf("ParseHello() with byte %d changed = %+v, want an error", i, got)
			}
		}
	}
}

func FuzzParseHello(f *testing.F) {
	h := Hello{Host: ID{1}, Seq: 1, Time: time.UnixMilli(1)}
	f.Add(h.marshal(nil))
	f.Add(h.marshal(newKey(f, "host")))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHello(b)
		if err == nil && h.Key == nil && string(h.marshal(nil)) != string(b) {
			t.Errorf("marshal(ParseHello(%x)) differs", b)
		}
	})
}
