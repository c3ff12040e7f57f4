// Package job is what the host and the programs in its guest tell each other: the job itself in files of one folder that both
// see, and what comes up later over a serial line.
package job

import "time"

// Spec is what the guest is to run, with paths as the host has them.
type Spec struct {
	Binary string
	Args   []string
	Env    []string
	Dir    string
	Name   string   // of the host; as the kernel has it if empty
	Addr   string   // of vec0, with the prefix length; none if empty
	Disk   bool     // ubd0 is a disk to mount
	Shown  []string // more folders of the host to see, at the same paths
}

// The files in the job's folder.
const (
	SpecFile   = "job.json" // a Spec
	OutputFile = "output"   // standard output and error of the binary
	StatusFile = "status"   // its exit status as a number; or why it never ran
)

// In the guest.
const (
	DiskDir = "/run/disk"  // where the disk is mounted
	Serial  = "/dev/ttyS0" // where the attendant hears orders
)

// Verb is what an Order asks for.
type Verb string

// The verbs, and which fields of the Order they read.
const (
	Start  Verb = "start"  // Path, Args, Env, Notify; answered with Pid
	Signal Verb = "signal" // Program, Signal
	Pull   Verb = "pull"   // Line, High
	Level  Verb = "level"  // Line; answered with High
	Watch  Verb = "watch"  // Line; news Set follow
	Write  Verb = "write"  // Path, Data
	Read   Verb = "read"   // Path; answered with Data
	Off    Verb = "off"    // end, so that init powers the guest off
	See    Verb = "see"    // Path: a file of the job's folder with the order itself
)

// LongestOrder is how long a line from the host may be. The driver of the serial line holds 4 KiB, and if they are ever full it
// never reads again; so a longer order goes through a file, and one is answered before the next is sent.
const LongestOrder = 1024

// Order is one line of JSON from the host.
type Order struct {
	ID      int
	Do      Verb
	Path    string   `json:",omitempty"`
	Args    []string `json:",omitempty"`
	Env     []string `json:",omitempty"`
	Notify  bool     `json:",omitempty"` // give it NOTIFY_SOCKET and tell of its READY=1
	Program int      `json:",omitempty"` // the ID of the order that started it
	Signal  int      `json:",omitempty"`
	Line    int      `json:",omitempty"`
	High    bool     `json:",omitempty"`
	Data    []byte   `json:",omitempty"`
}

// News is what a Word tells that is no answer.
type News string

// The news, and the fields of the Word that they fill.
const (
	Hello     News = "hello" // the attendant listens
	Output    News = "out"   // Data
	Complaint News = "err"   // Data: what the program writes to standard error
	Ready     News = "ready" // the program said READY=1
	Exit      News = "exit"  // Status
	Set       News = "set"   // High, At; or Error, when no more will come
	Gone      News = "gone"  // not sent: what the host notes last of all that the guest's end has ended
)

// Word is one line of JSON from the guest: the answer to an order, or news of what an order started.
type Word struct {
	ID     int           `json:",omitempty"` // of the Order
	News   News          `json:",omitempty"`
	Error  string        `json:",omitempty"`
	Pid    int           `json:",omitempty"`
	Status int           `json:",omitempty"` // as of a shell: 128 and more for a signal
	High   bool          `json:",omitempty"`
	At     time.Duration `json:",omitempty"` // monotonic clock
	Data   []byte        `json:",omitempty"`
}
