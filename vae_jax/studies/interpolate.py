"""From one picture to another through the latent space: in a line, on an arc, and on a plane between four."""

import numpy as np

from vae_jax.errors import UserError
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.studies import nets
from vae_jax.studies.study import Picture, Result, Setting, Study, check_size

FRAMES = 24  # of the animation, one way
SIDE = 160  # pixels of a frame, at least
PARALLEL = 1e-6  # of the sine of the angle, below which an arc is a line


def interpolate(
    model: Model, images: np.ndarray, *, cond: np.ndarray | None = None, count: int = 10
) -> dict[str, np.ndarray]:
    """Decodes of `count` steps between the posterior means of the first two images [B, H, W, C], linear and spherical.

    With four images also the grid between them, the first two above, by bilinear weights. What a conditional model is
    told goes with the latents, from what it is told of the one image to what it is told of the other. Arrays, with T =
    `count`: `t` [T], `linear_latents`, `spherical_latents` [T, Z], `linear`, `spherical` [T, ...], `grid_latents` [T,
    T, Z], `grid` [T, T, ...].
    """
    if len(images) < 2:
        raise UserError(f"interpolate needs two images or more, and there are {len(images)}.")
    ends = images[:4]
    told = None if cond is None else np.broadcast_to(cond, (len(images), np.shape(cond)[-1]))[:4]
    means = nets.encode(model, ends, told).mean
    t = np.linspace(0, 1, count, dtype=np.float32)
    latents = {"linear": linear(*means[:2], t), "spherical": spherical(*means[:2], t)}
    if len(means) == 4:
        latents["grid"] = plane(means, t)
    decoded = {way: nets.decode(model, z, _between(told, t, grid=z.ndim == 3)) for way, z in latents.items()}
    return {"t": t, **{f"{way}_latents": z for way, z in latents.items()}, **decoded}


def linear(one: np.ndarray, other: np.ndarray, t: np.ndarray) -> np.ndarray:
    """(1 − t)·one + t·other for latents [Z] and t [T]: [T, Z]."""
    return (1 - t[:, None]) * one + t[:, None] * other


def plane(corners: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Bilinear weights of four latents [4, Z], the first two above, for t [T] along either side: [T, T, Z]."""
    above, below = linear(*corners[:2], t), linear(*corners[2:], t)
    return np.stack([linear(*ends, t) for ends in zip(above, below, strict=True)], axis=1)


def spherical(one: np.ndarray, other: np.ndarray, t: np.ndarray) -> np.ndarray:
    """sin((1 − t)Ω)/sin Ω·one + sin(tΩ)/sin Ω·other with the angle Ω between them (White, 2016): [T, Z]."""
    cosine = one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-12)
    angle = np.arccos(np.clip(cosine, -1, 1))
    if np.sin(angle) < PARALLEL:
        return linear(one, other, t)
    t = t[:, None]
    return (np.sin((1 - t) * angle) * one + np.sin(t * angle) * other) / np.sin(angle)


def _between(told, t, *, grid):
    """What is told along the way, [T, n], or on the plane, [T, T, n]; None where nothing is."""
    if told is None:
        return None
    return plane(told, t) if grid else linear(*told[:2], t)


def _run(setting: Setting) -> Result:
    images, names = setting.images, setting.inputs.names
    arrays = interpolate(setting.model, images, cond=setting.cond, count=setting.options.count)
    ends = [images[:1], images[1:2]]
    rows = {way: np.concatenate([ends[0], arrays[way], ends[1]]) for way in ("linear", "spherical")}
    captions = [names[0], *(f"t = {t:.2f}" for t in arrays["t"]), names[1]]
    pixels = grids.named_rows(rows, len(captions), captions=captions)
    alt = f"From {names[0]} to {names[1]}: decodes of latents between theirs, on a line and on an arc."
    pictures = {"interpolate": Picture(pixels, alt), "animation": _animation(setting, alt)}
    if "grid" in arrays:
        pictures["grid"] = _grid(arrays, names)
    notes = (f"Of the {len(names)} inputs the first four are used.",) if len(names) > 4 else ()
    return Result(arrays, pictures, notes=notes)


def _grid(arrays, names):
    t = arrays["t"]
    rows = {f"{t[i]:.2f}": row for i, row in enumerate(arrays["grid"])}
    pixels = grids.named_rows(rows, len(t), captions=[f"{x:.2f}" for x in t], gap=grids.LINE)
    return Picture(pixels, f"A plane between {names[0]} and {names[1]} (above) and {names[2]} and {names[3]} (below).")


def _animation(setting, alt):
    """There and back, linear beside spherical."""
    told = None if setting.cond is None else setting.cond[:2]
    arrays = interpolate(setting.model, setting.images[:2], cond=told, count=FRAMES)
    there = np.stack([arrays["linear"], arrays["spherical"]], axis=1)  # [T, 2, ...]
    frames = [
        grids.grid(pair, 2, captions=[f"linear, t = {t:.2f}", f"spherical, t = {t:.2f}"], min_side=SIDE)
        for pair, t in zip(there, arrays["t"], strict=True)
    ]
    return Picture(np.stack(frames + frames[-2:0:-1]), alt)


STUDY = Study(
    name="interpolate",
    title="From one input to another",
    chapter=story.MADE_FROM_IT,
    function=interpolate,
    run=_run,
    check=lambda setting: check_size(setting, setting.options.count**2, field="study.count"),
    inputs=2,
)
