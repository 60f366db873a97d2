"""How a report words numbers and settings."""

import math
from collections.abc import Mapping
from pathlib import Path

MAIN = {
    "data.source": "Data",
    "data.image_size": "Height, width",
    "data.flip": "Flipped by chance",
    "data.binarization": "Binarization",
    "data.dequantize": "Dequantized",
    "data.corrupt": "Corruption",
    "model.encoder": "Encoder",
    "model.decoder": "Decoder",
    "model.latent": "Latent dimensions",
    "model.target": "Tells",
    "model.cond": "Told",
    "model.posterior": "Posterior",
    "model.likelihood": "Likelihood",
    "objective": "Objective",
    "optimizer": "Optimizer",
    "train.batch_size": "Batch size",
    "train.steps": "Steps",
    "train.epochs": "Epochs",
    "eval.importance_samples": "Importance samples",
    "dtype": "Nets compute in",
    "seed": "Seed",
}


def run_title(workdir: Path, name: str) -> str:
    """The run folder's name, which tells two runs of a config apart, and the config's `name` where it is another."""
    folder = workdir.resolve().name
    return folder if folder == name else f"{folder} ({name})"


def config_rows(config: Mapping) -> list[tuple[str, str]]:
    """(label, value) of the main fields that the config sets; zeros and empty fields inside a group are left out."""
    rows = []
    for path, label in MAIN.items():
        value = config
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not False and value not in (None, "", [], {}):
            rows.append((label, _setting(value)))
    return rows


def number(value: float) -> str:
    """Four significant digits, with a true minus sign and thousands set off: −1,234 or 0.05678."""
    if math.isfinite(value) and (value == 0 or abs(value) >= 1e-4):
        decimals = 3 - math.floor(math.log10(abs(value))) if value else 0
        return _minus(f"{value:,.{max(decimals, 0)}f}")
    return _minus(f"{value:.4g}")


def plus_minus(mean: float, stderr: float) -> tuple[str, str]:
    """A mean and its standard error, both to the second significant digit of the error: ("−20.14", "0.31")."""
    if not (math.isfinite(stderr) and stderr >= 1e-8 and math.isfinite(mean)):
        return number(mean), number(stderr)
    decimals = max(1 - math.floor(math.log10(stderr)), 0)
    return _minus(f"{mean:,.{decimals}f}"), f"{stderr:,.{decimals}f}"


def _setting(value):
    if isinstance(value, Mapping):
        return " · ".join(_entry(*item) for item in value.items() if item[1] not in (None, "", 0, [], {})) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_setting, value))
    return str(value)


def _entry(key, value):
    if value is True:
        return key.replace("_", " ")
    return _setting(value) if key in ("family", "name") else f"{key.replace('_', ' ')} {_setting(value)}"


def _minus(text):
    return text.replace("-", "−")
