package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"github.com/mochi-mqtt/server/v2/packets"
	"go.etcd.io/bbolt"

	"rollcall/internal/table"
)

const (
	retainedName  = "retained" // the only bucket: topic → message
	messageFormat = 1          // first byte of every message
	messageHeader = 1 + 1 + 8 + 8
)

var errCorrupt = table.ErrCorrupt

// message is a retained message as it is stored: format 1, QoS 1, created 8, expiry 8 bytes (Unix seconds, big endian; an
// expiry of 0 is never), payload.
type message struct {
	qos             byte
	created, expiry int64
	payload         []byte // empty: no message
}

func messageOf(pk packets.Packet) message {
	m := message{qos: pk.FixedHeader.Qos, created: pk.Created, payload: pk.Payload}
	if pk.ProtocolVersion == 5 {
		m.expiry = pk.Expiry
	}
	return m
}

// packet returns the message as mochi keeps it.
func (m message) packet(topic string) packets.Packet {
	pk := packets.Packet{
		ProtocolVersion: 4,
		FixedHeader:     packets.FixedHeader{Type: packets.Publish, Retain: true, Qos: m.qos},
		TopicName:       topic,
		Payload:         m.payload,
		Created:         m.created,
		Expiry:          m.expiry,
	}
	if m.expiry != 0 {
		pk.ProtocolVersion = 5 // the only one whose messages expire
	}
	return pk
}

func (m message) marshal() []byte {
	b := make([]byte, 0, messageHeader+len(m.payload))
	b = append(b, messageFormat, m.qos)
	b = binary.BigEndian.AppendUint64(b, uint64(m.created))
	b = binary.BigEndian.AppendUint64(b, uint64(m.expiry))
	return append(b, m.payload...)
}

func parseMessage(b []byte) (message, error) {
	if len(b) <= messageHeader || len(b) > messageHeader+maxKept || b[0] != messageFormat || b[1] > 2 {
		return message{}, fmt.Errorf("message of %d bytes: %w", len(b), errCorrupt)
	}
	return message{
		qos:     b[1],
		created: int64(binary.BigEndian.Uint64(b[2:])),
		expiry:  int64(binary.BigEndian.Uint64(b[10:])),
		payload: bytes.Clone(b[messageHeader:]),
	}, nil
}

// store keeps retained messages in a file. One goroutine at a time may use it.
type store struct {
	db   *bbolt.DB
	path string
	log  *slog.Logger
}

// openStore opens the store and reads it. A file that is not a sound store is moved aside, loudly, and a new one made.
func openStore(path string, log *slog.Logger) (*store, map[string]message, error) {
	s, messages, err := tryStore(path)
	if errors.Is(err, errCorrupt) {
		s = &store{path: path, log: log}
		return s, nil, s.renew(err)
	}
	if s != nil {
		s.log = log
	}
	return s, messages, err
}

// renew moves the file aside, which is not a sound store because of err, and makes a new one. The old one stays open, since
// bbolt may have left its locks behind.
func (s *store) renew(err error) error {
	aside, renameErr := table.Aside(s.path)
	if renameErr != nil {
		return fmt.Errorf("move corrupt retained store aside: %w", errors.Join(renameErr, err))
	}
	s.log.Error("RETAINED MESSAGES MAY BE LOST: the store was corrupt and has been moved aside", "store", s.path, "moved_to", aside, "err", err)
	fresh, _, err := tryStore(s.path)
	if err != nil {
		return err
	}
	s.db = fresh.db
	return nil
}

// tryStore opens, checks and reads the store; the error is errCorrupt when a new file would help.
func tryStore(path string) (s *store, messages map[string]message, err error) {
	db, err := table.OpenFile(path)
	switch {
	case err == nil:
	case errors.Is(err, table.ErrInUse):
		return nil, nil, fmt.Errorf("retained store %s is in use by another process", path)
	case errors.Is(err, errCorrupt):
		return nil, nil, fmt.Errorf("retained store: %w", err)
	default:
		return nil, nil, fmt.Errorf("open retained store: %w", err)
	}
	s = &store{db: db, path: path}
	if messages, err = s.read(path); err != nil {
		return nil, nil, errors.Join(err, s.close())
	}
	return s, messages, nil
}

// read reads every page in use, which are few, and returns what is in them. It leaves out bbolt's Check, which runs in a
// goroutine where nothing contains a fault and counts to 4 G where a page says so; the free list stays unchecked with that.
func (s *store) read(path string) (map[string]message, error) {
	messages := map[string]message{}
	err := table.Contain(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			if err := table.Whole(tx, path); err != nil {
				return err
			}
			return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
				if string(name) != retainedName {
					return fmt.Errorf("%w: bucket %.32q is not ours", errCorrupt, name)
				}
				return b.ForEach(func(k, v []byte) error {
					m, err := parseMessage(v)
					messages[string(k)] = m
					return err
				})
			})
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read retained store %s: %w", path, err)
	}
	return messages, nil
}

// write stores messages in one transaction, or nothing when it fails; a message without payload is removed. What is stored
// already is not written again, which spares the flash of a host whose agents repeat themselves.
func (s *store) write(messages map[string]message) error {
	return table.Contain(func() error {
		tx, err := s.db.Begin(true)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // does nothing after Commit
		b, err := tx.CreateBucketIfNotExists([]byte(retainedName))
		if err != nil {
			return err
		}
		changed := false
		for topic, m := range messages {
			did, err := put(b, topic, m)
			if err != nil {
				return fmt.Errorf("topic %q: %w", topic, err)
			}
			changed = changed || did
		}
		if !changed {
			return nil
		}
		return tx.Commit()
	})
}

// put stores or removes m and reports whether that has changed anything.
func put(b *bbolt.Bucket, topic string, m message) (changed bool, err error) {
	old := b.Get([]byte(topic))
	if len(m.payload) == 0 {
		return old != nil, b.Delete([]byte(topic))
	}
	if o, err := parseMessage(old); err == nil && o.qos == m.qos && o.expiry == m.expiry && bytes.Equal(o.payload, m.payload) {
		return false, nil
	}
	return true, b.Put([]byte(topic), m.marshal())
}

func (s *store) close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close retained store: %w", err)
	}
	return nil
}
