// Reads compose files as docker compose does, with its own library, for the test that compares.
//
// One request a line: {"files": [...], "directory": "...", "env": ["A=1", ...], "profiles": [...]}. One answer a line: the project as
// compose-go writes it, or {"error": "..."}.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

type request struct {
	Files     []string `json:"files"`
	Directory string   `json:"directory"`
	Env       []string `json:"env"`
	Profiles  []string `json:"profiles"`
}

func load(r request) ([]byte, error) {
	options, err := cli.NewProjectOptions(r.Files,
		cli.WithWorkingDirectory(r.Directory), cli.WithEnv(r.Env), cli.WithEnvFiles(), cli.WithDotEnv, cli.WithProfiles(r.Profiles), cli.WithDiscardEnvFile)
	if err != nil {
		return nil, err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return nil, err
	}
	return project.MarshalJSON()
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var r request
		answer, err := []byte(nil), json.Unmarshal(line, &r)
		if err == nil {
			answer, err = load(r)
		}
		if err != nil {
			answer, _ = json.Marshal(map[string]string{"error": err.Error()})
		}
		var one any
		_ = json.Unmarshal(answer, &one)
		plain, _ := json.Marshal(one)
		fmt.Printf("%s\n", plain)
	}
}
