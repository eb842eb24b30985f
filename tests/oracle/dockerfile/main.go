// Command oracle reads questions, one JSON value a line, and answers each with what BuildKit's own code makes of it.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

type question struct {
	Text   string            // a Dockerfile, or a word when there is an environment
	Escape string            // of the word
	Env    map[string]string // of the word
}

type answer struct {
	Error        string        `json:"error,omitempty"`
	Escape       string        `json:"escape,omitempty"`
	Instructions []instruction `json:"instructions,omitempty"`
	Names        []string      `json:"names,omitempty"`   // of the stages
	Bases        []string      `json:"bases,omitempty"`   // of the stages
	Refused      string        `json:"refused,omitempty"` // by what makes commands of the lines
	Word         string        `json:"word"`
}

type instruction struct {
	Keyword  string    `json:"keyword"`
	Start    int       `json:"start"`
	End      int       `json:"end"`
	Flags    []string  `json:"flags"`
	Words    []string  `json:"words"` // what follows the flags, split as this instruction is
	JSON     bool      `json:"json"`
	Heredocs []heredoc `json:"heredocs"`
}

type heredoc struct {
	Name    string `json:"name"`
	Expand  bool   `json:"expand"`
	Chomp   bool   `json:"chomp"`
	Content string `json:"content"`
}

func expand(asked question) (found answer) {
	env := make([]string, 0, len(asked.Env))
	for name, value := range asked.Env {
		env = append(env, name+"="+value)
	}
	word, _, err := shell.NewLex([]rune(asked.Escape)[0]).ProcessWord(asked.Text, shell.EnvsFromSlice(env))
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Word: word}
}

func parse(asked question) (found answer) {
	parsed, err := parser.Parse(strings.NewReader(asked.Text))
	if err != nil {
		return answer{Error: err.Error()}
	}
	found.Escape = string(parsed.EscapeToken)
	for _, node := range parsed.AST.Children {
		one := instruction{
			Keyword: strings.ToUpper(node.Value), Start: node.StartLine, End: node.EndLine,
			Flags: append([]string{}, node.Flags...), Words: []string{}, JSON: node.Attributes["json"], Heredocs: []heredoc{},
		}
		for next := node.Next; next != nil; next = next.Next {
			one.Words = append(one.Words, next.Value)
		}
		for _, doc := range node.Heredocs {
			one.Heredocs = append(one.Heredocs, heredoc{doc.Name, doc.Expand, doc.Chomp, doc.Content})
		}
		found.Instructions = append(found.Instructions, one)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		found.Refused = err.Error()
		return found
	}
	for _, stage := range stages {
		found.Names = append(found.Names, stage.Name)
		found.Bases = append(found.Bases, stage.BaseName)
	}
	return found
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		var found answer
		if asked.Env != nil {
			found = expand(asked)
		} else {
			found = parse(asked)
		}
		if err := encoder.Encode(found); err != nil {
			panic(err)
		}
		out.Flush()
	}
}
