package discover

import (
	"encoding/binary"

	"golang.org/x/net/bpf"
)

// udp is the length of the header that stands before what a socket's filter is for.
const udp = 8

// frameProgram takes the tail off requests whose frame does not come from the MAC that they name: a socket's filter sees the frame's
// header, which a program without CAP_NET_RAW never does, and can shorten what it lets through. It compares the MAC in a request with that
// of the frame (SKF_LL_OFF of linux/filter.h, in Ethernet's order: destination, source). What it sees begins with the UDP header.
func frameProgram() []bpf.Instruction {
	const (
		frame = 0xffe00000 + 6 // SKF_LL_OFF, source
		all   = 1 << 18
	)
	return []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtLen},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: udp + MinRequest + 1, SkipTrue: 14},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 12},
		bpf.LoadAbsolute{Off: udp, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32([]byte(magic)), SkipTrue: 10},
		bpf.LoadAbsolute{Off: udp + 5, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: typeRequest, SkipTrue: 8},
		bpf.LoadAbsolute{Off: udp + offRequestMAC, Size: 4},
		bpf.TAX{},
		bpf.LoadAbsolute{Off: frame, Size: 4},
		bpf.JumpIfX{Cond: bpf.JumpNotEqual, SkipTrue: 5},
		bpf.LoadAbsolute{Off: udp + offRequestMAC + 4, Size: 2},
		bpf.TAX{},
		bpf.LoadAbsolute{Off: frame + 4, Size: 2},
		bpf.JumpIfX{Cond: bpf.JumpNotEqual, SkipTrue: 1},
		bpf.RetConstant{Val: all},
		bpf.LoadExtension{Num: bpf.ExtLen},
		bpf.ALUOpConstant{Op: bpf.ALUOpSub, Val: 1},
		bpf.RetA{},
	}
}
