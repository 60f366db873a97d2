"""Whether pictures from elsewhere are framed as a run's own: by what tells these from the same framed otherwise."""

import numpy as np
from PIL import Image

from vae_jax.errors import UserError
from vae_jax.images.grids import to_uint8
from vae_jax.studies.align import framed_as_celeba
from vae_jax.studies.inputs import Inputs
from vae_jax.studies.study import Setting

LEARNT_FROM = 2000  # training examples
COMPARED = 256  # held-out examples
USUAL = 97.5  # per cent of them, beyond which a picture is told of
SIDE = 16  # pixels: what shows the framing, and little of who is in it
FLAT = 0.01  # stddev of a picture that shows hardly anything
COMPONENTS = 60  # of these pixels
SOFTNESS = 10.0  # of the margin: a training example costs at most so much
SCALES, TURNS, SHIFTS = (1.4, 3.0), (20, 340), (0.2, 0.5)  # of a framing; degrees; shares of the width and height


def framing_warnings(setting: Setting) -> tuple[str, ...]:
    """A sentence for each input that looks framed otherwise, more than nearly all held-out examples do.

    A support vector machine learns to tell training examples from the same scaled, squeezed, turned or shifted. Where
    it can't, because the run's own pictures are framed in all ways, hardly any input is told of.
    """
    inputs, data = setting.inputs, setting.config.data
    try:
        known = setting.examples("train", limit=LEARNT_FROM)
    except UserError:
        return (f"Whether these are framed as the run's own pictures is not told: data.dir={data.dir!r} has none.",)
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    rng = np.random.default_rng(0)
    own = _seen(known)
    otherwise = _small([framed_otherwise(picture, rng) for picture in _grey(known)])
    machine = make_pipeline(PCA(min(COMPONENTS, *own.shape), random_state=0), SVC(C=SOFTNESS))
    machine.fit(np.concatenate([own, otherwise]), np.repeat([0, 1], len(own)))
    limit = np.percentile(machine.decision_function(_seen(setting.examples("test", limit=COMPARED))), USUAL)
    hint = "; --align=face frames a photo's largest face so" if framed_as_celeba(data) and not inputs.aligned else ""
    return tuple(
        f"{name} is framed otherwise than what the run was trained on, or shows something else{hint}."
        for name, score in zip(inputs.names, machine.decision_function(_seen(inputs)), strict=True)
        if score > limit
    )


def framed_otherwise(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture scaled, squeezed, turned or shifted by chance, with the mean of its border around it."""
    width, height = picture.size
    matrix, shift = np.eye(2), np.zeros(2)  # from a place in the new picture to that in the old one
    how = rng.integers(4)
    if how == 0:
        matrix *= _scale(rng)
    elif how == 1:
        axis = rng.integers(2)
        matrix[axis, axis] = _scale(rng)
    elif how == 2:
        turn = np.radians(rng.uniform(*TURNS))
        matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    else:
        shift = rng.choice([-1, 1], 2) * rng.uniform(*SHIFTS, 2) * (width, height)
    center = np.array([width, height]) / 2
    offset = center - matrix @ center + shift
    edges = np.asarray(picture, np.float32)
    around = np.concatenate([edges[0], edges[-1], edges[:, 0], edges[:, -1]]).mean()
    inverse = (*matrix[0], offset[0], *matrix[1], offset[1])
    return picture.transform(
        picture.size, Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR, fillcolor=int(around)
    )


def _scale(rng: np.random.Generator) -> float:
    return np.exp(rng.choice([-1, 1]) * rng.uniform(*np.log(SCALES)))


def _seen(inputs: Inputs) -> np.ndarray:
    return _small(_grey(inputs))


def _grey(inputs: Inputs) -> list[Image.Image]:
    return [Image.fromarray(each.mean(axis=-1).astype(np.uint8)) for each in to_uint8(inputs.pixels)]


def _small(pictures: list[Image.Image]) -> np.ndarray:
    """Pictures as [N, SIDE²], each of mean 0 and unit variance, so that light and contrast make no difference."""
    small = [picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR) for picture in pictures]
    values = np.stack([np.asarray(each, np.float64).reshape(-1) for each in small]) / 255
    values -= values.mean(axis=1, keepdims=True)
    return values / np.maximum(values.std(axis=1, keepdims=True), FLAT)
