"""Pictures put right after they were decoded: colours, haze, noise and edges. All are jitted functions on [B, H, W, C].

Floats in [0, 1] go in and come out. The stages are those by which people repair pictures with a white cast; what they
can't do is bring back what the net has lost.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

BRIGHTEST = 1000  # one pixel of so many is looked at for the colour of the haze (He et al.: 0.1%)
LEAST_TRANSMISSION = 0.1  # below which noise would be enlarged without end
SPREAD = 3  # stddevs that a Gaussian kernel reaches


@jax.jit
def saturation(x: jax.Array, factor: float) -> jax.Array:
    """The HSV saturation of RGB pictures times `factor`."""
    return jnp.clip(dm_pix.adjust_saturation(x, factor), 0, 1)


@jax.jit
def contrast(x: jax.Array, factor: float) -> jax.Array:
    """Each channel's distance from its mean over the picture, times `factor`."""
    return jnp.clip(dm_pix.adjust_contrast(x, factor), 0, 1)


@functools.partial(jax.jit, static_argnames=("patch", "radius"))
def dehaze(x: jax.Array, strength: float, *, patch: int, radius: int, epsilon: float = 1e-3) -> jax.Array:
    """Takes away the haze that the dark channel prior finds (He et al., 2011).

    In a clear picture nearly every patch has a pixel with a dark channel; what is bright there is haze of the colour
    A, x = t·clear + (1 − t)·A. The transmission t = 1 − strength·dark(x/A) is smoothed along the edges of x.
    """
    haze = _haze_colour(x, dark_channel(x, patch=patch))  # [B, 1, 1, C]
    transmission = 1 - strength * dark_channel(x / jnp.maximum(haze, 1e-3), patch=patch)  # [B, H, W, 1]
    grey = x.mean(axis=-1, keepdims=True)
    transmission = guided_filter(grey, transmission, radius=radius, epsilon=epsilon)
    return jnp.clip((x - haze) / jnp.maximum(transmission, LEAST_TRANSMISSION) + haze, 0, 1)


def dark_channel(x: jax.Array, *, patch: int) -> jax.Array:
    """The darkest channel of the patch × patch pixels around each one: [B, H, W, 1]."""
    darkest = x.min(axis=-1, keepdims=True)
    return lax.reduce_window(darkest, jnp.inf, lax.min, (1, patch, patch, 1), (1, 1, 1, 1), "SAME")


def guided_filter(guide: jax.Array, x: jax.Array, *, radius: int, epsilon: float) -> jax.Array:
    """x [B, H, W, 1] as the linear functions of `guide` that fit it best in every window (He et al., 2010)."""
    mean = functools.partial(_box_mean, radius=radius)
    guide_mean, x_mean = mean(guide), mean(x)
    slope = (mean(guide * x) - guide_mean * x_mean) / (mean(guide * guide) - guide_mean**2 + epsilon)
    return mean(slope) * guide + mean(x_mean - slope * guide_mean)


@functools.partial(jax.jit, static_argnames="radius")
def bilateral(x: jax.Array, *, radius: int, sigma_color: float, sigma_space: float) -> jax.Array:
    """The mean of the pixels within `radius`, weighted by nearness in place and in colour (Tomasi & Manduchi, 1998).

    As in OpenCV: the distance of two colours is the sum over their channels, borders are reflected.
    """
    height, width = x.shape[1:3]
    reach = range(-radius, radius + 1)
    places = jnp.array([(i, j) for i in reach for j in reach if i * i + j * j <= radius * radius])
    padded = jnp.pad(x, ((0, 0), (radius, radius), (radius, radius), (0, 0)), mode="reflect")

    def add(sums, place):
        start = (0, radius + place[0], radius + place[1], 0)
        neighbour = lax.dynamic_slice(padded, start, (x.shape[0], height, width, x.shape[3]))
        distance = jnp.abs(neighbour - x).sum(axis=-1, keepdims=True)
        weight = jnp.exp(-0.5 * ((distance / sigma_color) ** 2 + (place**2).sum() / sigma_space**2))
        return (sums[0] + weight * neighbour, sums[1] + weight), None

    (total, weights), _ = lax.scan(add, (jnp.zeros_like(x), jnp.zeros_like(x[..., :1])), places)
    return total / weights


@functools.partial(jax.jit, static_argnames="sigma")
def sharpen(x: jax.Array, amount: float, *, sigma: float) -> jax.Array:
    """Unsharp masking: x + amount · (x − x blurred by a Gaussian of `sigma` pixels), borders reflected."""
    radius = max(1, round(SPREAD * sigma))
    padded = jnp.pad(x, ((0, 0), (radius, radius), (radius, radius), (0, 0)), mode="reflect")
    blurred = dm_pix.gaussian_blur(padded, sigma, kernel_size=2 * radius + 1, padding="VALID")
    return jnp.clip(x + amount * (x - blurred), 0, 1)


def stages(options: Mapping) -> dict[str, Callable[[jax.Array], jax.Array]]:
    """Each stage by name, with the parameters that `options` (a config's study.postprocess) has for it."""
    return {
        "saturation": lambda x: saturation(x, options["saturation"]),
        "contrast": lambda x: contrast(x, options["contrast"]),
        "dehaze": lambda x: dehaze(x, options["haze"], patch=options["haze_patch"], radius=options["haze_radius"]),
        "bilateral": lambda x: bilateral(
            x,
            radius=options["bilateral_radius"],
            sigma_color=options["bilateral_color"],
            sigma_space=options["bilateral_space"],
        ),
        "sharpen": lambda x: sharpen(x, options["sharpen"], sigma=options["sharpen_sigma"]),
    }


def chain(x: jax.Array, names: Sequence[str], options: Mapping) -> list[jax.Array]:
    """x after each of the named stages, one after another, in the order of `names`."""
    known, outputs = stages(options), []
    for name in names:
        x = known[name](x)
        outputs.append(x)
    return outputs


def _haze_colour(x: jax.Array, dark: jax.Array) -> jax.Array:
    """The brightest of the pixels that lie in the most haze, by the dark channel: [B, 1, 1, C]."""
    b, height, width, channels = x.shape
    pixels = x.reshape(b, -1, channels)
    _, most = lax.top_k(dark.reshape(b, -1), max(1, height * width // BRIGHTEST))
    hazy = jnp.take_along_axis(pixels, most[..., None], axis=1)  # [B, k, C]
    brightest = hazy.sum(axis=-1).argmax(axis=1)
    return jnp.take_along_axis(hazy, brightest[:, None, None], axis=1)[:, :, None]


def _box_mean(x: jax.Array, *, radius: int) -> jax.Array:
    """The mean of the pixels within a square of 2·radius + 1, of those that are in the picture; an axis at a time."""
    for axis in (1, 2):
        window = [1, 1, 1, 1]
        window[axis] = 2 * radius + 1
        places = np.arange(x.shape[axis])  # in NumPy: XLA would take seconds to fold a count of ones
        inside = np.minimum(places + radius, len(places) - 1) - np.maximum(places - radius, 0) + 1
        total = lax.reduce_window(x, 0.0, lax.add, window, (1, 1, 1, 1), "SAME")
        x = total / np.float32(inside).reshape([-1 if i == axis else 1 for i in range(4)])
    return x
