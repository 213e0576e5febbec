"""The bookkeeping of ingestion: what each input is, what became of it, what a second run need not do."""
