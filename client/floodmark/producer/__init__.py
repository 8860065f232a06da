"""Records in, ordered batches out: what a producer is made of."""
