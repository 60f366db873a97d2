"""A collection laid end to end several times, to measure what a larger one takes. Processes that decode import it."""

from vae_jax.data.source import Pictures


class Repeated:
    """The pictures of a collection `times` times, without what is known of them."""

    columns = {}

    def __init__(self, pictures: Pictures, times: int):
        self.classes, self.attributes, self.unique = (), (), False
        self.channels, self.dtype, self.place = pictures.channels, pictures.dtype, pictures.place
        self.fingerprint = f"{times} times {pictures.fingerprint}"
        self._pictures, self._times = pictures, times

    def __len__(self) -> int:
        return self._times * len(self._pictures)

    def name(self, index: int) -> str:
        return self._pictures.name(index % len(self._pictures))

    def load(self, index: int) -> bytes:
        return self._pictures.load(index % len(self._pictures))
