import pkgutil
import subprocess
import sys

import training

# The loop and what it alone needs: they drive Ray Train and DeepSpeed.
LOOP = {"training.run.loop", "training.run.engine", "training.run.shares"}

# As if the two were not installed: other packages look for them, and use them where they are found.
ABSENT = """
import importlib, sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {{"ray", "deepspeed"}}:
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
for name in {names!r}:
    importlib.import_module(name)
print("imported", len({names!r}))
"""


def test_training_without_its_loop_imports_without_ray_and_deepspeed():
    modules = {module.name for module in pkgutil.walk_packages(training.__path__, "training.")}
    assert modules >= LOOP
    names = sorted(modules - LOOP)
    assert "training.methods.video2lora.method" in names
    code = ABSENT.format(names=names)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.split() == ["imported", str(len(names))]
