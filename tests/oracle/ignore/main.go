// Command ignore answers, for each line of JSON with an ignore file's text and paths, what moby/patternmatcher says.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

type question struct {
	Text  string
	Paths []string
}

type answer struct {
	Patterns []string
	Refused  bool // whether one of the patterns, taken alone, cannot be used
	Excluded []bool
}

// usable says whether a pattern works. The package compiles it only when a path reaches it, so it is tried.
func usable(pattern string) bool {
	alone := strings.TrimPrefix(filepath.Clean(strings.TrimSpace(pattern)), "!")
	if strings.TrimSpace(pattern) == "" {
		return true
	}
	if alone == "" {
		return false
	}
	matcher, err := patternmatcher.New([]string{pattern})
	if err != nil {
		return false
	}
	if matcher.Exclusions() {
		matcher, err = patternmatcher.New([]string{"**", pattern})
		if err != nil {
			return false
		}
	}
	_, _, err = matcher.MatchesUsingParentResults("x", patternmatcher.MatchInfo{})
	return err == nil
}

func ask(q question) (a answer) {
	var err error
	if a.Patterns, err = ignorefile.ReadAll(strings.NewReader(q.Text)); err != nil {
		a.Refused = true
		return
	}
	for _, pattern := range a.Patterns {
		a.Refused = a.Refused || !usable(pattern)
	}
	if a.Refused {
		return
	}
	matcher, err := patternmatcher.New(a.Patterns)
	if err != nil {
		panic(err)
	}
	for _, path := range q.Paths {
		var info patternmatcher.MatchInfo
		var excluded bool
		parts := strings.Split(path, "/")
		for i := range parts { // as a walk does: folder by folder
			excluded, info, err = matcher.MatchesUsingParentResults(strings.Join(parts[:i+1], "/"), info)
			if err != nil {
				panic(err)
			}
		}
		a.Excluded = append(a.Excluded, excluded)
	}
	return
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var q question
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			panic(err)
		}
		if err := out.Encode(ask(q)); err != nil {
			panic(err)
		}
	}
}
