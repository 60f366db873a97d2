"""What becomes of a picture that is encoded and decoded again and again."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from vae_jax.evaluation.figures import figure
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.studies import draws, nets
from vae_jax.studies.measures import similarity
from vae_jax.studies.plots import CLASSES, plotted
from vae_jax.studies.study import Picture, Result, Setting, Study, check_size, latent_noise

SETTLED, TIMES = 1e-4, 3  # squared change per pixel below which a step counts as none, and how many must follow
COLLAPSED = 0.1  # of the variance across inputs after the first cycle
SHOWN = 8
FRAMES = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100)  # cycles of the filmstrip, as far as there are so many


def cycle(
    model: Model,
    images: np.ndarray,
    *,
    cond: np.ndarray | None = None,
    cycles: int = 20,
    z: str = "mean",
    seed: int = 0,
    noise: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Encodes and decodes the images [B, H, W, C] N = `cycles` times, by the posterior's mean or (z="sample") a draw.

    Arrays: `latents` [N, B, Z], `outputs` [N, B, ...], `to_original_mse`, `to_previous_mse` [N, B] (and `..._ssim`),
    `variance` [N] across the inputs, per pixel, `settled` [B], the first of TIMES cycles in a row that changed less
    than SETTLED, and `collapsed`, the first cycle whose variance is below a tenth of the first's; 0 means never. With
    draws also `noise` [N, B, Z].
    """
    arrays = {}
    if z == "sample":
        shape = (model.config.model.latent,)
        arrays["noise"] = draws.normal(images, shape, count=cycles, seed=seed, name="cycle", noise=noise)
    current, latents, outputs = images, [], []
    for n in range(cycles):
        posterior = nets.encode(model, current, cond)
        latents.append(posterior.mean + (posterior.stddev * arrays["noise"][n] if z == "sample" else 0))
        current = nets.decode(model, latents[-1], cond)
        outputs.append(current)
    arrays |= {"latents": np.stack(latents), "outputs": np.stack(outputs)}
    before = [images, *outputs[:-1]]
    steps = [similarity(one, other) for one, other in zip(before, outputs, strict=True)]
    arrays |= {f"to_original_{name}": values for name, values in similarity(images, arrays["outputs"]).items()}
    arrays |= {f"to_previous_{name}": np.stack([step[name] for step in steps]) for name in steps[0]}
    arrays["variance"] = arrays["outputs"].var(axis=1).reshape(cycles, -1).mean(axis=1)
    arrays["settled"] = first_run(arrays["to_previous_mse"] < SETTLED, TIMES)
    below = arrays["variance"] < COLLAPSED * arrays["variance"][0]
    arrays["collapsed"] = first_run(below[:, None], 1)[0]
    return arrays


def first_run(true: np.ndarray, length: int) -> np.ndarray:
    """For each column of [N, B], the number (from 1) where `length` trues in a row first begin; 0 where they don't."""
    starts = len(true) - length + 1
    if starts < 1:
        return np.zeros(true.shape[1], np.int64)
    runs = np.stack([true[i : i + length].all(axis=0) for i in range(starts)])  # [N', B]
    return np.where(runs.any(axis=0), runs.argmax(axis=0) + 1, 0)


def _run(setting: Setting) -> Result:
    options = setting.options
    arrays = cycle(
        setting.model,
        setting.images,
        cond=setting.cond,
        cycles=options.cycles,
        z=options.z,
        seed=options.seed,
        noise=setting.noise,
    )
    last = len(arrays["outputs"])
    figures = {
        "mse_first": figure(arrays["to_original_mse"][0], "Squared error per pixel to the original after 1 cycle"),
        "mse_last": figure(arrays["to_original_mse"][-1], f"Squared error per pixel to the original after {last}"),
        "change_last": figure(arrays["to_previous_mse"][-1], "Squared change per pixel in the last cycle"),
        "ssim_first": figure(arrays["to_original_ssim"][0], "SSIM to the original after 1 cycle"),
        "ssim_last": figure(arrays["to_original_ssim"][-1], f"SSIM to the original after {last}"),
        "ssim_change_last": figure(arrays["to_previous_ssim"][-1], "SSIM to the step before in the last cycle"),
    }
    pixels = grids.stacked(_filmstrip(setting, arrays), _curves(setting, arrays))
    alt = (
        f"Inputs after 1 to {last} rounds of encoding and decoding; below, curves of the squared error and the "
        "SSIM to the original and to the step before, and the path of the latents."
    )
    return Result(arrays, {"cycle": Picture(pixels, alt)}, figures, _verdict(arrays))


def _verdict(arrays):
    settled = arrays["settled"]
    count, last = int((settled > 0).sum()), len(arrays["outputs"])
    when = f", the median at cycle {int(np.median(settled[settled > 0]))}" if count else ""
    said = [
        f"{count} of {len(settled)} inputs settled within {last} cycles{when}: the squared change per pixel was below "
        f"{SETTLED:g} {TIMES} times in a row."
    ]
    if len(settled) > 1:
        share = arrays["variance"][-1] / arrays["variance"][0]
        collapsed = f"They collapsed in cycle {arrays['collapsed']}" if arrays["collapsed"] else "They did not collapse"
        said.append(f"{collapsed}: the variance across inputs ended at {share:.2f} of that after the first cycle.")
    return tuple(said)


def _filmstrip(setting, arrays):
    numbers = [n for n in FRAMES if n <= len(arrays["outputs"])]
    frames = arrays["outputs"][[n - 1 for n in numbers]]  # [F, B, ...]
    rows = {
        name: np.concatenate([setting.images[b : b + 1], frames[:, b]])
        for b, name in enumerate(setting.inputs.names[:SHOWN])
    }
    return grids.named_rows(rows, len(numbers) + 1, captions=["input", *(f"cycle {n}" for n in numbers)])


def _curves(setting, arrays):
    """The squared errors in one row, the SSIM in the next, and the latents below."""
    names = setting.inputs.names[:SHOWN]
    with plotted(width=10, height=3.2, columns=2) as (errors, axes):
        _draw(axes[0], arrays["to_original_mse"], names, "Squared error per pixel to the original")
        _draw(axes[1], arrays["to_previous_mse"], names, "Squared change per pixel from the step before")
        axes[1].axhline(SETTLED, color="black", linestyle=":", linewidth=1)
        axes[1].set_yscale("log")
        axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    with plotted(width=10, height=3.2, columns=2) as (likeness, axes):
        _draw(axes[0], arrays["to_original_ssim"], names, "SSIM to the original")
        _draw(axes[1], arrays["to_previous_ssim"], names, "SSIM to the step before")
        axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    with plotted(width=5, height=3.2) as (paths, (ax,)):
        for b, path in enumerate(np.moveaxis(_plane(arrays["latents"]), 1, 0)[:SHOWN]):  # [N, 2]
            ax.plot(*path.T, color=CLASSES[b % len(CLASSES)], linewidth=1, marker=".", markersize=3)
            ax.plot(*path[0], color=CLASSES[b % len(CLASSES)], marker="o", markersize=6)
        ax.set(title="Path of the latents (dot: first)", xlabel="component 1", ylabel="component 2")
    return grids.stacked(errors.pixels, likeness.pixels, paths.pixels)


def _draw(ax, values, names, title):
    """A curve over the cycles for each input, of values [N, B]."""
    for b, name in enumerate(names):
        ax.plot(np.arange(1, len(values) + 1), values[:, b], color=CLASSES[b % len(CLASSES)], linewidth=1.3, label=name)
    ax.set(title=title, xlabel="cycle")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _plane(latents):
    """Latents [N, B, Z] on their two directions of largest variance, [N, B, 2]; a single dimension against zeros."""
    flat = latents.reshape(-1, latents.shape[-1])
    flat = flat - flat.mean(axis=0)
    _, _, directions = np.linalg.svd(flat, full_matrices=False)
    on = flat @ directions[:2].T
    return np.pad(on, ((0, 0), (0, 2 - on.shape[1]))).reshape(*latents.shape[:2], 2)


def _noise(setting: Setting) -> tuple[int, ...] | None:
    options = setting.options
    return (options.cycles, *latent_noise(setting)[1:]) if options.z == "sample" else None


STUDY = Study(
    name="cycle",
    title="Encoded and decoded again and again",
    chapter=story.COMES_BACK,
    function=cycle,
    run=_run,
    check=lambda setting: check_size(setting, setting.options.cycles * len(setting.inputs), field="study.cycles"),
    noise=_noise,
)
