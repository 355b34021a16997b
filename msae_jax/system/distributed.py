"""Several processes, on one machine or many, through JAX's own distributed runtime."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import socket
import time
from typing import Any, NoReturn

import jax
import numpy as np

from msae_jax.errors import InputError
from msae_jax.system import streams

TIMEOUT = 60.0
"""Seconds to wait for the coordinator and, there, for the other processes."""

GRACE = 3.0
"""Seconds that process 0 waits after an error, so that the others can end before it does."""


def use_host_devices(count: int | None = None) -> None:
    """Makes the CPU appear as several devices, one a core by default; call it before JAX is used.

    Has no effect on accelerators, or, without `count`, where the environment sets the number.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if count is None and ("device_count" in flags or "JAX_NUM_CPU_DEVICES" in os.environ):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with contextlib.suppress(RuntimeError):  # JAX is in use already: with what it has
        jax.config.update("jax_num_cpu_devices", count or cores or 1)


def initialize(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout: float = TIMEOUT,
) -> None:
    """Joins this process to the others; call it before anything else of JAX.

    Args:
      coordinator: HOST:PORT of process 0; None takes all three from the cluster's environment
        (SLURM, Open MPI, Kubernetes, Cloud TPU), as JAX detects it.
      timeout: seconds.

    Where others do not come to the coordinator in time, JAX aborts it with a message of its own.

    Raises:
      InputError: the arguments do not make sense, the coordinator given does not answer in time,
        or the processes have unequal numbers of devices.
    """
    if coordinator is None:
        if num_processes is not None or process_id is not None:
            raise InputError("--num-processes and --process-id need --coordinator HOST:PORT.")
        try:
            jax.distributed.initialize(initialization_timeout=int(timeout))
        except ValueError as error:
            raise InputError(
                "JAX finds no cluster in the environment: give --coordinator HOST:PORT, "
                f"--num-processes and --process-id ({str(error).splitlines()[0]})."
            ) from error
        _meet()
        return
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise InputError(f"--coordinator must be HOST:PORT, got {coordinator!r}.")
    if num_processes is None or process_id is None:
        raise InputError("--coordinator needs --num-processes and --process-id too.")
    if not 0 <= process_id < num_processes:
        raise InputError(
            f"--process-id must be 0 to {num_processes - 1} of {num_processes}, got {process_id}."
        )
    if process_id > 0:
        _wait_for(host, int(port), timeout)  # JAX aborts the process where nobody answers
    else:
        _check_free(int(port))  # JAX ends in a traceback, or in a segmentation fault
    jax.distributed.initialize(
        coordinator, num_processes, process_id, initialization_timeout=int(timeout)
    )
    _meet()


def _meet() -> None:
    """Connects all processes, so that one which fails by itself does not leave the others waiting.

    Raises:
      InputError: they have unequal numbers of devices; by all of them.
    """
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # JAX has it not end the process
    own = collections.Counter(device.process_index for device in jax.devices())
    counts = [own[i] for i in range(jax.process_count())]
    if len(set(counts)) > 1:
        raise InputError(
            f"the processes have {', '.join(map(str, counts))} devices, but all need the same "
            "number; on CPUs --host-devices sets it."
        )
    wait_for_all("joined")


def _check_free(port: int) -> None:
    """Raises InputError where another process listens on the port of the coordinator."""
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    with socket.socket(family) as own:
        if family == socket.AF_INET6:
            own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # as JAX listens
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a run before it may linger
        try:
            own.bind(("", port))
            own.listen()
        except OSError as error:
            raise InputError(
                f"process 0 cannot listen on port {port} ({error.strerror}): give all processes "
                "another --coordinator."
            ) from error


def _wait_for(host: str, port: int, timeout: float) -> None:
    end = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((host, port), timeout=2).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise InputError(
                    f"no coordinator answers at {host}:{port} after {timeout:.0f} seconds "
                    f"({error.strerror or error}): start process 0 there first."
                ) from error
        time.sleep(0.2)


def has_joined() -> bool:
    """Whether this process has joined others."""
    return jax.distributed.is_initialized()


def leave(status: int) -> NoReturn:
    """Ends this process after an error without waiting for the others, who then fail as well.

    At exit JAX would wait for all of them, for minutes if one is lost, and then abort. Process 0
    waits and ends last, because it runs the coordinator: when that is gone, JAX aborts every
    process that is left, with its own message.
    """
    if is_main():
        time.sleep(GRACE)
    streams.leave(status)


def is_main() -> bool:
    """Whether this process writes the files that are written once."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Waits until every process has come here."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def gather_texts(text: str) -> list[str]:
    """Returns the texts that several processes give, in the order of their ids."""
    from jax.experimental import multihost_utils

    own = np.frombuffer(text.encode(), np.uint8)
    length = int(np.max(multihost_utils.process_allgather(np.int32(len(own)))))
    padded = np.pad(own, (0, length - len(own)))
    gathered = np.asarray(multihost_utils.process_allgather(padded))
    return [row.tobytes().rstrip(b"\0").decode() for row in gathered]


def host_parts(array: Any) -> list[np.ndarray]:
    """Returns NumPy arrays that are `array` when joined along the leading axis.

    They are views of what is in this process's memory, so that no second copy is held: drop them
    before the array is donated. What lies on other processes is gathered to each.
    """
    if not isinstance(array, jax.Array):
        return [np.asarray(array)]
    if not array.is_fully_addressable:
        from jax.experimental import multihost_utils

        return [np.asarray(multihost_utils.process_allgather(array, tiled=True))]
    shards = array.addressable_shards
    if any(shard.data.shape[1:] != array.shape[1:] for shard in shards):
        return [np.asarray(array)]
    # a shard that several devices hold counts once
    parts = {shard.index[0].start or 0 if shard.index else 0: shard.data for shard in shards}
    return [np.asarray(parts[start]) for start in sorted(parts)]


def to_host(tree: Any, *, delete: bool = False) -> Any:
    """Copies arrays, wherever their parts are, to NumPy on every process.

    Args:
      delete: each JAX array as soon as it is copied.
    """

    def copy(array: Any) -> np.ndarray:
        parts = host_parts(array)
        found = np.concatenate(parts) if len(parts) > 1 else np.array(parts[0], copy=True)
        if delete and isinstance(array, jax.Array):
            del parts
            array.delete()
        return found

    return jax.tree.map(copy, tree)
