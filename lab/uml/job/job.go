// Package job is what the host and the init of its guest tell each other: files in one folder that both see.
package job

// Spec is what the guest is to run, with paths as the host has them.
type Spec struct {
	Binary string
	Args   []string
	Env    []string
	Dir    string
}

// The files in the job's folder.
const (
	SpecFile   = "job.json" // a Spec
	OutputFile = "output"   // standard output and error of the binary
	StatusFile = "status"   // its exit status as a number; or why it never ran
)
