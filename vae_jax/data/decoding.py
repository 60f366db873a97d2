"""Many pictures to pixels: chunk by chunk, in processes of their own where there are many. Imports no jax."""

import contextlib
import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vae_jax.data.arrays import ArrayPictures
from vae_jax.data.content import example_ids
from vae_jax.data.fit import Fit
from vae_jax.data.pictures import BrokenPicture, decode
from vae_jax.data.source import Pictures
from vae_jax.errors import UserError

CHUNK_BYTES = 2**23  # of pixels; a process holds about two chunks
MAX_CHUNK = 256  # pictures
FEW = 500  # pictures that are not worth starting a process for
MAX_PROCESSES = 8
WORKER = "from vae_jax.data.decoding import _work; _work()"


@dataclass(frozen=True)
class Chunk:
    """Some neighbours of a collection: `collection` is its place in the list, and they are start ... stop - 1 in it."""

    collection: int
    start: int
    stop: int


@dataclass(frozen=True)
class Decoded:
    """What became of the n pictures of a chunk, the m good ones of them in `pixels`."""

    chunk: Chunk
    pixels: np.ndarray  # [m, H, W, C]
    places: np.ndarray  # [m]: of the good ones in their collection
    example_ids: np.ndarray  # [m] uint32
    digests: list[bytes]  # of the m files
    broken: list[tuple[int, str]]  # place and reason, of the others


def decode_all(collections: Sequence[Pictures], fit: Fit, *, processes: int | None = None) -> Iterator[Decoded]:
    """Every picture of the collections, in order, chunk by chunk.

    `processes` is how many to start, 0 for none; by default as many as there are cores, and none for few pictures or
    for arrays, which need no decoding. They bound the memory: each waits with the chunk that it has made until that is
    asked for.
    """
    size = CHUNK_BYTES // (fit.size[0] * fit.size[1] * fit.channels * np.dtype(collections[0].dtype).itemsize)
    size = min(max(size, 1), MAX_CHUNK)
    chunks = [
        Chunk(number, start, min(start + size, len(pictures)))
        for number, pictures in enumerate(collections)
        for start in range(0, len(pictures), size)
    ]
    if processes is None:
        few = sum(len(pictures) for pictures in collections if not isinstance(pictures, ArrayPictures)) < FEW
        processes = 0 if few else min(len(os.sched_getaffinity(0)), MAX_PROCESSES)
    if processes:
        return _decode_in_processes(collections, fit, chunks, processes)
    return (_decode_chunk(collections, fit, chunk) for chunk in chunks)


def _decode_chunk(collections, fit, chunk):
    pictures = collections[chunk.collection]
    pixels, places, digests, broken = [], [], [], []
    for place in range(chunk.start, chunk.stop):
        try:
            content = pictures.load(place)
            pixels.append(fit(decode(content) if isinstance(content, bytes) else content))
        except BrokenPicture as error:
            broken.append((place, str(error)))
        except Exception as error:  # of the disk, of a zip's checksum: whatever reading a picture may come to
            broken.append((place, f"it can't be read ({type(error).__name__}: {error})"))
        else:
            places.append(place)
            digests.append(_digest(content))
    stacked = np.stack(pixels) if pixels else np.empty((0, *fit.size, fit.channels), pictures.dtype)
    return Decoded(chunk, stacked, np.array(places, np.int64), example_ids(stacked), digests, broken)


def _digest(content):
    return hashlib.blake2b(content if isinstance(content, bytes) else content.tobytes(), digest_size=16).digest()


def _decode_in_processes(collections, fit, chunks, processes):
    """Process p of P makes the chunks p, p + P, p + 2P, ...; they are taken in turn, which is the order.

    The processes are plain ones, started anew and without the caller's main module: that may import jax, or be a
    notebook. They end with their pipe, so that none outlives this process.
    """
    shares = [chunks[number::processes] for number in range(min(processes, len(chunks)))]
    workers = [_start() for _ in shares]
    try:
        for worker, share in zip(workers, shares, strict=True):
            _send(worker, (collections, fit, share))
        for number, chunk in enumerate(chunks):
            worker = workers[number % len(workers)]
            try:
                yield pickle.load(worker.stdout)
            except (EOFError, pickle.UnpicklingError) as error:
                names = [collections[chunk.collection].name(place) for place in (chunk.start, chunk.stop - 1)]
                raise UserError(
                    f"A process that decodes pictures ended with code {worker.wait()} (-9: killed, as where memory "
                    f"runs out) at the pictures {names[0]} to {names[1]}; the same command tries again."
                ) from error
    finally:
        for worker in workers:
            worker.kill()
            worker.stdout.close()
            worker.wait()


def _start():
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return subprocess.Popen(
        [sys.executable, "-c", WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C is for this process, which then ends the others
    )


def _send(worker, work):
    with contextlib.suppress(BrokenPipeError), worker.stdin:  # a process that has died is met when it is read
        pickle.dump(work, worker.stdin)


def _work():
    """What a process does: reads its work from stdin, writes its chunks to stdout."""
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the chunks
    collections, fit, chunks = pickle.load(sys.stdin.buffer)
    try:
        for chunk in chunks:
            pickle.dump(_decode_chunk(collections, fit, chunk), results, protocol=5)
            results.flush()
        results.close()
    except BrokenPipeError:  # nobody waits for them any more
        os._exit(1)
