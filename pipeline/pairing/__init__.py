"""Which clips teach which: from the catalogue to a stream of training batches."""
