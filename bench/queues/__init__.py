"""Working off a queue, beside other systems' consumers with an acknowledgement for each record."""
