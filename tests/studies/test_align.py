"""Faces in photos are framed as CelebA's are. Needs OpenCV, and the real faces."""

import io
import sys
import types
import zipfile

import numpy as np
import pytest
from PIL import Image

from vae_jax.errors import UserError
from vae_jax.studies.align import HEIGHT, WIDTH, _detector, align_face


@pytest.fixture(scope="module")
def faces(shared):
    if not hasattr(
        pytest.importorskip("cv2", reason="OpenCV is not installed (the extra `faces`)"), "CascadeClassifier"
    ):
        pytest.skip("this OpenCV has no detector (the extra `faces` has one that does)")
    with zipfile.ZipFile(shared / "data" / "celeba" / "img_align_celeba.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[::600]
        return [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names]


def test_a_face_in_a_larger_photo_is_framed_as_it_was(faces):
    away = []
    for face in faces:
        photo = np.full((900, 1200, 3), 128, np.uint8)
        photo[200 : 200 + 2 * HEIGHT, 500 : 500 + 2 * WIDTH] = face.repeat(2, axis=0).repeat(2, axis=1)
        framed = align_face(photo)
        assert framed.shape == (HEIGHT, WIDTH, 3)
        middle = np.s_[60:180, 40:140]
        away.append(np.abs(framed[middle].astype(float) - face[middle]).mean())
        unframed = np.asarray(Image.fromarray(photo).resize((WIDTH, HEIGHT)))
        assert away[-1] < np.abs(unframed[middle].astype(float) - face[middle]).mean()
    assert np.median(away) < 25, "grey levels: a few pixels aside, not another part of the face"


def test_a_picture_without_a_face_is_left_as_it_is(faces):
    assert align_face(np.full((300, 200, 3), 90, np.uint8)) is None


def test_an_opencv_without_the_detector_is_told_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", types.ModuleType("cv2"))
    _detector.cache_clear()
    with pytest.raises(UserError, match="needs OpenCV 4: pip install"):
        align_face(np.zeros((300, 200, 3), np.uint8))
