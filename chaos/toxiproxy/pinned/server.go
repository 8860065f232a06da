//go:build tools

// Package pinned names the program that this module's versions and hashes are for.
package pinned

import _ "github.com/Shopify/toxiproxy/v2/cmd/server"
