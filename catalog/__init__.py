"""The effect catalogue: Arrow schemas, LanceDB tables, predicates, search and snapshots."""

import os

# Read by Lance when it is imported: an index that it splits as clips grow in number warns hundreds of times.
os.environ.setdefault("LANCE_LOG", "error")
