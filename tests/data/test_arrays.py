"""A user's own files: what is read, how it is split, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from msae_jax import data
from msae_jax.data.samples import as_input
from msae_jax.errors import InputError


def saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.bool_, np.float16, ">f4", np.uint16])
def test_other_numbers_become_float32_unscaled(tmp_path: Path, dtype: str) -> None:
    values = np.array([[0, 1, 3], [2, 1, 0]]).astype(dtype)
    np.save(tmp_path / "x.npy", np.asfortranarray(values))
    x = data.load_array(tmp_path / "x.npy")
    assert x.dtype == np.float32
    assert x.dtype.isnative
    assert x.flags.c_contiguous
    expected = [[0, 1, 1], [1, 1, 0]] if dtype is np.bool_ else [[0, 1, 3], [2, 1, 0]]
    np.testing.assert_array_equal(x, expected)


def test_uint8_stays_and_grey_images_get_their_channel(tmp_path: Path) -> None:
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    np.save(tmp_path / "x.npy", images)
    x = data.load_array(tmp_path / "x.npy")
    assert x.dtype == np.uint8
    assert x.shape == (2, 3, 4, 1)
    np.testing.assert_array_equal(x[..., 0], images)


def test_a_tenth_is_held_out_in_file_order(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(50.0)[:, None])
    dataset = data.load(str(tmp_path / "x.npy"))
    train, test = dataset.train.x[:, 0].tolist(), dataset.test.x[:, 0].tolist()
    # numpy.random.RandomState(0).permutation(50) begins with 28, 11, 10, 41, 2
    assert test == [2.0, 10.0, 11.0, 28.0, 41.0]
    assert train == [i for i in range(50) if i not in test]


def test_the_smallest_file_is_split_too(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 3)))
    dataset = data.load(tmp_path / "x.npy")
    assert len(dataset.train.x) == len(dataset.test.x) == 1


def test_labels_follow_their_samples(tmp_path: Path) -> None:
    x = np.arange(30.0).reshape(30, 1)
    dataset = data.load(saved(tmp_path / "d.npz", x=x, y=np.arange(30) * 2))
    for split in (dataset.train, dataset.test):
        assert split.y is not None
        assert split.y.dtype == np.int32
        np.testing.assert_array_equal(split.y, 2 * split.x[:, 0])


@pytest.mark.parametrize("prefix", ["", "x_"])
def test_named_splits_are_used_as_they_are(tmp_path: Path, prefix: str) -> None:
    train, test = np.zeros((4, 2), np.float32), np.ones((3, 2), np.float32)
    arrays = {f"{prefix}train": train, f"{prefix}test": test, "y_train": np.arange(4)}
    dataset = data.load(saved(tmp_path / "d.npz", **arrays))
    np.testing.assert_array_equal(dataset.train.x, train)
    np.testing.assert_array_equal(dataset.test.x, test)
    np.testing.assert_array_equal(dataset.train.y, [0, 1, 2, 3])
    assert dataset.test.y is None


def test_an_archive_with_one_array_of_any_name(tmp_path: Path) -> None:
    np.testing.assert_array_equal(
        data.load_array(saved(tmp_path / "d.npz", signals=np.eye(3))), np.eye(3)
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[1.0, 2], [np.nan, 4], [5, np.inf]]), "2 of 3 samples.*first is sample 1"),
        (np.array([[1e300, 0.0]]), "infinity in float32"),
        (np.zeros((0, 5)), r"shape \(0, 5\) and holds no values"),
        (np.zeros(5), r"shape \(5,\), expected \[samples"),
        (np.float64(3), r"shape \(\)"),
        (np.array([["a", "b"]]), "dtype <U1"),
        (np.ones((2, 2), complex), "dtype complex128"),
    ],
)
def test_unusable_values_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(InputError, match=message) as caught:
        data.load_array(tmp_path / "x.npy")
    assert str(tmp_path / "x.npy") in str(caught.value)


def test_object_arrays_and_mixed_shapes_are_refused_unopened(tmp_path: Path) -> None:
    mixed = np.empty(2, object)
    mixed[:] = [np.zeros(2), np.zeros(3)]
    np.save(tmp_path / "x.npy", mixed, allow_pickle=True)
    with pytest.raises(InputError, match="Object arrays cannot be loaded"):
        data.load_array(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", x=mixed, allow_pickle=True)
    with pytest.raises(InputError, match="Object arrays cannot be loaded"):
        data.load(tmp_path / "x.npz")


def test_files_that_are_not_what_they_say(tmp_path: Path) -> None:
    np.save(tmp_path / "whole.npy", np.ones((40, 40)))
    content = (tmp_path / "whole.npy").read_bytes()
    for name, raw in [
        ("text.npy", b"hello, world"),
        ("empty.npy", b""),
        ("short.npy", content[:500]),
        ("text.npz", b"hello, world"),
        ("short.npz", saved(tmp_path / "d.npz", x=np.ones((40, 40))).read_bytes()[:500]),
    ]:
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(InputError, match=f"{name}: not a readable"):
            data.load_array(tmp_path / name)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.npy: no such file"):
        data.load(tmp_path / "gone.npy")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=r"folder\.csv: is a folder"):
        data.load(tmp_path / "folder.csv")
    with pytest.raises(InputError, match=r"x\.txt: expected a folder, or a file ending in"):
        data.load_array(tmp_path / "x.txt")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.eye(2), "b": np.eye(2)}, "holds the arrays a, b; expected one array"),
        ({"train": np.eye(2), "test": np.eye(3)}, "train samples are float32 .2,., test samples"),
        ({"x": np.eye(3), "y": np.arange(2)}, "holds 3 samples and 2 labels"),
        ({"x": np.eye(3), "y": np.ones(3)}, "expected integer labels"),
        ({"train": np.eye(2), "test": np.eye(2), "y_test": np.arange(3)}, "test labels have shape"),
        ({"x": np.eye(3), "y": np.array([0, 1, 2**40])}, "do not fit int32"),
        ({"x": np.eye(3)[:1]}, "holds 1 sample, expected at least 2"),
    ],
)
def test_archives_that_do_not_fit_together(tmp_path: Path, arrays: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        data.load(saved(tmp_path / "d.npz", **arrays))


def test_uint8_that_is_hardly_an_intensity_is_a_question(tmp_path: Path) -> None:
    bits = np.array([[0, 1, 1], [1, 0, 1]], np.uint8)
    np.save(tmp_path / "x.npy", bits)
    with pytest.raises(InputError, match=r"uint8 of 0 to 1; .*--scale 1 .*--scale 255"):
        data.load_array(tmp_path / "x.npy")
    as_they_are = data.load_array(f"{tmp_path}/x.npy?scale=1")
    assert as_they_are.dtype == np.float32
    np.testing.assert_array_equal(as_they_are, bits)
    assert data.load_array(f"{tmp_path}/x.npy?scale=255").dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.uint16])
def test_images_of_0_to_255_in_other_types_are_a_question(tmp_path: Path, dtype: type) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1))
    np.save(tmp_path / "x.npy", images.astype(dtype))
    with pytest.raises(InputError, match=r"holds whole numbers .*--scale 255 .*--scale 1 as"):
        data.load_array(tmp_path / "x.npy")
    scaled = data.load_array(f"{tmp_path}/x.npy?scale=255")
    assert scaled.dtype == np.uint8  # the same bits as of the file that holds uint8
    np.testing.assert_array_equal(scaled, images)
    np.testing.assert_array_equal(data.load_array(f"{tmp_path}/x.npy?scale=1"), images)
    np.testing.assert_array_equal(data.load_array(f"{tmp_path}/x.npy?scale=2"), images / 2)


def test_flat_samples_of_0_to_255_are_read_with_a_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flat = np.random.default_rng(0).integers(0, 256, (3, 16))
    np.save(tmp_path / "x.npy", flat.astype(np.uint8))
    assert data.load_array(tmp_path / "x.npy").dtype == np.uint8
    assert "uint8 is divided by 255 (--scale 1" in caplog.messages[-1]
    np.save(tmp_path / "x.npy", flat)
    np.testing.assert_array_equal(data.load_array(tmp_path / "x.npy"), flat)
    assert "taken as they are (--scale 255" in caplog.messages[-1]


def test_channels_first_is_a_question(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((5, 3, 8, 7), np.float32)
    np.save(tmp_path / "x.npy", images)
    with pytest.raises(InputError, match=r"looks like images .N, C, H, W.: --layout channels-f"):
        data.load_array(tmp_path / "x.npy")
    moved = data.load_array(f"{tmp_path}/x.npy?layout=channels-first")
    assert moved.shape == (5, 8, 7, 3)
    np.testing.assert_array_equal(moved[:, :, :, 1], images[:, 1])
    assert data.load_array(f"{tmp_path}/x.npy?layout=channels-last").shape == (5, 3, 8, 7)
    np.save(tmp_path / "last.npy", np.moveaxis(images, 1, -1))
    assert data.load_array(tmp_path / "last.npy").shape == (5, 8, 7, 3)


def test_what_a_caller_gives_a_model() -> None:
    import jax.numpy as jnp

    x = np.random.default_rng(0).random((4, 3))
    for given in [x, x.tolist(), jnp.asarray(x, jnp.float32), np.ma.array(x)]:
        got = as_input(given)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, x.astype(np.float32))
    assert as_input(np.zeros((2, 2), np.uint8)).dtype == np.uint8


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((0, 3)), r"at least one sample, got ndarray of float64 \[0, 3\]"),
        ([[1.0], [1.0, 2.0]], "got list"),
        ("text", "got str"),
        (np.array([[1.0], [np.nan]]), "sample 1 holds NaN or infinity"),
        (np.array([[1e300]]), "sample 0 holds NaN or infinity in float32"),
        (np.ma.array([[1.0, 2.0]], mask=[[False, True]]), "holds masked values"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_input_of_a_model(given: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_input(given)


def test_a_split_by_hash_does_not_move_when_samples_are_added(tmp_path: Path) -> None:
    """By permutation, most of the samples that were held out would be trained on."""
    x = np.random.RandomState(0).rand(400, 6).astype(np.float32)
    held_out = []
    for count in (300, 400):
        np.save(tmp_path / "x.npy", x[:count])
        dataset = data.load(f"{tmp_path / 'x.npy'}?split=hash")
        assert len(dataset.train.x) + len(dataset.test.x) == count
        held_out.append({row.tobytes() for row in dataset.test.x})
    assert held_out[0] == held_out[1] & {row.tobytes() for row in x[:300]}
    assert 20 <= len(held_out[0]) <= 40
    np.save(tmp_path / "x.npy", np.repeat(x[:1], 5, axis=0))
    with pytest.raises(InputError, match="all samples are equal"):
        data.load(f"{tmp_path / 'x.npy'}?split=hash")
