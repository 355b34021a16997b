"""`tfds:NAME`: the image data sets of TensorFlow Datasets, read without TensorFlow."""

from __future__ import annotations

import difflib
import importlib.util

import tensorflow_datasets as tfds
from tensorflow_datasets.core import naming

from msae_jax.data.dataset import Dataset
from msae_jax.data.prepare import (
    Make,
    data_root,
    is_prepared,
    no_foreign_features,
    prepared,
    quiet,
)
from msae_jax.data.records import Records
from msae_jax.errors import InputError

INSTALL = "pip install 'msae-jax[tensorflow]'"


def load(name: str, *, streaming: bool = False) -> Dataset:
    """Returns the images [N, H, W, C] and labels of `tfds:NAME` or `tfds:NAME/CONFIG`.

    The test split is `test`, else `validation`. Labels are the feature `label`, if it is one
    integer. TensorFlow is needed only to prepare TFDS's own data sets, not to read them.

    Raises: InputError for an unknown name, no feature `image` of one shape, a missing split, data
    prepared in a format without random access, or TensorFlow missing where TFDS needs it.
    """
    title = name.removeprefix("tfds:")

    def make() -> tfds.core.DatasetBuilder:
        with no_foreign_features():
            return tfds.builder(title, data_dir=data_root())

    with quiet():
        try:
            _check_namespace(title)
            builder = make()
        except tfds.core.DatasetNotFoundError as error:
            raise InputError(_unknown(title)) from error
        except Exception as error:  # whatever a malformed name, config or version leads to
            raise InputError(f"{name}: {' '.join(str(error).split())[:300]}") from error
    _check_image(name, builder)
    if not is_prepared(builder):
        builder = _prepare(name, builder, make)
    elif builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        raise InputError(
            f"{name} is prepared in {builder.data_dir} as {builder.info.file_format.value}, "
            "expected array_record: delete that folder, or set TFDS_DATA_DIR to another one"
        )
    splits = sorted(builder.info.splits)
    test = next((split for split in ("test", "validation") if split in splits), None)
    if "train" not in splits or test is None:
        raise InputError(
            f"{name} has the splits {', '.join(splits)}; expected train, and test or validation"
        )
    return Dataset(
        name,
        train=Records(builder, "train").split(streaming=streaming),
        test=Records(builder, test).split(streaming=streaming),
        classes=_classes(builder),
    )


def _classes(builder: tfds.core.DatasetBuilder) -> tuple[str, ...] | None:
    label = dict(builder.info.features.items()).get("label")
    if not isinstance(label, tfds.features.ClassLabel) or not label.num_classes:
        return None
    return tuple(label.names)


def _check_namespace(title: str) -> None:
    """Refuses `NAMESPACE:NAME`, for which TFDS fetches code and runs it."""
    if naming.parse_builder_name_kwargs(title)[0].namespace:
        raise InputError(f"{title!r} is of a community namespace; expected tfds:NAME of TFDS's own")


def _check_image(name: str, builder: tfds.core.DatasetBuilder) -> None:
    features = builder.info.features
    if not isinstance(features, tfds.features.FeaturesDict) or "image" not in features:
        has = ", ".join(features) if hasattr(features, "keys") else type(features).__name__
        raise InputError(f"{name} has no feature 'image' (it has {has}): no image data set")


def _prepare(name: str, builder: tfds.core.DatasetBuilder, make: Make) -> tfds.core.DatasetBuilder:
    no_tensorflow = importlib.util.find_spec("tensorflow") is None
    if no_tensorflow and type(builder).__module__.startswith("tensorflow_datasets."):
        raise InputError(
            f"{name} is not prepared in {builder.data_dir}, and TFDS needs TensorFlow to prepare "
            f"it: {INSTALL}"
        )
    try:
        return prepared(make, name)
    except InputError:
        raise
    except Exception as error:  # a builder is anybody's code
        if no_tensorflow and isinstance(error, ImportError):
            raise InputError(f"{name}: preparing it needs TensorFlow: {INSTALL}") from error
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{name} could not be prepared: {reason}") from error


def _unknown(title: str) -> str:
    known = tfds.list_builders(with_community_datasets=False)
    nearest = difflib.get_close_matches(title, known, n=1, cutoff=0.4)
    hint = f" Did you mean 'tfds:{nearest[0]}'?" if nearest else ""
    return (
        f"unknown TFDS data set {title!r}.{hint} The list: tensorflow.org/datasets/catalog/overview"
    )
