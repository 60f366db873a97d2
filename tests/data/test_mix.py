import pickle

import numpy as np
import pytest
from PIL import Image

from vae_jax.config import default_config, override
from vae_jax.data.balance import strata
from vae_jax.data.mix import IDENTITIES, Mixed
from vae_jax.data.order import Order
from vae_jax.data.source import ArraySource, Features
from vae_jax.data.splits import open_splits
from vae_jax.errors import UserError


def config(*overrides):
    data = default_config()
    data.data.update(source="mix", image_size=(6, 5), channels=3)
    override(data, [f"--config.data.{text}" for text in overrides])
    return data.data


def described(labels, classes, names=(), **columns):
    """A source of empty images with these labels and other columns; `names` are those of its attributes."""
    source = ArraySource(np.zeros((len(labels), 1, 1, 1), np.uint8), np.array(labels), classes)
    source.features = Features((1, 1, 1), np.uint8, classes, names)
    source.columns |= columns
    return source


@pytest.fixture
def folders(tmp_path):
    """Two folders of pictures of one colour, red in "many" and blue in "few"; classes a and b, three to one."""
    for name, count, colour in (("many", 120, "red"), ("few", 40, "blue")):
        for number in range(count):
            path = tmp_path / name / ("b" if number % 4 == 0 else "a") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.new("RGB", (5, 6), colour)
            image.putpixel((0, 0), (number, 7, 7))  # no two alike
            image.save(path)
    return tmp_path


def open_mixed(folders, mix=("many=0.75", "few=0.25"), **changes):
    data = config(f"cache_dir={folders / 'cache'}")
    entries = tuple(f"folder:{folders / name}={share}" for name, share in (entry.split("=") for entry in mix))
    data.update(mix=entries, **changes)
    return open_splits(data), data


def is_red(image):
    return image[:, 3, 3, 0] == 255


def test_the_splits_of_a_mix_are_those_of_its_parts_laid_end_to_end(folders):
    splits, data = open_mixed(folders)
    parts = []
    for name in ("many", "few"):
        own = data.copy_and_resolve_references()
        own.update(source="folder", dir=str(folders / name), mix=())
        parts.append(open_splits(own))
    for name, split in splits.items():
        read = [part[name].read(np.arange(len(part[name]))) for part in parts]
        ours = split.read(np.arange(len(split)))
        for column in ("image", "label", "example_id"):
            assert np.array_equal(ours[column], np.concatenate([each[column] for each in read]))
        assert split.features == parts[0][name].features
        assert split.columns["part"].tolist() == [0] * len(parts[0][name]) + [1] * len(parts[1][name])


def test_a_mix_reads_any_indices_in_their_order_and_from_a_pickle(folders):
    train = open_mixed(folders)[0]["train"]
    whole = train.read(np.arange(len(train)))
    indices = np.array([len(train) - 1, 0, 5, len(train) - 1, 3])
    for source in (train, pickle.loads(pickle.dumps(train))):
        read = source.read(indices)
        assert all(np.array_equal(read[name], whole[name][indices]) for name in whole)


@pytest.mark.parametrize("mix", [("many=0.25", "few=0.75"), ("few=30", "many=10"), ("many=1", "few=1")])
def test_training_draws_from_the_parts_in_the_stated_proportions(folders, mix):
    splits, data = open_mixed(folders, mix)
    train = splits["train"]
    order = Order(len(train), len(train), 0, strata(train, data))
    shares = {name: float(share) for name, share in (entry.split("=") for entry in mix)}
    for epoch in range(3):
        red = is_red(train.read(order.batch(epoch).indices)["image"]).sum()
        assert abs(red - len(train) * shares["many"] / sum(shares.values())) < 1


@pytest.mark.parametrize("balance", ["label", "Smiling"])
def test_balanced_groups_are_drawn_equally_often_in_training(balance):
    flags = (np.arange(1000) % 20 == 0).astype(np.int32)
    attributes = np.stack([np.zeros_like(flags), flags], axis=1)
    source = described(flags, ("no", "yes"), ("Bald", "Smiling"), attributes=attributes)
    order = Order(1000, 1000, 0, strata(source, config("source=digits", f"balance={balance}")))
    drawn = order.batch(0).indices
    assert flags[drawn].sum() == 500
    assert np.unique(np.bincount(drawn, minlength=1000)[flags == 1]).tolist() == [10]


def test_within_a_mix_the_groups_of_each_part_are_balanced(folders):
    splits, data = open_mixed(folders, ("many=0.75", "few=0.25"), balance="label")
    train = splits["train"]
    drawn = train.read(Order(len(train), len(train), 0, strata(train, data)).batch(0).indices)
    for red, share in ((True, 0.75), (False, 0.25)):
        for label in (0, 1):
            count = np.sum((is_red(drawn["image"]) == red) & (drawn["label"] == label))
            assert abs(count - len(train) * share / 2) < 1


def test_without_a_mix_or_a_balance_everyone_is_drawn_once():
    data = config("source=digits", "image_size=(8,8)", "channels=1")
    assert strata(open_splits(data)["train"], data) is None


def test_a_mix_keeps_the_columns_that_all_parts_share():
    known = {
        "attributes": np.array([[0, 1, 1], [1, 0, 0]], np.uint8),
        "identity": np.array([4, 9], np.int32),
    }
    mixed = Mixed(
        [
            described([0, 1], ("a", "b"), ("Bald", "Smiling", "Young"), **known),
            described([0, 1], ("a", "c"), ("Young", "Male", "Bald"), **known),
        ]
    )
    assert mixed.features.attributes == ("Bald", "Young")
    assert mixed.columns["attributes"].tolist() == [[0, 1], [1, 0], [1, 0], [0, 1]]
    assert mixed.columns["identity"].tolist() == [4, 9, 4 + IDENTITIES, 9 + IDENTITIES]
    assert mixed.features.classes == () and "label" not in mixed.columns


# Mistakes


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        ("()", ["()", "two or more"]),
        ("('digits=1',)", ["('digits=1',)", "two or more"]),
        ("('digits=0','gmm=1')", ["'digits=0'", "above 0"]),
        ("('digits=-1','gmm=1')", ["'digits=-1'"]),
        ("('digits=nan','gmm=1')", ["'digits=nan'"]),
        ("('digits=inf','gmm=1')", ["'digits=inf'"]),
        ("('digits','gmm=1')", ["'digits'", "SOURCE=PROPORTION"]),
        ("('=1','gmm=1')", ["'=1'"]),
        ("('mix=1','gmm=1')", ["'mix=1'", "other than 'mix'"]),
        ("('digits=half','gmm=1')", ["'digits=half'"]),
        ("(3,4)", ["3"]),
        ("('digit=1','gmm=1')", ["data.mix has 'digit=1'", "data.source is 'digit'", "did you mean 'digits'?"]),
        ("('folder:no=1','gmm=1')", ["data.mix has 'folder:no=1', for which data.dir is 'no'"]),
        ("('digits=1','gmm=1','digits=2')", ["names 'digits' twice"]),
        ("('digits=1','gmm=1')", ["'digits=1'", "(6, 5, 3)", "'gmm=1'", "(3,)"]),
    ],
)
def test_a_mix_that_cannot_be_is_refused(mix, words, tmp_path):
    with pytest.raises(UserError) as error:
        open_splits(config(f"mix={mix}", f"cache_dir={tmp_path}"))
    assert [word for word in words if word not in str(error.value)] == [], error.value


def test_a_balance_that_cannot_be_is_refused(folders):
    splits, data = open_mixed(folders)
    for balance, words in {
        "labels": ["data.balance is 'labels'", "did you mean 'label'?"],
        "Smiling": ["data.balance is 'Smiling'", "these data have label"],
    }.items():
        data.balance = balance
        with pytest.raises(UserError) as error:
            strata(splits["train"], data)
        assert [word for word in words if word not in str(error.value)] == [], error.value


def test_a_group_without_an_example_is_refused_by_name():
    source = described([0, 0, 2, 2], ("a", "b", "c"))
    with pytest.raises(UserError, match="data.balance is 'label', but no training example has the label 'b'"):
        strata(source, config("source=digits", "balance=label"))
    source.columns["part"] = np.array([0, 0, 1, 1])
    with pytest.raises(UserError, match="no training example in 'x=1' of data.mix has the label 'b'"):
        strata(source, config("balance=label", "mix=('x=1','y=1')"))
