"""What the comparison of methods trains: each on the same pairs, for as many seconds, by the same loss."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.pocket.families import FAMILIES, Family, PocketBackbone
from pipeline.pocket.hypernetwork import POCKET_METHOD, Lessons, by_velocities, teach
from pipeline.pocket.pairs import Pairs
from tests.benchmarks.methods_cost import clock
from training.files import write_atomically
from training.methods.base import Method
from training.methods.registry import MethodSettings, build_method, parse_settings
from training.pretrain.fit import FitSettings, fit
from training.progress import Progress

OURS, PROMPT, CATEGORY = "Video2LoRA", "Video-As-Prompt", "one adapter per category"
# The shipped pocket hypernetwork's lessons, 600 : 1,500 : 300 steps, in the smallest whole numbers.
PARTS = {"category_steps": 2, "regression_steps": 5, "steps": 1}
# Learning rates: of the last lesson, and of the first one, where each category has an adapter.
RATES = {PROMPT: 5e-4, CATEGORY: 1e-2}
SETTINGS: dict[str, MethodSettings] = {
    OURS: POCKET_METHOD,
    PROMPT: parse_settings({"kind": "video_as_prompt"}),
    CATEGORY: parse_settings(
        {"kind": "category_lora"} | {name: getattr(POCKET_METHOD, name) for name in ("down_size", "up_size")}
    ),
}
TRIED = 3  # steps that tell how long one takes


@dataclass(frozen=True)
class Taught:
    """A method after its seconds.

    Attributes:
        steps: as a person reads them.
        seconds: that they took, by `clock`.
    """

    method: Method
    steps: str
    seconds: float


@dataclass(frozen=True)
class School:
    """What all methods have in common: backbone, pairs, seconds (None: a step of each).

    `work` holds what is trained, so that a command that was killed goes on.
    """

    backbone: PocketBackbone
    pairs: Pairs
    lessons: Lessons
    seconds: float | None
    work: Path

    @property
    def methods(self) -> list[str]:
        """Those that take this backbone."""
        return [name for name, settings in SETTINGS.items() if self._family.name in settings.families]

    def teach(self, name: str, progress: Progress | None = None) -> Taught:
        """One of `methods`."""
        return self._ours(progress) if name == OURS else self._by_velocities(name, progress)

    def _ours(self, progress: Progress | None) -> Taught:
        """By all three lessons, in the proportions of the shipped model."""

        settings = POCKET_METHOD.model_copy(update={"patch": self._family.patch})

        def lessons(times: int) -> Lessons:
            return replace(self.lessons, **{name: times * part for name, part in PARTS.items()})

        def tried() -> None:
            with TemporaryDirectory() as folder:
                teach(self.backbone, self.pairs, settings, lessons(TRIED), Path(folder))

        times = self._times(OURS, tried)
        with self._timed(OURS):
            taught = teach(self.backbone, self.pairs, settings, lessons(times), self.work, progress)
        told = " + ".join(str(times * part) for part in PARTS.values())
        return Taught(taught.method, told, self._plan()[OURS]["seconds"])

    def _by_velocities(self, name: str, progress: Progress | None) -> Taught:
        shift = {"timestep_shift": self.lessons.timestep_shift}
        method, rate = self.built(SETTINGS[name].model_copy(update=shift)), RATES[name]
        loss = by_velocities(method, self.pairs, self.lessons)

        def tried() -> None:
            for step in range(TRIED):
                loss(step).backward()
            method.zero_grad(set_to_none=True)

        steps = self._times(name, tried)
        settings = FitSettings(steps, lr=rate, warmup=20, decay=0.3, ema_decay=0.98, save_every=50)
        state = self.work / "methods" / f"{name.replace(' ', '-')}-{self.digest(name, steps)}.safetensors"
        with self._timed(name):
            fit(method, loss, settings, state, progress)
        return Taught(method.eval(), str(steps), self._plan()[name]["seconds"])

    def built(self, settings: MethodSettings) -> Method:
        """A method on a copy of the backbone's transformer, its values those of the seed."""
        dit = self._family.dit(self.backbone)
        return build_method(settings, dit, self.pairs.seen, seed=self.lessons.seed)

    @property
    def _family(self) -> Family:
        return FAMILIES[self.backbone.settings.family]

    def _times(self, name: str, tried: Callable[[], None]) -> int:
        """How often the seconds hold what is tried TRIED times; the first answer stands."""
        plan = self._plan()
        if name not in plan and self.seconds is None:
            plan[name] = {"times": 1, "seconds": 0.0}
            self._keep(plan)
        if name not in plan:
            tried()  # warm
            began = clock(self.pairs.device)
            tried()
            each = (clock(self.pairs.device) - began) / TRIED
            plan[name] = {"times": max(1, round(self.seconds / each)), "seconds": 0.0}
            self._keep(plan)
        return plan[name]["times"]

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        """Add what is done here to the seconds of a method: of all runs together, where one was killed."""
        began = clock(self.pairs.device)
        try:
            yield
        finally:
            plan = self._plan()
            plan[name]["seconds"] += clock(self.pairs.device) - began
            self._keep(plan)

    def digest(self, *further: object) -> str:
        """Of all that decides what is taught."""
        facts = [
            self.backbone.transformer_id,
            self.backbone.encoder_id,
            self.pairs.seen,
            self.seconds,
            str(self.lessons),
            *further,
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]

    @property
    def _file(self) -> Path:
        return self.work / "methods" / f"plan-{self.digest()}.json"

    def _plan(self) -> dict[str, dict]:
        return json.loads(self._file.read_text()) if self._file.exists() else {}

    def _keep(self, plan: dict[str, dict]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._file, json.dumps(plan))
