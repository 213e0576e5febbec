"""The effect catalogue: Arrow schemas, LanceDB tables, predicates, search and snapshots."""
