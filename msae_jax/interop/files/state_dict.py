"""Finding the one state dict in what a PyTorch checkpoint holds."""

from __future__ import annotations

import re

from msae_jax.errors import InputError
from msae_jax.interop.files.storages import MAX_TENSORS, Tensor

WRAPPERS = ("state_dict", "model_state_dict", "model")
MAX_KEY = 1_000


def find_state_dict(value: object) -> dict[str, Tensor]:
    """Returns the one state dict in `value`, its keys free of wrappers' prefixes."""
    found = _find(value, "the top level")
    if len(found) != 1:
        top = [ascii(key[:60]) for key in value if type(key) is str] if type(value) is dict else []
        raise InputError(
            f"should hold one state dict, plain or as {', '.join(WRAPPERS)}; found: "
            f"{'; '.join(found) or 'none'}. Top-level keys: {', '.join(top[:20]) or 'none'}."
        )
    [state] = found.values()
    if type(state.get("_metadata")) is dict:  # an attribute that some tools save as an item
        state = {key: item for key, item in state.items() if key != "_metadata"}
    wrong = [key for key, item in state.items() if type(key) is not str or type(item) is not Tensor]
    if wrong:
        shown = [
            ascii(key[:60]) if type(key) is str else "a key that is no string" for key in wrong[:20]
        ]
        raise InputError(f"has more than named tensors in its state dict: {', '.join(shown)}.")
    if len(state) > MAX_TENSORS or max(map(len, state)) > MAX_KEY:
        raise ValueError(f"more than {MAX_TENSORS} tensors or keys above {MAX_KEY} characters")

    prefixes = ["module."]
    if type(value) is dict and "pytorch-lightning_version" in value:
        prefixes.append("model.")
    keys = [re.sub(r"(^|\.)_orig_mod\.", r"\1", key) for key in state]
    while prefix := next((p for p in prefixes if all(key.startswith(p) for key in keys)), ""):
        keys = [key.removeprefix(prefix) for key in keys]
    if len(set(keys)) != len(keys):
        raise InputError("has keys that differ only in `_orig_mod.`, which torch.compile adds.")
    return dict(zip(keys, state.values(), strict=True))


def _find(value: object, name: str, depth: int = 3) -> dict[str, dict]:
    """Returns the state dicts in a checkpoint, by where they are."""
    if type(value) is not dict or depth == 0:
        return {}
    found: dict[str, dict] = {}
    for wrapper in WRAPPERS:
        found |= _find(value.get(wrapper), f"{wrapper} in {name}", depth - 1)
    if found or not any(type(item) is Tensor for item in value.values()):
        return found
    return {name: value}
