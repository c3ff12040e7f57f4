package reports

// Face is a form that a cluster can be written in: a document of an open standard, derived from the descriptions alone.
type Face struct {
	Name string // the word of `udpsrv docs --format`
	Doc  string // what it is, in a few words
	File string // the file that it goes to in a folder, as asyncapi.json

	// Write returns the document. It is a pure function: the same cluster gives the same bytes, on every machine.
	Write func(Cluster) ([]byte, error)
	// Parts returns what else goes to a folder beside the document; nil: nothing.
	Parts func(Cluster) ([]File, error)
}

// File is a part of a document that has several.
type File struct {
	Name string // with slashes, below the folder; never absolute, never with ..
	Data []byte
}
