"""The studies of a run for its report: what each shows and measured, chapter by chapter."""

import json
from collections.abc import Mapping
from pathlib import Path

from vae_jax.report.embedding import picture_uri, uri
from vae_jax.report.story import CHAPTERS

# The order within a chapter; a study that isn't named comes after these, by its name.
ORDER = (
    *("reconstruct", "posterior", "input_noise", "cycle"),
    *("latent_map", "latent_stats", "manifold", "traverse"),
    *("sample", "variation", "condition", "interpolate", "attributes", "inpaint"),
)


def read_studies(folder: Path) -> dict[str, list[dict]]:
    """meta.json of the studies below `folder` under each chapter of CHAPTERS, with their pictures as URIs."""
    found = [_read(path) for path in sorted(folder.glob("*/meta.json"))]
    studies = sorted((meta for meta in found if "chapter" in meta), key=_place)
    return {chapter: [meta for meta in studies if meta["chapter"] == chapter] for chapter in CHAPTERS}


def _read(path: Path) -> dict:
    meta = json.loads(path.read_text(encoding="utf-8"))
    if "chapter" in meta:
        meta["pictures"] = [_picture(path.parent, picture) for picture in meta["pictures"]]
    return meta


def _picture(folder: Path, picture: Mapping) -> dict:
    content = (folder / picture["file"]).read_bytes()
    src = uri("image/gif", content) if picture["file"].endswith(".gif") else picture_uri(content)
    return {"src": src, "alt": picture["alt"]}


def _place(meta):
    name = meta["study"]
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)
