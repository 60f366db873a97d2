"""Weight files are read as what they hold, or refused in one sentence; none runs code."""

import collections
import os
import pickle
import struct
import sys
import warnings
import zipfile

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from vae_jax.errors import UserError
from vae_jax.pretrained.files import file_hash, read_weights

TENSORS = {"encoder.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "count": np.array(7, np.int64)}


def test_safetensors_and_npz_give_the_arrays_that_were_saved(tmp_path):
    save_file(TENSORS, tmp_path / "w.safetensors")
    np.savez(tmp_path / "w.npz", **TENSORS)
    for name in ("w.safetensors", "w.npz"):
        read = read_weights(tmp_path / name)
        assert set(read) == set(TENSORS)
        for key, tensor in TENSORS.items():
            assert read[key].dtype == tensor.dtype
            np.testing.assert_array_equal(read[key], tensor)


def test_the_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "w.npz").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert file_hash(tmp_path / "w.npz") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def safetensors_bytes(header, data):
    return struct.pack("<Q", len(header)) + header + data


def test_bfloat16_is_read_exactly(tmp_path):
    path = tmp_path / "w.safetensors"
    values = np.array([1, 3.140625], ml_dtypes.bfloat16)
    header = b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    path.write_bytes(safetensors_bytes(header, values.tobytes()))
    np.testing.assert_array_equal(read_weights(path)["a"].astype(np.float32), [1, 3.140625])


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_prefix_that_all_names_share_is_taken_off(tmp_path, prefix):
    np.savez(tmp_path / "w.npz", **{prefix + "a": np.ones(2), prefix + "module.b": np.ones(2)})
    assert set(read_weights(tmp_path / "w.npz")) == {"a", "module.b"}


def test_a_prefix_that_not_all_names_have_stays(tmp_path):
    np.savez(tmp_path / "w.npz", **{"model.a": np.ones(2), "b": np.ones(2)})
    assert set(read_weights(tmp_path / "w.npz")) == {"model.a", "b"}


ONE = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
BROKEN = {
    "empty.safetensors": b"",
    "cut.safetensors": safetensors_bytes(b"{" + ONE + b"}", b"\0\0"),
    "text.safetensors": b"hello, this is no weight file",
    "list.safetensors": safetensors_bytes(b"[1]", b""),
    "empty.npz": b"",
    "text.npz": b"hello",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_in_one_sentence(tmp_path, name):
    (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(UserError, match=f"{name} is no .* file, or a broken one") as refused:
        read_weights(tmp_path / name)
    assert "\n" not in str(refused.value)


def test_a_truncated_npz_is_refused(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.ones(1000))
    whole = (tmp_path / "w.npz").read_bytes()
    (tmp_path / "w.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="is no .npz file, or a broken one"):
        read_weights(tmp_path / "w.npz")


def test_a_zip_that_is_no_npz_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as other:
        other.writestr("readme.txt", "no arrays")
    with pytest.raises(UserError, match="w.npz is no .npz file: readme.txt in it is no array"):
        read_weights(tmp_path / "w.npz")


HEADER = 30  # bytes of a zip file before the name of its first entry
DAMAGE = {"the flags": (6, b"\x01"), "the method": (8, b"\x63"), "the data": (HEADER + 25, b"\xff" * 40)}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_compressed_npz_with_damaged_bytes_is_refused(tmp_path, what):
    np.savez_compressed(tmp_path / "w.npz", a=np.random.default_rng(0).random(100))
    damaged, (place, content) = bytearray((tmp_path / "w.npz").read_bytes()), DAMAGE[what]
    directory = damaged.index(b"PK\x01\x02") + 2  # which says the same two bytes further on
    for start in (place, directory + place) if place < HEADER else (place,):
        damaged[start : start + len(content)] = content
    (tmp_path / "w.npz").write_bytes(damaged)
    with pytest.raises(UserError, match="is no .npz file, or a broken one"):
        read_weights(tmp_path / "w.npz")


def test_a_name_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(safetensors_bytes(b"{" + ONE + b"," + ONE + b"}", b"\0" * 4))
    np.savez(tmp_path / "w.npz", a=np.ones(1))
    with zipfile.ZipFile(tmp_path / "w.npz", "a") as whole, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own, of the duplicate
        whole.writestr("a.npy", whole.read("a.npy"))
    for name in ("w.safetensors", "w.npz"):
        with pytest.raises(UserError, match="is there twice"):
            read_weights(tmp_path / name)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, value):
    np.savez(tmp_path / "w.npz", good=np.ones(3), bad=np.array([1, value], np.float16))
    with pytest.raises(UserError, match="bad holds NaN or values that are infinite"):
        read_weights(tmp_path / "w.npz")


def test_weights_that_only_float64_can_hold_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.array([1e300]))
    with pytest.raises(UserError, match="infinite as float32"):
        read_weights(tmp_path / "w.npz")


def test_a_folder_another_kind_of_file_and_none_are_refused(tmp_path):
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "w.h5").touch()
    np.savez(tmp_path / "none.npz")
    for name, words in {
        "folder.pt": "is a folder",
        "w.h5": "ends in '.h5'; weights are read from",
        "absent.npz": "can't be read",
        "none.npz": "holds no tensors",
    }.items():
        with pytest.raises(UserError, match=words):
            read_weights(tmp_path / name)


class Bomb:
    """A pickle of it runs a command in whoever unpickles it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_an_array_of_python_objects_is_refused_and_runs_nothing(tmp_path):
    ran = tmp_path / "ran"
    np.savez(tmp_path / "w.npz", a=np.array([Bomb(ran)], object))
    with pytest.raises(UserError, match="allow_pickle"):
        read_weights(tmp_path / "w.npz")
    assert not ran.exists()


def test_without_torch_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "w.pt").touch()
    with pytest.raises(UserError, match="pip install torch"):
        read_weights(tmp_path / "w.pt")
    with pytest.raises(UserError, match="No such file"):
        read_weights(tmp_path / "absent.pt")


class TestWithTorch:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch")

    def test_a_pickle_that_carries_code_is_refused_by_name_and_does_not_run(self, torch, tmp_path):
        ran = tmp_path / "ran"
        torch.save({"a": Bomb(ran)}, tmp_path / "zip.pt")
        torch.save({"a": Bomb(ran)}, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
        for name in ("zip.pt", "legacy.pth"):
            with pytest.raises(UserError, match=rf"{name} carries more than weights \(posix.mkdir\)"):
                read_weights(tmp_path / name)
        (tmp_path / "plain.pt").write_bytes(pickle.dumps({"a": Bomb(ran)}, protocol=4))
        with pytest.raises(UserError, match="plain.pt is a pickle of no kind that PyTorch writes"), pytest.warns():
            read_weights(tmp_path / "plain.pt")
        assert not ran.exists()
        with (tmp_path / "plain.pt").open("rb") as file:
            pickle.load(file)
        assert ran.exists()  # it would have run

    def test_a_whole_module_is_refused(self, torch, tmp_path):
        torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pt")
        with pytest.raises(UserError, match="torch.nn.modules.linear.Linear"):
            read_weights(tmp_path / "w.pt")

    @pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
    def test_a_whole_checkpoint_is_unwrapped(self, torch, tmp_path, wrapper):
        weights = collections.OrderedDict({"module.a": torch.ones(2)})
        optimizer = {"state": {0: {"exp_avg": torch.zeros(2)}}}
        torch.save({wrapper: weights, "epoch": 3, "optimizer": optimizer}, tmp_path / "w.pt")
        assert set(read_weights(tmp_path / "w.pt")) == {"a"}

    def test_two_sets_of_weights_in_one_checkpoint_are_refused(self, torch, tmp_path):
        torch.save({"model": {"a": torch.ones(1)}, "state_dict": {"a": torch.ones(1)}}, tmp_path / "w.pt")
        with pytest.raises(UserError, match="state_dict and model"):
            read_weights(tmp_path / "w.pt")

    def test_an_encoder_and_a_decoder_in_one_file_keep_their_names(self, torch, tmp_path):
        torch.save({"encoder": {"a": torch.ones(1)}, "decoder": {"a": torch.ones(1)}, "epoch": 3}, tmp_path / "w.pt")
        assert set(read_weights(tmp_path / "w.pt")) == {"encoder.a", "decoder.a"}

    def test_half_precision_is_read_exactly(self, torch, tmp_path):
        torch.save({"a": torch.tensor([1.5]).bfloat16(), "b": torch.tensor([1.5]).half()}, tmp_path / "w.pt")
        read = read_weights(tmp_path / "w.pt")
        assert (read["a"].dtype, read["b"].dtype) == (ml_dtypes.bfloat16, np.float16)
        assert float(read["a"][0]) == float(read["b"][0]) == 1.5

    def test_broken_files_are_refused_in_one_sentence(self, torch, tmp_path):
        for name, legacy in (("cut.pt", False), ("legacy.pt", True)):
            torch.save({"a": torch.ones(1000)}, tmp_path / name, _use_new_zipfile_serialization=not legacy)
            whole = (tmp_path / name).read_bytes()
            (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with zipfile.ZipFile(tmp_path / "other.pt", "w") as other:
            other.writestr("readme.txt", "no checkpoint")
        (tmp_path / "empty.pt").touch()
        (tmp_path / "text.pt").write_text("hello")
        for path in tmp_path.iterdir():
            with pytest.raises(UserError, match=f"{path.name} is no PyTorch checkpoint") as refused:
                read_weights(path)
            assert "\n" not in str(refused.value)
