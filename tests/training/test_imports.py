import pkgutil
import subprocess
import sys

import training

# The loop and what it alone needs: they drive Ray Train and DeepSpeed.
LOOP = {"training.loop", "training.engine"}

BLOCKED = """
import importlib, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {{"ray", "deepspeed"}}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Block())
for name in {names!r}:
    importlib.import_module(name)
print("imported", len({names!r}))
"""


def test_training_without_its_loop_imports_without_ray_and_deepspeed():
    modules = {module.name for module in pkgutil.walk_packages(training.__path__, "training.")}
    assert modules >= LOOP
    names = sorted(modules - LOOP)
    assert "training.methods.video2lora" in names
    code = BLOCKED.format(names=names)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.split() == ["imported", str(len(names))]
