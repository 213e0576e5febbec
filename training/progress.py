"""How long work tells its caller where it is."""

from collections.abc import Callable

# Called with what is done, the total or None where it is not known, and facts worth showing
# (what can be called among them gives what is worth looking at, and costs something only then).
Progress = Callable[[int, int | None, dict], None]
