import itertools
import multiprocessing
import threading

import jax
import numpy as np
import pytest

from vae_jax.data import pipeline
from vae_jax.data.content import CHUNK, example_ids, read_all
from vae_jax.data.order import Order
from vae_jax.data.pipeline import choose_delivery, evaluation_batches, train_batches
from vae_jax.data.source import ArraySource, Subset
from vae_jax.errors import UserError
from vae_jax.mesh import batch_sharding, make_mesh

SIZE, BATCH, K, CALLS = 50, 8, 3, 5  # 5 calls of 3 steps run through 2.4 epochs


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)
    return ArraySource(rng.integers(0, 256, (SIZE, 32, 24, 3), dtype=np.uint8), rng.integers(0, 10, SIZE))


def collect(source, *, delivery, workers=0, devices=8, start_step=0, calls=CALLS):
    """The first calls, all held at once before any is read back, as numpy arrays."""
    batches = train_batches(
        source,
        Order(len(source), BATCH, seed=5),
        mesh=make_mesh(devices),
        steps_per_call=K,
        start_step=start_step,
        delivery=delivery,
        workers=workers,
    )
    items = list(itertools.islice(batches, calls))
    batches.close()
    return [jax.tree.map(np.asarray, item) for item in items]


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype, name
            assert np.array_equal(one[name], other[name]), name


@pytest.fixture(scope="module")
def expected(source):
    """Made by hand from the order and the arrays."""
    order, whole = Order(SIZE, BATCH, seed=5), source.read(np.arange(SIZE))
    calls = [[order.batch(call * K + k) for k in range(K)] for call in range(CALLS)]
    ids = example_ids(whole["image"])
    return [
        {
            "image": np.stack([whole["image"][b.indices] for b in call]),
            "label": np.stack([whole["label"][b.indices] for b in call]).astype(np.int32),
            "example_id": np.stack([ids[b.indices] for b in call]),
            "epoch": np.stack([b.epoch for b in call]),
            "mask": np.ones((K, BATCH), np.float32),
        }
        for call in calls
    ]


@pytest.mark.parametrize(
    ("delivery", "workers", "devices"),
    [("device", 0, 1), ("device", 0, 8), ("host", 0, 1), ("host", 0, 8), ("host", 1, 1), ("host", 2, 8)],
)
def test_every_delivery_gives_bitwise_the_batches_of_the_order(source, expected, delivery, workers, devices):
    assert_same(collect(source, delivery=delivery, workers=workers, devices=devices), expected)


@pytest.mark.parametrize("delivery", ["device", "host"])
def test_a_resumed_stream_goes_on_where_the_first_one_stood(source, expected, delivery):
    assert_same(collect(source, delivery=delivery, start_step=2 * K, calls=3), expected[2:])


@pytest.mark.parametrize("delivery", ["device", "host"])
def test_float_images_without_labels_keep_their_dtype_and_have_no_label(delivery):
    images = np.random.default_rng(1).random((20, 4, 4, 1), np.float32)
    item = collect(ArraySource(images), delivery=delivery, calls=1)[0]
    assert sorted(item) == ["epoch", "example_id", "image", "mask"]
    assert np.array_equal(item["image"][0], images[Order(20, BATCH, seed=5).batch(0).indices])


@pytest.mark.parametrize("delivery", ["device", "host"])
def test_batches_are_split_over_the_devices(source, delivery):
    mesh = make_mesh(8)
    batches = train_batches(
        source,
        Order(SIZE, 16, seed=0),
        mesh=mesh,
        steps_per_call=2,
        start_step=0,
        delivery=delivery,
        workers=0,
    )
    for array in next(batches).values():
        assert array.sharding.is_equivalent_to(batch_sharding(mesh, leading=1), array.ndim)
        assert array.addressable_shards[0].data.shape[:2] == (2, 2)
    batches.close()


def test_closing_the_iterator_ends_its_processes_and_threads(source):
    def readers():
        return [t for t in threading.enumerate() if "grain" in t.name.lower() or "ThreadPool" in t.name]

    for workers in (0, 2):
        batches = train_batches(
            source,
            Order(SIZE, BATCH, seed=0),
            mesh=make_mesh(1),
            steps_per_call=1,
            start_step=0,
            delivery="host",
            workers=workers,
        )
        next(batches)
        assert len(multiprocessing.active_children()) == workers
        batches.close()
        assert not multiprocessing.active_children()
        for thread in readers():
            thread.join(timeout=5)
        assert not readers()


def test_auto_holds_what_fits_on_the_device_and_says_why(source, monkeypatch):
    mesh = make_mesh(1)
    size = SIZE * 32 * 24 * 3
    monkeypatch.setattr(pipeline, "device_memory", lambda mesh: 4 * size)
    chosen = choose_delivery(source, "auto", mesh)
    assert (chosen.name, chosen.reason) == ("device", "0.1 MB of data, within 25% of a device's 0 MB")
    monkeypatch.setattr(pipeline, "device_memory", lambda mesh: 4 * size - 4)
    assert choose_delivery(source, "auto", mesh).name == "host"
    assert choose_delivery(source, "device", mesh).name == "device"
    monkeypatch.setattr(pipeline, "device_memory", lambda mesh: size - 1)
    with pytest.raises(UserError, match="data.delivery is 'device', but the 0 MB"):
        choose_delivery(source, "device", mesh)


def test_an_unknown_delivery_is_refused_by_name(source):
    with pytest.raises(UserError, match="data.delivery is 'gpu'; it must be one of auto, device, host"):
        choose_delivery(source, "gpu", make_mesh(1))


def test_a_batch_the_devices_cannot_share_is_refused_before_anything_is_read(source):
    with pytest.raises(UserError, match="train.batch_size is 12"):
        train_batches(
            source,
            Order(SIZE, 12, seed=0),
            mesh=make_mesh(8),
            steps_per_call=1,
            start_step=0,
            delivery="device",
            workers=0,
        )
    with pytest.raises(UserError, match="eval.batch_size is 12"):
        evaluation_batches(source, 12, mesh=make_mesh(8))


@pytest.mark.parametrize("size", [1, 8, 15, 50])
@pytest.mark.parametrize("batch_size", [8, 16])
def test_evaluation_sees_every_example_exactly_once_and_in_order(source, size, batch_size):
    subset = Subset(source, np.arange(size))
    batches = [jax.tree.map(np.asarray, b) for b in evaluation_batches(subset, batch_size, mesh=make_mesh(8))]
    assert {b["image"].shape[0] for b in batches} == {batch_size}
    assert all(np.array_equal(b["epoch"], np.zeros(batch_size)) for b in batches)
    seen = {name: np.concatenate([b[name][b["mask"] == 1] for b in batches]) for name in ("image", "label")}
    assert all(np.array_equal(seen[name], values) for name, values in subset.read(np.arange(size)).items())
    assert sum(b["mask"].sum() for b in batches) == size


def test_evaluation_stops_at_the_limit(source):
    batches = list(evaluation_batches(source, 8, mesh=make_mesh(1), limit=11))
    assert [b["mask"].sum() for b in batches] == [8, 3]
    assert len(list(evaluation_batches(source, 8, mesh=make_mesh(1), limit=10**6))) == 7


def test_ids_come_from_the_content_and_not_from_the_place(source):
    images = source.read(np.arange(SIZE))["image"]
    order = np.random.default_rng(3).permutation(SIZE)
    assert np.array_equal(example_ids(images[order]), example_ids(images)[order])
    assert len(set(example_ids(images).tolist())) == SIZE


def test_reading_all_in_chunks_loses_nothing():
    images = np.arange(CHUNK + 3, dtype=np.uint8).reshape(-1, 1, 1, 1)
    assert np.array_equal(read_all(ArraySource(images))["image"], images)
