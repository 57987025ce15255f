"""Progress of downloads in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.cli.terminal import printable

if TYPE_CHECKING:
    from rich.progress import TaskID

    from yangfan.hub.progress import Progress


class Bars:
    """A bar for each file while it is fetched; nothing is shown before the first."""

    def __enter__(self) -> Bars:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._bars = Progress(
            TextColumn("{task.fields[stage]:<11} {task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the bars away."""
        if self._tasks:
            self._bars.stop()

    def update(self, progress: Progress) -> None:
        """Move the bar of the file that progressed."""
        if not self._tasks:
            self._bars.start()
        if progress.file not in self._tasks:
            self._tasks[progress.file] = self._bars.add_task(
                printable(progress.file), stage=progress.stage
            )
        self._bars.update(
            self._tasks[progress.file],
            completed=progress.done_bytes,
            total=progress.total_bytes,
            stage=progress.stage,
        )
