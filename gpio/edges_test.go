//go:build linux

package gpio

import (
	"encoding/binary"
	"testing"
	"time"
	"unsafe"

	"github.com/warthog618/gpiod/uapi"
)

func TestDecodeEdge(t *testing.T) {
	t.Parallel()
	if got := unsafe.Sizeof(uapi.LineEvent{}); got != edgeSize {
		t.Errorf("size of an event = %d, want %d", got, edgeSize)
	}
	for _, want := range []Event{
		{Offset: 17, Rising: true, Time: 90 * time.Hour, Seq: 1},
		{Offset: 1 << 20, Rising: false, Time: 1, Seq: 1<<32 - 1},
	} {
		id := uapi.LineEventFallingEdge
		if want.Rising {
			id = uapi.LineEventRisingEdge
		}
		// As linux/gpio.h has it, with the number of the edge in the request (99) before that of the line.
		b := binary.NativeEndian.AppendUint64(nil, uint64(want.Time))
		for _, word := range []uint32{uint32(id), uint32(want.Offset), 99, want.Seq, 0, 0, 0, 0, 0, 0} {
			b = binary.NativeEndian.AppendUint32(b, word)
		}
		if got := decodeEdge(b); got != want {
			t.Errorf("decodeEdge(%x) = %+v, want %+v", b, got, want)
		}
	}
}
