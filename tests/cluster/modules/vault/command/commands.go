// Package command is what the agent's files need of those that were left out.
package command

import (
	"github.com/hashicorp/vault/command/config"
	"github.com/hashicorp/vault/command/token"
	"github.com/mitchellh/cli"
)

const (
	EnvVaultDetailed  = "VAULT_DETAILED"
	EnvVaultFormat    = "VAULT_FORMAT"
	EnvVaultLogFormat = "VAULT_LOG_FORMAT"
	EnvVaultLogLevel  = "VAULT_LOG_LEVEL"

	flagNameAddress           = "address"
	flagNameCACert            = "ca-cert"
	flagNameCAPath            = "ca-path"
	flagNameClientCert        = "client-cert"
	flagNameClientKey         = "client-key"
	flagNameCombineLogs       = "combine-logs"
	flagNameDisableRedirects  = "disable-redirects"
	flagNameLogFile           = "log-file"
	flagNameLogFormat         = "log-format"
	flagNameLogLevel          = "log-level"
	flagNameLogRotateBytes    = "log-rotate-bytes"
	flagNameLogRotateDuration = "log-rotate-duration"
	flagNameLogRotateMaxFiles = "log-rotate-max-files"
	flagNameTLSSkipVerify     = "tls-skip-verify"
	flagTLSServerName         = "tls-server-name"
)

var globalFlags []string

type MFAMethodInfo struct {
	methodID, methodType string
	usePasscode          bool
}

func DefaultTokenHelper() (token.TokenHelper, error) {
	return config.DefaultTokenHelper()
}

func Format(cli.Ui) string {
	return "table"
}
