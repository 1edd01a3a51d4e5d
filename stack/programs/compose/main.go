// Loads a compose file as `docker compose config` does (interpolation, profiles, checks) and prints it as JSON.
// The library is Docker's own; its example command leaves the environment out.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	options, err := cli.NewProjectOptions(os.Args[1:], cli.WithOsEnv, cli.WithDotEnv, cli.WithDefaultProfiles())
	if err == nil {
		project, failure := options.LoadProject(context.Background())
		if err = failure; err == nil {
			out, _ := project.MarshalJSON()
			fmt.Println(string(out))
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
