"""From raw video files to the catalogue, and from the catalogue to a stream of training batches."""
