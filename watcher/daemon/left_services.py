"""Remove what services left that are no longer in the compose file."""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from watcher.compose import ComposeProject
from watcher.engine import Engine
from watcher.errors import WatcherError
from watcher.observers import humanize
from watcher.observers.events import InternalError, Notice, Observer
from watcher.prune import Needed
from watcher.prune.gone_removal import remove_object
from watcher.prune.left_services import find_left_services, select_left_services
from watcher.prune.model import ObjectKind, Verdict
from watcher.prune.select_gone import Holdings
from watcher.settings import PruneSettings

_NOUNS = {ObjectKind.FINAL: "image", ObjectKind.BUILDER: "builder image"}


class LeftServices:
    """Prunes once `prune.grace` has passed since the daemon started, or since the compose file changed.

    A service that comes back within that time finds its images.
    """

    def __init__(
        self,
        project: str,
        engine: Engine,
        observer: Observer,
        *,
        needed: Callable[[], Collection[Needed]],
        turn: asyncio.Lock,
    ) -> None:
        """`needed` returns what the present services need; `turn` is held while a prune runs."""
        self._project, self._engine, self._observer = project, engine, observer
        self._needed, self._turn = needed, turn
        self._present: frozenset[str] = frozenset()
        self._settings = PruneSettings()
        self._changed = asyncio.Event()

    def reconfigure(self, project: ComposeProject, settings: PruneSettings) -> None:
        """Judge by this compose file from now on; prune when it has been in force for the grace period."""
        self._present = frozenset((*project.services, *project.others))
        self._settings = settings
        self._changed.set()

    async def run(self) -> None:
        """Prune after each change, until cancelled. A failure is reported; the next change tries again."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                async with asyncio.timeout(self._settings.grace):
                    await self._changed.wait()
            except TimeoutError:
                await self._try_prune()

    async def _try_prune(self) -> None:
        if not self._settings.enabled:
            return
        try:
            await self.prune()
        except WatcherError as error:
            text = f"what services left that are no longer in the compose file was not removed: {error}"
            self._observer.notify(Notice(level="warning", text=text))
        except Exception as error:
            trace = "".join(traceback.format_exception(error))
            self._observer.notify(InternalError(where="chores", traceback=trace))

    async def prune(self) -> None:
        """Remove the containers and images of services that left. Raises EngineUnavailable."""
        async with self._turn:
            holdings = Holdings(await self._engine.containers(), await self._engine.images())
            left = find_left_services(holdings, self._project, self._present)
            if not left:
                return
            verdicts = select_left_services(holdings, self._project, self._present, self._needed())
            done: list[Verdict] = []
            try:
                for verdict in verdicts:
                    result = await remove_object(self._engine, verdict)
                    done.append(result)
            finally:
                self._report([each for each in done if each.remove], left)

    def _report(self, removed: Sequence[Verdict], left: Collection[str]) -> None:
        if removed:
            kinds = Counter(_NOUNS.get(each.kind, str(each.kind)) for each in removed)
            what = ", ".join(humanize.count(number, kind) for kind, number in sorted(kinds.items()))
            names, verb = ", ".join(sorted(left)), "is" if len(left) == 1 else "are"
            text = f"removed {what} of {names}, which {verb} no longer in the compose file"
            self._observer.notify(Notice(level="info", text=text))
