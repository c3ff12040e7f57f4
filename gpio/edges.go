//go:build linux

package gpio

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/warthog618/gpiod/uapi"
)

// edgeLine is an input with events. It goes past gpiod's own request, whose WithEventBufferSize has no effect: the kernel would
// keep 16 edges.
type edgeLine struct {
	file *os.File
	done chan struct{} // closed when the reader has ended
}

// requestEdges requests an input with both edges from Linux 5.10 or later.
func requestEdges(path string, offset int, o LineOptions) (*edgeLine, error) {
	r := uapi.LineRequest{Lines: 1, EventBufferSize: EventBuffer}
	r.Offsets[0] = uint32(offset)
	copy(r.Consumer[:], o.Consumer)
	r.Config.Flags = edgeFlags(o)
	if o.Debounce > 0 {
		r.Config.AddAttribute(uapi.LineConfigAttribute{Attr: uapi.DebouncePeriod(o.Debounce).Encode(), Mask: 1})
	}
	device, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	err = control(device, func(fd uintptr) error { return uapi.GetLine(fd, &r) })
	if closeErr := device.Close(); err == nil && closeErr != nil {
		err = closeErr
		_ = syscall.Close(int(r.Fd)) // the first error says more
	}
	if err != nil {
		return nil, err
	}
	// Only a file that does not block is known to the runtime's poller, so that Close ends a Read.
	if err := syscall.SetNonblock(int(r.Fd), true); err != nil {
		_ = syscall.Close(int(r.Fd)) // the first error says more
		return nil, err
	}
	l := &edgeLine{file: os.NewFile(uintptr(r.Fd), fmt.Sprintf("line %d", offset)), done: make(chan struct{})}
	go l.read(o.Events)
	return l, nil
}

func edgeFlags(o LineOptions) uapi.LineFlagV2 {
	flags := uapi.LineFlagV2Input | uapi.LineFlagV2EdgeBoth
	if o.ActiveLow {
		flags |= uapi.LineFlagV2ActiveLow
	}
	switch o.Bias {
	case PullUp:
		flags |= uapi.LineFlagV2BiasPullUp
	case PullDown:
		flags |= uapi.LineFlagV2BiasPullDown
	case PullNone:
		flags |= uapi.LineFlagV2BiasDisabled
	}
	return flags
}

// read delivers events until the line is closed or the chip is gone; Value then tells which.
func (l *edgeLine) read(events func(Event)) {
	defer close(l.done)
	var buffer [16 * edgeSize]byte
	for {
		n, err := l.file.Read(buffer[:])
		if err != nil {
			return
		}
		for b := buffer[:n]; len(b) >= edgeSize; b = b[edgeSize:] {
			events(decodeEdge(b))
		}
	}
}

// edgeSize is the size of a struct gpio_v2_line_event of linux/gpio.h.
const edgeSize = 48

// decodeEdge decodes a struct gpio_v2_line_event: timestamp_ns, id, offset, seqno, line_seqno, padding.
func decodeEdge(b []byte) Event {
	n := binary.NativeEndian
	return Event{
		Time:   time.Duration(n.Uint64(b[0:])),
		Rising: uapi.LineEventID(n.Uint32(b[8:])) == uapi.LineEventRisingEdge,
		Offset: int(n.Uint32(b[12:])),
		Seq:    n.Uint32(b[20:]),
	}
}

// Value reads the line.
func (l *edgeLine) Value() (int, error) {
	values := uapi.LineValues{Mask: 1}
	err := control(l.file, func(fd uintptr) error { return uapi.GetLineValuesV2(fd, &values) })
	return values.Get(0), err
}

// SetValue is not for inputs.
func (l *edgeLine) SetValue(int) error { return syscall.EPERM }

// Close gives the line back and waits for the reader.
func (l *edgeLine) Close() error {
	err := l.file.Close()
	<-l.done
	return err
}

// control calls f with the descriptor of a file, which stays open meanwhile.
func control(file *os.File, f func(fd uintptr) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = f(fd) }); err != nil {
		return err
	}
	return result
}
