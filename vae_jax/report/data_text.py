"""How a summary of the data is worded: the same rows on the terminal and on a run's page."""

import dataclasses
from collections.abc import Mapping, Sequence

from vae_jax.data.fit import NAMED_CROPS

CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}
NUMBERS = 4  # vectors of more entries have only the mean over all of them printed
LISTED = 40  # classes at most; meta.json has all of them
LEFT_OUT = 5  # pictures at most that are named


@dataclasses.dataclass(frozen=True)
class Table:
    """A heading of columns and rows below it; the first column holds words, the others figures."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def facts(meta: Mapping) -> list[tuple[str, str]]:
    """(label, value) of what is said once of a data set; `meta` as in meta.json."""
    data = meta["config"]["data"]
    shape = "×".join(map(str, meta["shape"]))
    entries = [("source", _source(meta, data))]
    for found in meta["found"]:
        entries.append(("found in", f"{found['place']} ({found['pictures']:,} pictures; decoded in {found['cache']})"))
        entries.append(("left out", _left_out(found["left_out"])))
    entries.append(("an example", f"{shape} {meta['dtype']}" + (" (height×width×channels)" if _pictures(meta) else "")))
    if meta["found"] or data["crop"] != "whole":
        entries.append(("made from", _fit(data)))
    entries += [("in training", text) for text in _transforms(data) or ["as it is"]]
    entries += [("drawn", text) for text in _drawn(meta, data)]
    entries.append(("kept on", f"the {meta['delivery']['name']} ({meta['delivery']['reason']})"))
    return entries


def tables(meta: Mapping) -> list[Table]:
    """The figures of the splits, then classes and attributes where there are any."""
    splits = meta["splits"]
    found = [Table(("", *splits), tuple(_split_rows(meta)), _shared(meta["shared"]))]
    if meta["parts"]:
        rows = [(entry, *(f"{part[split]:,}" for split in splits)) for entry, part in meta["parts"].items()]
        found.append(Table(("part", *splits), tuple(rows)))
    if meta["classes"]:
        rows = [
            (name, *(f"{count[split]:,} ({count[split] / splits[split]['examples']:.1%})" for split in splits))
            for name, count in meta["classes"].items()
        ]
        more = f"and {len(rows) - LISTED:,} more classes, which are in meta.json" if len(rows) > LISTED else ""
        found.append(Table(("class", *splits), tuple(rows[:LISTED]), more))
    if meta["attributes"]:
        rows = [(name, *(f"{share[split]:.1%}" for split in splits)) for name, share in meta["attributes"].items()]
        found.append(Table(("attribute", *splits), tuple(rows)))
    return found


def as_text(meta: Mapping) -> str:
    """All of it for a terminal, in aligned columns."""
    known = facts(meta)
    width = max(len(label) for label, _ in known)
    parts = ["\n".join(f"{label:<{width}}  {value}" for label, value in known)]
    for table in tables(meta):
        lines = [table.header, *table.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(table.header))]
        text = "\n".join(_aligned(line, widths) for line in lines)
        parts.append(f"{text}\n{table.note}" if table.note else text)
    return "\n\n".join(parts)


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (f"{text:>{width}}" for text, width in zip(line, widths, strict=True))
    return "  ".join([f"{first.strip():<{widths[0]}}", *others])


def _pictures(meta):
    return len(meta["shape"]) == 3


def _source(meta, data):
    name = f"{data['source']} {data['name']!r}" if data["source"] == "tfds" else data["source"]
    total = sum(split["examples"] for split in meta["splits"].values())
    where = f" of {data['dir']}" if data["dir"] else ""
    return f"{name}{where}, {total:,} examples"


def _left_out(left_out):
    if not left_out:
        return "none"
    named = "; ".join(f"{name}: {reason}" for name, reason in left_out[:LEFT_OUT])
    return f"{len(left_out):,} ({named}{'; ...' if len(left_out) > LEFT_OUT else ''})"


def _fit(data):
    crop, (height, width) = data["crop"], data["image_size"]
    size = f"{height}×{width} (height×width)"
    if crop == "whole":
        return f"whole pictures, resized to {size}"
    if crop == "center":
        return f"the largest box of the aspect {height}:{width} in the middle, resized to {size}"
    box, _, corner = NAMED_CROPS.get(crop, crop).partition("+")
    top_left = corner.split("+")
    where = f"from {top_left[0]} px below the top, {top_left[1]} px from the left" if corner else "in the middle"
    return f"the box of {box.replace('x', '×')} px {where}, resized to {size}"


def _transforms(data):
    """What a training step does to the examples, and what the net sees of them, each in a line."""
    corrupt = data["corrupt"]
    percent, patch = f"{corrupt['amount']:.0%}", f"{corrupt['patch']}×{corrupt['patch']} px"
    told = {
        "mirrored left to right half of the time, anew each epoch, never in evaluation": data["flip"],
        "pixels above 0.5 as 1, the others as 0": data["binarization"] == "threshold",
        "pixels drawn as 0 or 1 with their grey as the chance, anew each epoch": data["binarization"] == "dynamic",
        "uniform noise of one grey level added": data["dequantize"],
        f"seen by the net with Gaussian noise of stddev {corrupt['amount']}": corrupt["kind"] == "noise",
        f"seen by the net with a grey box over {percent} of either side": corrupt["kind"] == "box",
        f"seen by the net without {percent} of the patches of {patch}": corrupt["kind"] == "patches",
        f"a masked pixel counts {corrupt['weight']} times in the loss": corrupt["weight"] != 1,
    }
    return [text for text, asked in told.items() if asked]


def _drawn(meta, data):
    texts = [f"{part['share']:.1%} from {entry.rpartition('=')[0]}" for entry, part in meta["parts"].items()]
    if data["balance"]:
        texts.append(f"the groups of {data['balance']} equally often")
    return texts


def _split_rows(meta):
    splits = meta["splits"].values()
    yield ("examples", *(f"{split['examples']:,}" for split in splits))
    if all(split["people"] is not None for split in splits):
        yield ("people", *(f"{split['people']:,}" for split in splits))
    yield ("alike to one before", *(f"{split['repeated']:,}" for split in splits))
    yield ("values", *(f"{split['low']:.4g} to {split['high']:.4g}" for split in splits))
    channels = meta["shape"][-1]
    names = CHANNELS[channels] if _pictures(meta) and channels in CHANNELS else tuple(map(str, range(channels)))
    if channels > NUMBERS:
        yield ("mean of all entries", *(f"{sum(split['mean']) / channels:.3f}" for split in splits))
        return
    for i, name in enumerate(names):
        figures = (f"{split['mean'][i]:.3f} ± {split['stddev'][i]:.3f}" for split in splits)
        yield (f"mean ± stddev, {name}", *figures)


def _shared(pairs):
    """What splits have in common, in one sentence."""
    told = []
    for pair in pairs:
        nouns = {"examples": ("example", "examples"), "people": ("person", "people")}
        what = [f"{pair[name]:,} {noun[pair[name] > 1]}" for name, noun in nouns.items() if pair[name]]
        if what:
            told.append(f"{pair['splits'][0]} and {pair['splits'][1]} share {' and '.join(what)}")
    if told:
        return "; ".join(told) + "."
    people = ", and no person" if all(pair["people"] is not None for pair in pairs) else ""
    return f"No example is in two splits{people}."
