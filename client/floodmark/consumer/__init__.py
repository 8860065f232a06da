"""Reading topics: from a position, ahead of the program, whatever happens to leaders."""
