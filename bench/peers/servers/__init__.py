"""One file per system: how its three servers are configured and started."""
