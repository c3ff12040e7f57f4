package discover

import (
	"encoding/binary"
	"errors"
	"slices"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// by makes it the gate of the socket that r has taken over. g.mu is held.
func (g *gate) by(r *receiver) {
	if g.raw != nil {
		g.raw = r.raw
	}
}

// attachTo makes rules, and what frameProgram does, the filter of a socket.
func attachTo(raw syscall.RawConn, rules gateRules) (err error) {
	cerr := raw.Control(func(fd uintptr) { err = attach(int(fd), append(rules.program(), frameProgram()...)) })
	return errors.Join(cerr, err)
}

// unfilter takes the filter of a socket away.
func unfilter(raw syscall.RawConn) {
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) }) // there is none then
}

// program drops what the rules say, and what is in neither form; what goes on behind it, it has let through. What it sees begins with the
// UDP header. To read beyond its end is to drop a datagram.
func (g gateRules) program() []bpf.Instruction {
	var drop bpf.RetConstant
	var chance bpf.Instruction = bpf.LoadExtension{Num: bpf.ExtRand} // the number of what has none
	var thin []bpf.Instruction
	if g.of <= 1 {
		chance = bpf.LoadConstant{Dst: bpf.RegA}
	} else {
		first := uint32(1)
		if g.strict {
			first = 0 // no request has it
		}
		thin = []bpf.Instruction{
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: first, SkipTrue: 4},
			bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: g.turn},
			bpf.ALUOpConstant{Op: bpf.ALUOpMod, Val: g.of},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
			drop,
		}
	}
	strangers := g.strangersProgram()
	request := slices.Concat([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtLen},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: udp + MinRequest, SkipTrue: 1},
		drop,
	}, strangers, []bpf.Instruction{bpf.LoadAbsolute{Off: udp + offRequestSeq, Size: 4}})
	relay := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtLen},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: udp + relayHeader, SkipTrue: 1},
		drop,
		bpf.LoadAbsolute{Off: udp + offRelaySeq, Size: 4},
		bpf.Jump{Skip: uint32(len(request))},
	}
	sealed := slices.Concat([]bpf.Instruction{
		bpf.LoadAbsolute{Off: udp, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32([]byte(magic)), SkipTrue: 1},
		drop,
		bpf.LoadAbsolute{Off: udp + 5, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: typeRelay, SkipTrue: uint8(len(relay))},
	}, relay, request)
	var original []bpf.Instruction
	if !g.deaf {
		original = []bpf.Instruction{
			bpf.LoadAbsolute{Off: udp, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: '{', SkipTrue: 5},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: ' ', SkipTrue: 4}, // what follows, the host looks for
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: '\t', SkipTrue: 3},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: '\r', SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: '\n', SkipTrue: 1},
			bpf.Jump{Skip: 2},
			chance,
			bpf.Jump{Skip: uint32(len(sealed))},
		}
	}
	return slices.Concat(g.hush.program(), original, sealed, thin)
}

// program drops what asks the same.
func (h *hush) program() []bpf.Instruction {
	if h.size == 0 {
		return nil
	}
	p := []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtLen}, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: uint32(udp + h.size)}}
	for _, w := range h.words {
		p = append(p, bpf.LoadAbsolute{Off: uint32(udp + w.at), Size: 4}, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: w.value})
	}
	for _, b := range h.bits {
		p = append(p, bpf.LoadAbsolute{Off: uint32(udp + b.at), Size: 1}, bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: uint32(b.mask)})
	}
	for i := range p {
		if j, ok := p[i].(bpf.JumpIf); ok {
			j.SkipTrue = uint8(len(p) - i) // to behind the end
			p[i] = j
		}
	}
	return append(p, bpf.RetConstant{})
}

// strangersProgram drops requests of this version with the key ids of strangers.
func (g gateRules) strangersProgram() []bpf.Instruction {
	var list []bpf.Instruction
	for _, id := range g.strangers {
		list = append(list,
			bpf.LoadScratch{Dst: bpf.RegA, N: 0},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(id[:]), SkipTrue: 3},
			bpf.LoadScratch{Dst: bpf.RegA, N: 1},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(id[4:]), SkipTrue: 1},
			bpf.RetConstant{},
		)
	}
	if list == nil {
		return nil
	}
	return append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: udp + 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: wireVersion<<8 | typeRequest, SkipTrue: uint8(4 + len(list))},
		bpf.LoadAbsolute{Off: udp + offRequestOperator, Size: 4},
		bpf.StoreScratch{Src: bpf.RegA, N: 0},
		bpf.LoadAbsolute{Off: udp + offRequestOperator + 4, Size: 4},
		bpf.StoreScratch{Src: bpf.RegA, N: 1},
	}, list...)
}
