"""Weight files of other frameworks as named NumPy arrays: .safetensors, .npz and, where torch is installed, .pt, .pth.

No file is ever given a chance to run code: arrays of Python objects and pickles of anything but tensors are refused.
"""

import contextlib
import hashlib
import json
import pickle
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors

from vae_jax.errors import UserError, first_line

# Keys under which training scripts keep the weights, beside the epoch, the optimiser's state and the like.
WRAPPERS = ("state_dict", "model_state_dict", "model")
# What wrappers of modules put before every name: DataParallel, torch.compile, Lightning.
PREFIXES = ("module.", "_orig_mod.", "model.")
SAFETENSORS_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "U8": np.uint8,
}


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file, in its dtypes (bfloat16 too) and under its names less the prefixes that all share.

    A whole checkpoint is unwrapped to its model's tensors, nested dicts are joined with dots. UserError where the file
    can't be read, would run code, names a tensor twice or holds NaN.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; name the weight file itself.")
    readers = {".safetensors": _safetensors, ".npz": _npz, ".pt": _torch, ".pth": _torch}
    if path.suffix not in readers:
        raise UserError(f"{path} ends in {path.suffix!r}; weights are read from {', '.join(readers)}.")
    try:
        path.stat()  # before the reader, which may ask for torch: an absent file is told as absent
        tensors = _without_prefixes(path, readers[path.suffix](path))
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror or error}).") from error
    if not tensors:
        raise UserError(f"{path} holds no tensors.")
    for name, tensor in tensors.items():
        if tensor.dtype.kind not in "fiub" and tensor.dtype != ml_dtypes.bfloat16:
            raise UserError(f"{path}: {name} holds {tensor.dtype}, not real numbers.")
        with np.errstate(over="ignore"):  # of float64
            finite = np.isfinite(tensor.astype(np.float32)).all()
        if not finite:
            raise UserError(
                f"{path}: {name} holds NaN or values that are infinite as float32; no model works with these."
            )
    return tensors


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, by which a run says which weights it has."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_duplicates(where: str, names: Iterable[str]) -> None:
    """Raises UserError where a name is there twice."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{where}: {twice[0]} is there twice, and only one of them can be right.")


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    data = path.read_bytes()
    with _unreadable_as(path, "safetensors file"):
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")], object_pairs_hook=tuple)
        refuse_duplicates(str(path), [name for name, _ in header])
        entries = safetensors.deserialize(data)
    tensors = {}
    for name, entry in entries:
        if entry["dtype"] not in SAFETENSORS_DTYPES:
            raise UserError(
                f"{path}: {name} is of the dtype {entry['dtype']}; known are {', '.join(SAFETENSORS_DTYPES)}."
            )
        tensors[name] = np.frombuffer(entry["data"], SAFETENSORS_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def _npz(path: Path) -> dict[str, np.ndarray]:
    with _unreadable_as(path, ".npz file"), zipfile.ZipFile(path) as whole:
        refuse_duplicates(str(path), whole.namelist())
        with np.load(path, allow_pickle=False) as arrays:
            tensors = dict(arrays)
    for name, tensor in tensors.items():
        if not isinstance(tensor, np.ndarray):  # NumPy gives the bytes of what is no .npy file
            raise UserError(f"{path} is no .npz file: {name} in it is no array.")
    return tensors


def _torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"{path} is a PyTorch file, which only torch can read: pip install torch, or save it as .safetensors."
        ) from error
    with _unreadable_as(path, "PyTorch checkpoint"):
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise UserError(_refusal(path, str(error))) from error
        if not isinstance(loaded, Mapping):
            raise UserError(f"{path} holds a {type(loaded).__name__}, not tensors; save the model's state_dict().")
        entries = [entry for entry in _flat(_unwrapped(path, loaded)) if isinstance(entry[1], torch.Tensor)]
        refuse_duplicates(str(path), [name for name, _ in entries])
        return {name: _as_numpy(tensor) for name, tensor in entries}


def _as_numpy(tensor) -> np.ndarray:
    if str(tensor.dtype) == "torch.bfloat16":  # which NumPy can only be given as float32, exactly
        return tensor.detach().float().numpy().astype(ml_dtypes.bfloat16)
    return tensor.detach().numpy()


def _refusal(path: Path, said: str) -> str:
    """What PyTorch's refusal means, with the name of the code that the file would have run."""
    carried = re.search(r"GLOBAL (\S+)", said)
    if carried is None:
        return f"{path} is a pickle of no kind that PyTorch writes for weights; save the model's state_dict()."
    return (
        f"{path} carries more than weights ({carried[1]}), which could run code and is never loaded; save the model's "
        f"state_dict() alone."
    )


def _unwrapped(path: Path, loaded: Mapping) -> Mapping:
    wrappers = [key for key in WRAPPERS if isinstance(loaded.get(key), Mapping)]
    if len(wrappers) > 1:
        raise UserError(f"{path} has weights under {' and '.join(wrappers)}; save the ones that are meant alone.")
    return loaded[wrappers[0]] if wrappers else loaded


def _flat(tree: Mapping, prefix: str = "") -> Iterator[tuple]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _without_prefixes(path: Path, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    while tensors:
        shared = [prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in tensors)]
        if not shared:
            break
        tensors = {name.removeprefix(shared[0]): tensor for name, tensor in tensors.items()}
    return tensors


@contextlib.contextmanager
def _unreadable_as(path: Path, kind: str) -> Iterator[None]:
    """Turns what a broken file raises into one sentence: its readers raise errors of every kind."""
    try:
        yield
    except (UserError, OSError):  # which say what is wrong
        raise
    except Exception as error:
        raise UserError(f"{path} is no {kind}, or a broken one ({first_line(error)}).") from error
