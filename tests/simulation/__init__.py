"""The deterministic simulator: the real consensus and storage code on one thread, from one seed."""
