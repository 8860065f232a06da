"""One request to one node, and the same request until it is answered."""
