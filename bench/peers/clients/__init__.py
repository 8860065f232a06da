"""One file per system: how its Python client does the work. These run in the environment of the clients."""
