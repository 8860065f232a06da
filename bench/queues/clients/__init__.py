"""One client for each system, made of its Python client."""
