package discover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// frameSocket hears the frames of an interface, also those that leave by it (packet(7)).
type frameSocket struct {
	iface iface
	file  *os.File
}

// earBuffer is what is asked for as receive buffer of an interface: some 3,000 replies.
const earBuffer = 4 << 20

// openFrames opens a socket that hears the datagrams from and to a port and the one above it. It needs CAP_NET_RAW.
func openFrames(f iface, port uint16) (*frameSocket, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0) // 0: nothing comes before the filter is there
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	s := &frameSocket{iface: f, file: os.NewFile(uintptr(fd), "frames of "+f.Name)}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, earBuffer) // with less some may be lost when many come at a time
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8                 // in network order
	err = attach(fd, portProgram(uint32(port)))
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: f.Index})
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("hear frames of %s: %w", f.Name, err)
	}
	return s, nil
}

func attach(fd int, p []bpf.Instruction) error {
	program, err := bpf.Assemble(p)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(program))
	for i, p := range program {
		filter[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	whole := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, uintptr(unsafe.Pointer(whole)), unsafe.Sizeof(*whole), 0)
	if errno != 0 { // raw: see receive
		return errno
	}
	return nil
}

// portProgram lets UDP by IPv4 and IPv6 from and to a port or the one above it through. What it sees begins with the IP header.
func portProgram(port uint32) []bpf.Instruction {
	const all = 1 << 18
	return []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtProto},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IP, SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IPV6, SkipTrue: 14},
		bpf.LoadConstant{Dst: bpf.RegX, Val: 40},
		bpf.Jump{Skip: 4}, // to the next header
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 10}, // a later fragment
		bpf.LoadMemShift{Off: 0},
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.Jump{Skip: 1},
		bpf.LoadAbsolute{Off: 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 5},
		bpf.LoadIndirect{Off: 0, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: port, SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: port + 1, SkipTrue: 3},
		bpf.LoadIndirect{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: port, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: port + 1, SkipTrue: 1},
		bpf.RetConstant{Val: all},
		bpf.RetConstant{Val: 0},
	}
}

// read calls heard for each datagram until the socket is closed. What a machine sends to itself by the loopback counts once.
func (s *frameSocket) read(heard func(Frame)) error {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	for {
		var n int
		var from unix.Sockaddr
		var rerr error
		err := raw.Read(func(fd uintptr) bool {
			n, from, rerr = unix.Recvfrom(int(fd), buf, 0)
			return !errors.Is(rerr, unix.EAGAIN)
		})
		switch {
		case err != nil:
			return err
		case errors.Is(rerr, unix.EINTR) || errors.Is(rerr, unix.ENETDOWN): // the interface may come up again
			continue
		case rerr != nil:
			return fmt.Errorf("hear frames of %s: %w", s.iface.Name, rerr)
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok || link.Pkttype == unix.PACKET_OUTGOING && s.iface.Flags&net.FlagLoopback != 0 {
			continue
		}
		if f, ok := parseFrame(buf[:n]); ok {
			f.At, f.Interface = time.Now(), s.iface.Name
			heard(f)
		}
	}
}

func (s *frameSocket) close() { _ = s.file.Close() } // nothing was to be kept
