"""The runner, with its asynchronous form."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from . import _transload
from ._transload import CancelHandle, EtlJob, RunReport

__all__ = ["Runner"]


class Runner(_transload.Runner):
    """Runs jobs over connections."""

    async def run_async(
        self,
        job: EtlJob | dict[str, Any] | str,
        on_progress: Callable[[dict[str, Any]], object] | None = None,
        cancel: CancelHandle | None = None,
    ) -> RunReport:
        """`run`, in a thread beside the event loop. `on_progress` is called in that thread.

        Cancelling the awaiting task cancels the run and waits until it has cleaned up.
        """
        handle = CancelHandle() if cancel is None else cancel
        running = asyncio.ensure_future(asyncio.to_thread(self.run, job, on_progress, handle))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            handle.cancel()
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()  # seen; the caller gets the CancelledError
            raise
