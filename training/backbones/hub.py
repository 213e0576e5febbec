"""The hub of weights: where they are kept on this machine, and whether the hub answers at all."""

import os
import threading
from pathlib import Path

from huggingface_hub import HfApi, constants

DEADLINE = 20.0


def cache_folder() -> Path:
    """Where weights made or fetched here lie: $VIDEO2LORA_CACHE, or ~/.cache/video2lora."""
    return Path(os.environ.get("VIDEO2LORA_CACHE") or Path.home() / ".cache" / "video2lora").expanduser()


def hub_refuses(name: str, deadline: float = DEADLINE) -> str | None:
    """Why the hub will not deliver the repository `name`, None when it will; after `deadline` s at most."""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE forbids asking the hub"
    # On a thread of its own: resolving a host's name and the client's retries know no common limit of time.
    answer: list[str | None] = []

    def ask() -> None:
        try:
            HfApi().model_info(name, timeout=deadline / 2)
            answer.append(None)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason that is reported
            answer.append(first_line(error))

    thread = threading.Thread(target=ask, daemon=True, name="ask-hub")
    thread.start()
    thread.join(deadline)
    return answer[0] if answer else f"no answer within {deadline:.0f} s"


def first_line(error: BaseException) -> str:
    """What an error says, without what it adds below."""
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(error).__name__
