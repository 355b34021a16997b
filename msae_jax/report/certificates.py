"""Certificates that a user adds to a report: of `msae verify --json`, and of `msae export`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msae_jax.errors import InputError
from msae_jax.export.certificate import ExportCertificate
from msae_jax.interop.verification.certificate import Certificate
from msae_jax.system.html import Html, element, joined

MAX_BYTES = 16 << 20


def read(path: Path) -> Certificate | ExportCertificate:
    """Returns the certificate in a file: one that has facts is of `verify`.

    Raises:
      InputError: there is none.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file: expected a certificate.")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} is larger than {MAX_BYTES} bytes: it is no certificate.")
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        return (Certificate if "facts" in values else ExportCertificate).from_dict(values)
    except (ValueError, RecursionError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path} is no certificate that msae verify --json or msae export wrote: {error}"
        ) from error


def section(listed: Sequence[tuple[Path, Certificate | ExportCertificate]]) -> Html:
    """Returns the certificates, each under the name of its file."""
    return joined(
        element("article", element("h3", path.name), Html(certificate._repr_html_()))
        for path, certificate in listed
    )
