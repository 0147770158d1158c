// `vault agent` without the rest of Vault: its server and its secret engines are most of it, and have no part in a
// shutdown. build.py leaves them out of the source that this is built from.
package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/vault/command"
	"github.com/mitchellh/cli"
)

func main() {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, os.Interrupt, syscall.SIGTERM)
	shutdown := make(chan struct{})
	go func() {
		<-terminated
		close(shutdown)
	}()
	agent := command.AgentCommand{
		BaseCommand: &command.BaseCommand{UI: &cli.BasicUi{Writer: os.Stdout, ErrorWriter: os.Stderr}},
		ShutdownCh:  shutdown,
		SighupCh:    make(chan struct{}),
	}
	os.Exit(agent.Run(os.Args[2:]))
}
