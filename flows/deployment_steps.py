"""Steps that ``prefect deploy`` runs, named in ``prefect.yaml``."""

from __future__ import annotations


def ensure_gpu_limit() -> dict[str, int]:
    """Create the concurrency limit ``gpu`` where there is none.

    Returns
    -------
    dict of str to int
        Its slots, for later steps to refer to.
    """
    from flows.orchestration import ensure_gpu_limit as ensure

    slots = ensure()
    print(f"concurrency limit 'gpu': {slots} slot(s)")
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
