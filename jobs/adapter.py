"""`video2lora adapter`: what a model makes of references, as files."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from jobs.asked import BadRequest, Effect, weights_of
from jobs.job import Job, say
from jobs.report.caveats import caveats
from jobs.workspace import Workspace
from pipeline.adapters import Adapter, Reference, blend_adapters, save_adapter
from pipeline.models import find_model
from pipeline.studio import Studio
from training.backbones.parts import PARTS
from training.errors import BadAdapter
from training.files import lora_beside
from training.methods.lightlora.export import save_lora
from training.methods.lightlora.file import AdapterFile, read_adapter_file, read_header
from training.methods.lightlora.targets import TARGETS, TITLES, Target, loaded_by, lora_for
from training.progress import Progress
from training.release import method_settings

# An adapter is read and predicted without a text encoder, which is the largest part of a backbone.
SEES = ("vae", "transformer")
_SHOWN = 5


def predict_job(workspace: Workspace, effects: Sequence[Effect], output: Path, model: str | None) -> None:
    """`video2lora adapter predict`; the request was looked at by `check_adapter_request`."""
    shown = [Reference.read(workspace.catalog, each.name) for each in effects]

    def made(studio: Studio, progress: Progress) -> Adapter:
        return studio.adapter(shown, progress, weights=weights_of(effects))

    _write(workspace, output, model, made, shown)


def polish_job(
    workspace: Workspace, start: Path, references: Sequence[str], output: Path, model: str | None
) -> None:
    """`video2lora adapter polish`."""
    file = read_adapter_file(start)
    if file.theta is None:
        raise BadRequest(
            f"{start} is a LoRA, and polish goes on from an adapter that `adapter predict` wrote."
        )
    shown = [Reference.read(workspace.catalog, name) for name in references]

    def made(studio: Studio, progress: Progress) -> Adapter:
        return studio.polish(studio.load(start), shown, None, progress)

    _write(workspace, output, model, made, shown)


def mix_job(
    workspace: Workspace, effects: Sequence[Effect], output: Path, model: str | None, exact: bool
) -> None:
    """`video2lora adapter mix`."""
    for each in effects:
        read_adapter_file(Path(each.name))

    def made(studio: Studio, progress: Progress) -> Adapter:
        parts = [studio.load(each.name) for each in effects]
        return blend_adapters(studio.method, parts, [each.weight for each in effects])

    _write(workspace, output, model, made, exact=exact)


def load_job(workspace: Workspace, path: Path, model: str | None) -> None:
    """`video2lora adapter load`: does a model take the file?"""
    file = read_adapter_file(path)
    release = find_model(workspace.catalog, workspace.folder("models"), model)
    profile = workspace.profile
    with Job("adapter", workspace, ray=False) as job:
        with job.step("load the model"):
            studio = Studio(job.catalog, release, profile.backbone, profile.generate, SEES)
        adapter = studio.load(path)
        job.report["adapter"] = {"file": str(path), **adapter.facts}
        linears = len(adapter.lora or {}) // 2
        kind = "an adapter" if file.theta is not None else "a LoRA"
        say(f"{path} is {kind} that {release.model_id} takes: {linears} linears. Use it with")
        say(f"  video2lora generate --adapter {path} --first-frame … --prompt …")


def export_job(workspace: Workspace, path: Path, output: Path, target: Target, model: str | None) -> None:
    """`video2lora adapter export`: what was written is read again and counted by the target's names."""
    file = read_adapter_file(path)

    if file.theta is None:
        lora = {
            f"transformer.{name}.lora_{side}.weight": tensor.contiguous()
            for name, pair in file.lora.items()
            for side, tensor in zip("AB", pair, strict=True)
        }
        facts = file.facts
    else:
        release = find_model(
            workspace.catalog, workspace.folder("models"), model or file.facts.get("model_id")
        )
        profile = workspace.profile
        parts = ("transformer",)
        adapter = Studio(workspace.catalog, release, profile.backbone, profile.generate, parts).load(path)
        lora, facts = adapter.lora or {}, adapter.facts
    save_lora(output, lora_for(target, lora, output), facts)
    found = loaded_by(target, read_header(output)[1], output)
    if not found.whole or found.linears != len(lora) // 2:
        raise BadRequest(
            f"{TITLES[target]} would load {found.linears} of the {len(lora) // 2} linears of {output}."
        )
    say(f"{output}, {output.stat().st_size / 1e6:.2f} MB: {TITLES[target]} loads all {found.linears} linears")


def inspect_job(path: Path, target: Target | None, as_json: bool) -> None:
    """`video2lora adapter inspect`: what a file holds, and what each tool would load of it.

    Raises:
        BadRequest: `target` would not load all of it.
    """
    _, shapes = read_header(path)
    loads = [loaded_by(each, shapes, path) for each in TARGETS]
    try:
        file, wrong = read_adapter_file(path), None
    except BadAdapter as error:
        file, wrong = None, str(error)
    told = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "tensors": len(shapes),
        "is": _kind(file),
        **({} if file is None else _figures(file)),
        "facts": {} if file is None else file.facts,
        "wrong": wrong,
        "loads": {
            each.target: {"linears": each.linears, "unread": len(each.unread), "why": each.why}
            for each in loads
        },
    }
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        _say_inspected(told, loads)
    chosen = next((each for each in loads if each.target == target), None)
    if chosen is not None and not chosen.whole:
        raise BadRequest(
            chosen.why
            or f"{TITLES[chosen.target]} loads {chosen.linears} linears of {path} and leaves"
            f" {len(chosen.unread)} of {len(shapes)} tensors, {chosen.unread[0]!r} first; `video2lora adapter"
            f" export {path} --to {target}` writes it under the names that are read."
        )


def fill_job(
    workspace: Workspace,
    model: str | None,
    where: str | None,
    polished: bool,
    again: bool,
    address: str | None,
) -> None:
    """`video2lora adapter fill`."""
    from pipeline.adapt import adapt

    catalog = workspace.existing_catalog()
    release = find_model(catalog, workspace.folder("models"), model)
    encode, generate = workspace.profile.encode, workspace.profile.generate
    with Job("adapter", workspace, address, reads=[str(release.path)]) as job:
        with job.step("adapters") as progress:
            report = adapt(
                job.catalog,
                release,
                workspace.profile.backbone,
                progress,
                where=where,
                polishing=generate.polish if polished else None,
                seed=generate.seed,
                again=again,
                actors=encode.actors,
                cpus=encode.cpus_per_actor,
                gpus=encode.gpus_per_actor,
            )
        job.report["counts"] |= report.counts
        job.report["failures"] = report.failures
        for clip_id, reason in list(report.failures.items())[:_SHOWN]:
            say(f"  {clip_id}: {reason}")
        counted = ", ".join(f"{count} {name}" for name, count in report.counts.items())
        say(f"  adapters {report.name}: {counted}")
        if report.counts["present"] + report.counts["predicted"]:
            say(f"  `video2lora train --set train.teacher={report.name}` teaches with them")


def _kind(file: AdapterFile | None) -> str:
    if file is None:
        return "nothing that is read here"
    return "a LoRA" if file.theta is None else "an adapter θ"


def _figures(file: AdapterFile) -> dict[str, object]:
    if file.theta is not None:
        return {"linears": len(file.theta), "values": file.theta.numel(), "norm": float(file.theta.norm())}
    norms = [float((up @ down).norm()) for down, up in file.lora.values()]
    ranks = sorted({len(down) for down, _ in file.lora.values()})
    return {"linears": len(norms), "ranks": ranks, "norm": float(sum(n**2 for n in norms) ** 0.5)}


def _say_inspected(told: dict, loads: list) -> None:
    say(f"{told['file']} is {told['is']}: {told['tensors']} tensors, {told['bytes'] / 1e3:.1f} kB")
    for name in ("linears", "values", "ranks", "norm"):
        if name in told:
            value = told[name]
            say(f"  {name}: {value:.4g}" if isinstance(value, float) else f"  {name}: {value}")
    for name, value in told["facts"].items():
        say(f"  {name}: {json.dumps(value, ensure_ascii=False)[:200]}")
    if told["wrong"]:
        say(f"  {told['wrong']}")
    for each in loads:
        left = f", {len(each.unread)} tensors are not read" if each.unread else ""
        say(
            f"  {TITLES[each.target]}: loads {each.linears}"
            f" linears{left}{'. ' + each.why if each.why else ''}"
        )


def _write(
    workspace: Workspace,
    output: Path,
    model: str | None,
    make: Callable[[Studio, Progress], Adapter],
    shown: Sequence[Reference] = (),
    exact: bool = False,
) -> None:
    """Write what `make` makes with a studio: the adapter, and its LoRA beside it."""
    catalog, profile = workspace.catalog, workspace.profile
    release = find_model(catalog, workspace.folder("models"), model)
    needs_text = profile.generate.polish.steps or "text" in method_settings(release).needs
    with Job("adapter", workspace, ray=False) as job:
        with job.step("load the model"):
            parts = PARTS if needs_text else SEES
            studio = Studio(job.catalog, release, profile.backbone, profile.generate, parts)
        with job.step("adapter") as progress:
            made = make(studio, progress)
        kept = 1.0
        if not exact:
            made, kept = studio.reduce(made)
        lora = write_adapter(output, made)
        job.report["adapter"] = {"file": str(output), "lora": lora and str(lora), "kept": kept, **made.facts}
        beside = f", and as a LoRA that diffusers loads {lora}" if lora else ""
        say(f"{output}, {output.stat().st_size / 1e3:.1f} kB{beside}")
        if kept < 1:
            say(
                f"It keeps {100 * kept:.1f} % of the sum's squared norm; --exact keeps all, in a larger file."
            )
        for sentence in [*(shown[0].notes() if shown else ()), *caveats(profile.backbone, release)]:
            say(sentence)


def write_adapter(output: Path, made: Adapter) -> Path | None:
    """Write an adapter and its LoRA beside it, or a LoRA alone; returns where the one beside lies."""
    if not isinstance(made.condition, Tensor) and made.lora is not None:
        save_lora(output, made.lora, made.facts)
        return None
    save_adapter(output, made)
    if made.lora is None:
        return None
    save_lora(lora_beside(output), made.lora, made.facts)
    return lora_beside(output)
