package agents

import ()

// gpioGoneFeatures are the rows of a chip that is unplugged.
var gpioGoneFeatures = []gpioFeature{
	{"unplugged with edges: offline, and back by itself", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, initial: restore}}\ninputs: {b: {pin: 8}}")
		f.do("set/output/a", "ON")
		f.unplugged()
		f.refuse("set/output/a", "OFF", "gone")
		f.board.Plug()
		f.wantState("status", "online")
		f.wantState("error", "")
		f.wantState("output/a", "ON")
		f.wantLevel(4, 1)
		f.board.Drive(8, 1)
		f.wantState("input/b", "ON")
	}},
	{"unplugged without edges: offline, and back by itself", "", func(f *features) {
		f.do("setup", "outputs: {a: {pin: 4, initial: restore}}")
		f.do("set/output/a", "ON")
		f.unplugged()
		f.refuse("set/output/a", "OFF", "gone")
		f.board.Plug()
		f.wantState("status", "online")
		f.wantState("error", "")
		f.wantState("output/a", "ON")
		f.wantLevel(4, 1)
	}},
}
