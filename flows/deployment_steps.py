"""Steps that ``prefect deploy`` runs, named in ``prefect.yaml``."""

from __future__ import annotations

DEFAULT_PAIR = 2


def ensure_gpu_limit() -> dict[str, int]:
    """Create the concurrency limit ``gpu`` where there is none; a number set by a person is kept.

    Returns
    -------
    dict of str to int
        Its slots, for later steps to refer to: one per GPU; without a GPU, one for each network of the
        default pair, where there is a core for each.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.exceptions import ObjectNotFound

    from medcompare.base.hardware import usable_cores
    from medcompare.config.train import TrainConfig
    from medcompare.training.worker.process import plan_parallel
    from tasks.gpu import GPU_LIMIT

    with get_client(sync_client=True) as client:
        try:
            slots = client.read_global_concurrency_limit_by_name(GPU_LIMIT).limit
        except ObjectNotFound:
            plan = plan_parallel(DEFAULT_PAIR, TrainConfig())
            slots = plan.n_gpus or min(DEFAULT_PAIR, usable_cores())
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=slots))
    print(f"concurrency limit '{GPU_LIMIT}': {slots} slot(s)")
    return {"gpu_slots": slots}


def register_mail_block() -> dict[str, str]:
    """Let the UI offer a block for mail settings.

    Returns
    -------
    dict of str to str
        Its type, for later steps to refer to.
    """
    from tasks.mail_block import MedcompareMail

    MedcompareMail.register_type_and_schema()
    return {"mail_block_type": MedcompareMail.get_block_type_slug()}
