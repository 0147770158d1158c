// Package http is what the agent's cache needs of Vault's API.
package http

const (
	VaultForwardHeaderName      = "X-Vault-Forward"
	VaultInconsistentForward    = "forward-active-node"
	VaultInconsistentHeaderName = "X-Vault-Inconsistent"
	VaultIndexHeaderName        = "X-Vault-Index"
)
