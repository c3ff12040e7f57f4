package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"unicode/utf8"

	"rollcall/reports"
)

// stdin is an opener of the standard input, which is not closed.
func (a *app) stdin() (io.ReadCloser, error) { return io.NopCloser(a.in), nil }

// readDocument reads a document that goes into one payload. An empty one is refused: it is what a failed program before a pipe
// leaves. Where the document comes from a pipe that stays silent, opening it and reading it take for ever and can't be ended:
// when ctx ends they are left behind, for as long as the process still lives.
func readDocument(ctx context.Context, open func() (io.ReadCloser, error), name string) (string, error) {
	type outcome struct {
		doc []byte
		err error
	}
	read := make(chan outcome, 1)
	go func() {
		b, err := readAtMost(open, reports.MaxPayload+1)
		read <- outcome{b, err}
	}()
	var got outcome
	select {
	case got = <-read:
	case <-ctx.Done():
		return "", errInterrupted
	}
	switch _, named := errors.AsType[*fs.PathError](got.err); {
	case named:
		return "", got.err
	case got.err != nil:
		return "", fmt.Errorf("read %s: %w", name, got.err)
	case len(got.doc) > reports.MaxPayload:
		return "", fmt.Errorf("%s has more than %d bytes", name, reports.MaxPayload)
	case !utf8.Valid(got.doc):
		return "", fmt.Errorf("%s is not UTF-8", name)
	case len(bytes.TrimSpace(got.doc)) == 0:
		return "", errors.New(name + " is empty; nothing was sent")
	}
	return string(got.doc), nil
}

// readAtMost returns the first most bytes of what open opens, or all of it.
func readAtMost(open func() (io.ReadCloser, error), most int64) ([]byte, error) {
	r, err := open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, most))
}
