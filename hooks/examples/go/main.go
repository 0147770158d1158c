// Prints how the command ended, and sends it to HOOK_GO_URL if that is set: an ordinary program that reads its context
// from environment variables.
package main

import (
	"fmt"
	"net/url"
	"os"
	"strings"
)

func main() {
	program, _, _ := strings.Cut(os.Getenv("WRAPPER_COMMAND"), " ")
	var end string
	switch os.Getenv("EXIT_CODE") {
	case "exited":
		end = fmt.Sprintf("%q exited with %s", program, os.Getenv("EXIT_STATUS"))
	case "killed":
		end = fmt.Sprintf("%q was killed by signal %s", program, os.Getenv("EXIT_STATUS"))
	default:
		end = fmt.Sprintf("%q was not started: %s", program, os.Getenv("WRAPPER_REASON"))
	}
	fmt.Println(end)
	if address := os.Getenv("HOOK_GO_URL"); address != "" {
		if err := report(address, end); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}

func report(address, text string) error {
	target, err := url.Parse(address)
	if err != nil {
		return err
	}
	status, err := post(target, map[string]string{"Content-Type": "text/plain; charset=utf-8"}, text)
	if err == nil && (status < 200 || status > 299) {
		err = fmt.Errorf("answered %d", status)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", address, err)
	}
	return nil
}
