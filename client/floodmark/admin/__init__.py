"""Topics and the cluster itself."""
