"""Every command answers before it loads what it works with: counted by what is imported, not by the clock."""

import ast
import subprocess
import sys

# Each takes from half a second to ten, and on a busy machine many times as long.
HEAVY = {
    *("torch", "ray", "diffusers", "transformers", "open_clip", "lancedb", "lance", "pyarrow", "numpy", "av"),
    *("scipy", "sklearn", "matplotlib", "PIL", "deepspeed", "huggingface_hub"),
}
SCRIPT = """
import sys
from jobs import cli
from tests.jobs.test_usage import COMMANDS
said = {}
class Spoken(Exception):
    pass
def spoken(text):
    said[name] = sorted(HEAVY & set(sys.modules))
    raise Spoken
for each, module in list(sys.modules.items()):
    if each.startswith(("jobs.commands", "jobs.acting")) and hasattr(module, "opening"):
        module.opening = spoken
for name, command in COMMANDS.items():
    # What `settings` prints is its whole work.
    if name == ("settings",):
        continue
    words = ["1" for p in command.params if p.required and p.param_type_name == "argument"]
    for p in command.params:
        if p.required and p.param_type_name == "option":
            words += [p.opts[0], "1"]
    try:
        cli.app([*name, *words], standalone_mode=False)
    except Spoken:
        pass
    except BaseException as error:
        said.setdefault(name, [f"no first word: {error!r}"])
print(said)
"""


def test_no_command_loads_anything_heavy_before_its_first_word():
    script = f"HEAVY = {HEAVY!r}\n{SCRIPT}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = ast.literal_eval(done.stdout.splitlines()[-1])
    assert len(said) >= 25
    assert {name: loaded for name, loaded in said.items() if loaded} == {}


def test_settings_are_listed_without_torch_and_without_ray():
    script = (
        "import sys\nfrom jobs.cli import main\n"
        "try:\n    main(['settings', 'train.lr'])\n"
        "finally:\n    print(sorted({'torch', 'ray', 'diffusers', 'lancedb'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stdout.startswith("train.lr=")
