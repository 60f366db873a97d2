"""Imports go one way, from the command line down to the random streams; and importing the package is cheap."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import vae_jax

ROOT = Path(vae_jax.__file__).parent

# From the bottom up. A module imports only from lines below its own, or from its own package.
LAYERS = (
    ("errors",),
    ("flags",),
    ("cluster",),
    ("rng", "progress", "axis", "disk"),
    ("distributions", "nn", "mesh", "checkpoint", "writer", "images", "state"),
    ("optimizer", "profiling", "compilation", "stopping"),
    ("data", "models", "pretrained"),
    ("objectives", "study_options"),
    ("validation", "defaults", "step_counts"),
    ("config",),
    ("train_steps",),
    ("steps", "classifier_steps"),
    ("run",),
    ("replicas",),
    ("evaluation",),
    ("report", "inference", "importing"),
    ("studies", "exporting"),
    ("recording",),
    ("train",),
    ("commands",),
    ("main",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
MODEL_FREE = ("mesh", "data", "checkpoint", "writer", "images")
OF_A_MODEL = ("models", "nn", "objectives", "distributions", "state", "steps")

MODULES = sorted(path.relative_to(ROOT.parent) for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def part(module):
    """The file or package below vae_jax that holds the module: "nn" of vae_jax.nn.conv."""
    return module.split(".")[1]


def imported(path):
    """The full names of what the file imports, anywhere in it: modules, not the names taken from them."""
    tree = ast.parse((ROOT.parent / path).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if node.module.startswith("vae_jax") and is_module(name) else node.module


def is_module(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def own(path):
    return [name for name in imported(path) if name.startswith("vae_jax.")]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_go_one_way(path):
    here = part(".".join(path.with_suffix("").parts))
    assert here in RANK, f"{path} stands in no layer of this test: say where it belongs"
    upward = [name for name in own(path) if part(name) != here and RANK[part(name)] >= RANK[here]]
    assert not upward


@pytest.mark.parametrize("path", [p for p in MODULES if part(".".join(p.with_suffix("").parts)) in MODEL_FREE], ids=str)
def test_what_moves_data_and_files_knows_no_model(path):
    assert not [name for name in own(path) if part(name) in OF_A_MODEL]


def test_only_the_checkpoints_know_orbax():
    knowing = [str(path) for path in MODULES if any(name.split(".")[0] == "orbax" for name in imported(path))]
    assert knowing == ["vae_jax/checkpoint.py"]


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, vae_jax; print(sorted({'jax', 'flax', 'numpy', 'orbax', 'ml_collections'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent)
    assert found.stdout.strip() == "[]", found.stderr
