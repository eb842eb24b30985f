package notes

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

func store(limit int) *Store {
	return NewStore(limit, func() time.Time { return noon })
}

func TestANoteIsStoredTrimmedAndDated(t *testing.T) {
	s := store(10)
	added, err := s.Add("  buy milk\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := (Note{ID: 1, Text: "buy milk", Created: noon}); added != want {
		t.Errorf("got %+v, want %+v", added, want)
	}
	if got, err := s.Get(added.ID); err != nil || got != added {
		t.Errorf("Get: %+v, %v", got, err)
	}
}

func TestNumbersAreNotUsedAgain(t *testing.T) {
	s := store(10)
	first, _ := s.Add("a")
	if err := s.Remove(first.ID); err != nil {
		t.Fatal(err)
	}
	second, _ := s.Add("b")
	if second.ID != 2 {
		t.Errorf("id %d", second.ID)
	}
	if _, err := s.Get(first.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get of a removed note: %v", err)
	}
	if err := s.Remove(first.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("second Remove: %v", err)
	}
}

func TestTextsOfTheWrongLengthAreRefused(t *testing.T) {
	s := store(10)
	for _, text := range []string{"", " \t ", strings.Repeat("x", MaxLength+1)} {
		if _, err := s.Add(text); !errors.Is(err, ErrText) {
			t.Errorf("%d bytes: %v", len(text), err)
		}
	}
	if all := s.All(); all == nil || len(all) != 0 {
		t.Errorf("All is %v, want an empty list", all)
	}
}

func TestAFullStoreTakesNoMoreEvenFromManyAtOnce(t *testing.T) {
	s := store(50)
	var wait sync.WaitGroup
	var mu sync.Mutex
	refused := 0
	for range 80 {
		wait.Go(func() {
			if _, err := s.Add("x"); errors.Is(err, ErrFull) {
				mu.Lock()
				refused++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if refused != 30 || len(s.All()) != 50 {
		t.Errorf("refused %d, stored %d", refused, len(s.All()))
	}
	for i, note := range s.All() {
		if note.ID != i+1 {
			t.Fatalf("note %d has id %d", i, note.ID)
		}
	}
}
