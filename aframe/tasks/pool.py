"""Parameters of steps that may run on a pool."""

from __future__ import annotations

import os

import law

from aframe.errors import AframeError
from aframe.parameters import Choice, Count, Flag, Natural, Positive, Size, Text, Words
from aframe.sites import queue
from aframe.sites.requests import Request, Terms, spelled

#: Less than the libraries of the lightest step take (MiB); 250 were seen.
_LEAST_MEMORY = 200

#: Credentials and servers that stages ask for. Files of tokens are a pool's own to give.
FORWARDED = (
    *("AWS_*", "WANDB_*", "NETRC", "X509_USER_PROXY", "BEARER_TOKEN", "SCITOKEN"),
    *("GWDATAFIND_SERVER", "DEFAULT_SEGMENT_SERVER", "NDSSERVER"),
)


class PoolParameters(law.Task):
    """Whether a step runs on a pool, what its jobs ask for there, and on what terms."""

    task_namespace = ""

    workflow = Choice(
        choices=("local", "htcondor"),
        default="local",
        significant=False,
        always_in_help=False,
        description="where the step runs: on this machine, or as jobs of an HTCondor pool; "
        "default: local",
    )
    shared_disk = Flag(
        default=True,
        significant=False,
        always_in_help=False,
        description="whether the pool's machines see the run directory; else files are "
        "transferred; default: True",
    )
    job_length = Positive(
        default=3600.0,
        significant=False,
        always_in_help=False,
        description="how long a job should run (s): it gets as many branches; default: 3600",
    )
    request_memory = Size(
        default=4096,
        significant=False,
        always_in_help=False,
        description="memory that a job asks for, such as 4GB; default: 4GB",
    )
    max_memory = Size(
        default=65536,
        significant=False,
        always_in_help=False,
        description="what that may grow to where it was too little; default: 64GB",
    )
    request_disk = Size(
        default=4096,
        significant=False,
        always_in_help=False,
        description="disk that a job asks for, such as 4GB; default: 4GB",
    )
    max_disk = Size(
        default=262144,
        significant=False,
        always_in_help=False,
        description="what that may grow to where it was too little; default: 256GB",
    )
    request_cpus = Count(
        default=1,
        significant=False,
        always_in_help=False,
        description="cores that a job asks for, and processes that it uses; default: 1",
    )
    request_gpus = Natural(
        default=0,
        significant=False,
        always_in_help=False,
        description="GPUs that a job asks for; default: 0",
    )
    accounting_group = Text(
        default="",
        significant=False,
        always_in_help=False,
        description="group that the pool charges; default: $LIGO_GROUP",
    )
    accounting_group_user = Text(
        default="",
        significant=False,
        always_in_help=False,
        description="user that the pool charges; default: $LIGO_USERNAME",
    )
    requirements = Text(
        default="",
        significant=False,
        always_in_help=False,
        description="what a machine must offer, as a ClassAd expression",
    )
    use_oauth_services = Words(
        default=(),
        significant=False,
        always_in_help=False,
        description="tokens that jobs get, such as scitokens; default: none",
    )
    forward = Words(
        default=FORWARDED,
        significant=False,
        always_in_help=False,
        description="variables of the environment that jobs get, with the files that they name, "
        f"where only their owner reads them; * stands for anything; default: {','.join(FORWARDED)}",
    )

    @property
    def on_pool(self) -> bool:
        """Whether the step runs as jobs."""
        return bool(self.workflow == "htcondor")

    def request(self) -> Request:
        """What a job asks for."""
        return Request(
            memory=self.request_memory,
            disk=self.request_disk,
            cpus=self.request_cpus,
            gpus=self.request_gpus,
            max_memory=max(self.max_memory, self.request_memory),
            max_disk=max(self.max_disk, self.request_disk),
        )

    def refuse_impossible_jobs(self) -> None:
        """Refuse jobs that no pool could do, or that cannot be submitted from here.

        Raises:
            AframeError: If this machine cannot submit, or the requests are too small or none that
                HTCondor reads.
        """
        if not self.on_pool:
            return
        queue.refuse_missing()
        if self.request_memory < _LEAST_MEMORY:
            raise AframeError(
                "no step of a search runs in so little memory",
                found=f"request_memory = {spelled(self.request_memory)}",
                wanted_by=self.task_family,
                fix="give more, with its unit, such as 4GB: a number alone counts as MB",
            )
        queue.refuse_unreadable(self.requirements)

    def terms(self) -> Terms:
        """On what terms jobs run."""
        return Terms(
            shared_disk=self.shared_disk,
            accounting_group=self.accounting_group or os.environ.get("LIGO_GROUP", ""),
            accounting_group_user=self.accounting_group_user or os.environ.get("LIGO_USERNAME", ""),
            requirements=self.requirements,
            use_oauth_services=self.use_oauth_services,
            forward=self.forward,
            job_length=self.job_length,
        )
