"""What a node does for its users, whatever protocol they speak: one pipeline behind every door."""
