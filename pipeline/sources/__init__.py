"""What there is to ingest, and what a data set says of it: folders, manifests, the field's layouts."""
