"""The runner, with its asynchronous forms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from . import _transload
from ._transload import BatchReport, CancelHandle, EtlJob, RunReport

__all__ = ["Runner"]

T = TypeVar("T")


class Runner(_transload.Runner):
    """Runs jobs over connections."""

    async def run_async(
        self,
        job: EtlJob | dict[str, Any] | str,
        on_progress: Callable[[dict[str, Any]], object] | None = None,
        cancel: CancelHandle | None = None,
        progress: bool | Literal["json"] | None = None,
    ) -> RunReport:
        """`run`, in a thread beside the event loop. `on_progress` is called in that thread.

        Cancelling the awaiting task cancels the run and waits until it has cleaned up.
        """
        handle = CancelHandle() if cancel is None else cancel
        return await _beside(handle, lambda: self.run(job, on_progress, handle, progress))

    async def run_all_async(
        self,
        jobs: Sequence[EtlJob | dict[str, Any] | str],
        concurrency: int | None = None,
        per_connection: int | None = None,
        on_progress: Callable[[dict[str, Any]], object] | None = None,
        cancel: CancelHandle | None = None,
        progress: bool | Literal["json"] | None = None,
    ) -> BatchReport:
        """`run_all`, in a thread beside the event loop. `on_progress` is called in that thread.

        Cancelling the awaiting task cancels the jobs and waits until they have cleaned up.
        """
        handle = CancelHandle() if cancel is None else cancel
        return await _beside(
            handle, lambda: self.run_all(jobs, concurrency, per_connection, on_progress, handle, progress)
        )


async def _beside(handle: CancelHandle, work: Callable[[], T]) -> T:
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        handle.cancel()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # seen; the caller gets the CancelledError
        raise
