"""Consumer groups: reading topics together, without keeping positions, and looking after groups."""
