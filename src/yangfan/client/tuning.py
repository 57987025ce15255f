"""Reading tuning off the wire. Pure: both clients use it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from yangfan import errors
from yangfan.client import replies
from yangfan.client.call import convert
from yangfan.client.types import (
    TunableModel,
    TuningJob,
    TuningLine,
    TuningMetric,
    TuningParameter,
    TuningTask,
)
from yangfan.protocol import sse
from yangfan.protocol.v2 import tuning as wire

if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")


def model_of(item: wire.SupportedModel) -> TunableModel:
    """A model that can be tuned."""
    return TunableModel(
        name=item.model,
        version_id=item.modelId,
        architecture=item.baseModel,
        recipes={
            (mode.trainMode, scale.parameterScale): tuple(
                map(_parameter, scale.supportHyperParameterConfig)
            )
            for mode in item.supportTrainMode
            for scale in mode.supportParameterScale
        },
    )


def _parameter(item: wire.Parameter) -> TuningParameter:
    return TuningParameter(
        item.key,
        item.name,
        item.description,
        item.type,
        item.checkType,
        tuple(item.checkValue),
        item.default,
    )


def job_of(item: wire.Job) -> TuningJob:
    """A tuning job."""
    return TuningJob(
        item.jobId, item.name, item.description, item.model, item.trainMode, item.createDate
    )


def line_of(item: wire.TaskLine) -> TuningLine:
    """A run in a list."""
    return TuningLine(
        id=item.taskId,
        job_id=item.jobId,
        job_name=item.jobName,
        model=item.model,
        mode=item.trainMode,
        scale=item.parameterScale,
        status=item.runStatus,
        created=item.createDate,
        finished=_finished(item),
    )


def metric_of(item: wire.Metric) -> TuningMetric:
    """What was measured at a step."""
    return TuningMetric(
        step=item.step,
        epoch=_or_none(item.epoch),
        loss=_or_none(item.loss),
        eval_loss=_or_none(item.evalLoss),
        learning_rate=_or_none(item.learningRate),
        gradient_norm=_or_none(item.gradNorm),
        tokens_per_second=_or_none(item.tokensPerSecond),
        more=item.more,
    )


def task_of(item: wire.Task) -> TuningTask:
    """A run."""
    now = item.progress
    return TuningTask(
        id=item.taskId,
        job_id=item.jobId,
        job_name=item.jobName,
        model=item.model,
        base_id=item.baseModelId,
        mode=item.trainMode,
        scale=item.parameterScale,
        status=item.runStatus,
        percent=int(item.runProgress.rstrip("%") or 0),
        step=now.step,
        total_steps=_or_none(now.totalSteps),
        eta_seconds=_or_none(now.etaSeconds),
        note=now.note,
        last=None if now.last is UNSET else metric_of(now.last),
        scores=item.metrics,
        checkpoints={each.step: _or_none(each.loss) for each in item.checkpointList},
        hyper_parameters=item.hyperParameterConfig,
        dataset=item.datasetConfig,
        created=item.createDate,
        finished=_finished(item),
        error="" if item.failedReason is UNSET else item.failedReason,
        work_id=item.workId,
        published_ids=tuple(item.publishedModelIds),
    )


def _finished(item: wire.TaskLine) -> str | None:
    return None if item.finishDate == wire.NEVER else item.finishDate


def _or_none(value: T | UnsetType) -> T | None:
    return None if isinstance(value, UnsetType) else value


class EventReader:
    """Bytes of a WatchFineTuningTask stream to runs."""

    def __init__(self) -> None:
        """Nothing read yet."""
        self._decoder = sse.Decoder()
        self._events: deque[TuningTask] = deque()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            RefusedError: An event says that something failed.
            BadReply: What came is no stream of runs.
        """
        for event in self._decoder.feed(chunk):
            document = replies.decode(event.data)
            if "task" not in document:
                raise replies.failure_of(document, status=404) or errors.BadReply(
                    "an event of the stream tells of no tuning task"
                )
            self._events.append(task_of(convert(document, wire.TaskEvent).task))

    def next_event(self) -> TuningTask | None:
        """The next one; None if none is complete yet."""
        return self._events.popleft() if self._events else None
