"""From raw video files to the catalogue, and from the catalogue to a stream of training batches.

The stages, in the order of a video's way, are the files of this folder: `ingest`, `embed`, `cluster`,
`encode`; then `pairing` streams what they made to training, `run` is one such run, and `studio` has a trained
model make clips. What they are made of lies below: `sources` says what there is, `video` reads one untrusted
file, `intake` keeps the books of an ingestion, `curation` judges and takes back, `embedding` and `features`
hold the models' side, `workers` the Ray side, `samples` renders example data, and `pocket` trains the small
models that ship with it.
"""
