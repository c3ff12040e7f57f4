package agents

// gpioGoneFeatures are the rows of a chip that is unplugged.
var gpioGoneFeatures = []gpioFeature{
	{"unplugged with edges: offline, and back by itself", "", func(f *features) {
		f.goneAndBack("inputs: {b: {pin: 8}}")
		f.board.Drive(8, 1)
		f.wantState("input/b", "ON")
	}},
	{"unplugged without edges: offline, and back by itself", "", func(f *features) { f.goneAndBack("") }},
}

// goneAndBack unplugs the chip of an output that is restored, beside more of a set-up, and plugs it in again.
func (f *features) goneAndBack(more string) {
	f.t.Helper()
	f.do("setup", "outputs: {a: {pin: 4, initial: restore}}\n"+more)
	f.do("set/output/a", "ON")
	f.unplugged()
	f.refuse("set/output/a", "OFF", "gone")
	f.board.Plug()
	f.wantState("status", "online")
	f.wantState("error", "")
	f.wantState("output/a", "ON")
	f.wantLevel(4, 1)
}
