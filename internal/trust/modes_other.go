//go:build !unix

package trust

// ownedModes is true where the mode of a file says who may read it.
const ownedModes = false
