"""Keeps reports in the API server, where every replica finds them."""

from __future__ import annotations

from alignment_api.contract import JobReference

from ..builders.metadata import report_name
from ..builders.report import Report, build_report, report_in
from ..cluster.applier import Applier
from ..cluster.client import Client
from ..cluster.resources import CONFIG_MAP
from ..exceptions import NotFoundError


class ReportKeeper:
    """Writes and reads the ConfigMaps with reports."""

    def __init__(self, client: Client, applier: Applier) -> None:
        self._client = client
        self._applier = applier

    async def keep(self, job: JobReference, report: Report) -> None:
        """Keep ``report`` in place of an earlier one.

        Raises:
            ClusterError: it was not kept, or the answer was lost.
        """
        await self._applier.apply(build_report(job, report))

    async def read(self, job: JobReference) -> Report | None:
        """The report that is kept of ``job``; None when there is none.

        Raises:
            ClusterError: the API server did not say.
        """
        path = CONFIG_MAP.path(job.namespace, report_name(job))
        try:
            answer = await self._client.request("GET", path, doing=f"read the report of {job.namespace}/{job.name}")
        except NotFoundError:
            return None
        return report_in(answer)
