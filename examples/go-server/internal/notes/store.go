// Package notes keeps short texts in memory. They are gone when the process ends.
package notes

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// MaxLength is the longest text of a note, in bytes.
const MaxLength = 1000

// Errors that a caller tells apart with errors.Is.
var (
	ErrNotFound = errors.New("there is no such note")
	ErrFull     = errors.New("no more notes fit")
	ErrText     = fmt.Errorf("the text of a note must have 1 to %d bytes", MaxLength)
)

// Note is one text with the number that names it.
type Note struct {
	ID      int       `json:"id"`
	Text    string    `json:"text"`
	Created time.Time `json:"created"`
}

// Store is safe for concurrent use. Make one with NewStore.
type Store struct {
	mu    sync.RWMutex
	limit int
	next  int
	notes map[int]Note
	now   func() time.Time
}

// NewStore makes an empty store that holds at most limit notes; now is the clock that dates them.
func NewStore(limit int, now func() time.Time) *Store {
	return &Store{limit: limit, next: 1, notes: make(map[int]Note), now: now}
}

// Add stores text, trimmed, under a new number. It fails with ErrText or ErrFull.
func (s *Store) Add(text string) (Note, error) {
	text = strings.TrimSpace(text)
	if text == "" || len(text) > MaxLength {
		return Note{}, ErrText
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.notes) >= s.limit {
		return Note{}, ErrFull
	}
	note := Note{ID: s.next, Text: text, Created: s.now().UTC()}
	s.notes[note.ID] = note
	s.next++
	return note, nil
}

// Get returns the note with this number, or ErrNotFound.
func (s *Store) Get(id int) (Note, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	note, ok := s.notes[id]
	if !ok {
		return Note{}, ErrNotFound
	}
	return note, nil
}

// Remove deletes the note with this number, or fails with ErrNotFound. Its number is not used again.
func (s *Store) Remove(id int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.notes[id]; !ok {
		return ErrNotFound
	}
	delete(s.notes, id)
	return nil
}

// All returns every note, oldest first; never nil.
func (s *Store) All() []Note {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]Note, 0, len(s.notes))
	for _, note := range s.notes {
		all = append(all, note)
	}
	slices.SortFunc(all, func(a, b Note) int { return cmp.Compare(a.ID, b.ID) })
	return all
}
