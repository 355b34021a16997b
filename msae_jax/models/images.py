"""Images `[B, H, W, C]` of any height and width: how models check, halve and crop them."""

from __future__ import annotations

import jax

from msae_jax.errors import InputError


def check_images(x: jax.Array, image_shape: tuple[int, int, int]) -> None:
    """Checks that `x` is `[B, H, W, C]`.

    Raises:
      InputError: it is not.
    """
    if x.ndim != 4 or x.shape[1:] != image_shape:
        expected = ", ".join(map(str, image_shape))
        raise InputError(f"this model expects images [B, {expected}], got {list(x.shape)}.")


def image_sizes(sample_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Returns the option of a model of images `[H, W, C]`."""
    if len(sample_shape) != 3:
        raise InputError(
            f"this model expects images [H, W, C], got samples of shape {list(sample_shape)}."
        )
    return {"image_shape": tuple(sample_shape)}


def quarter(size: int) -> int:
    """Returns the height or width that two layers of stride 2 leave of `size` pixels.

    Two transposed layers make the least multiple of 4 of it that is not smaller than `size`.
    """
    return -(-size // 4)


def crop(x: jax.Array, image_shape: tuple[int, ...]) -> jax.Array:
    """Returns `[B, H', W', C]` without the rows and columns beyond an image's height and width."""
    height, width = image_shape[:2]
    return x if x.shape[1:3] == (height, width) else x[:, :height, :width]


def halve(x: jax.Array) -> jax.Array:
    """Halves `[B, H, W, C]` bilinearly; of an odd height or width the last row is not seen.

    `torch.nn.functional.interpolate(scale_factor=0.5, mode="bilinear", align_corners=False)`,
    which does not antialias: exactly the mean of each 2 x 2 block.
    """
    batch, height, width, channels = x.shape
    x = crop(x, (height // 2 * 2, width // 2 * 2))
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))
