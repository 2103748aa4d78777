"""Where trainings and predictions run, and the bucket that machines share."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from medcompare.base.shared_store import BUCKETS, holds_credentials, is_address
from medcompare.config.form import Settings


def _checked_bucket(address: str) -> str:
    if holds_credentials(address):
        msg = (
            "an address with a user, a password or a query would be kept with the run; give credentials in the way of "
            "the service, such as AWS_PROFILE"
        )
        raise ValueError(msg)
    if (
        not is_address(address)
        or urlsplit(address).scheme.lower() not in BUCKETS
        or not urlsplit(address).netloc
    ):
        msg = (
            f"'{address}' is no address of a bucket: write s3://bucket/folder (or gs://, az://); a folder that all "
            "machines see needs no address, name it with --store"
        )
        raise ValueError(msg)
    return address.rstrip("/")


Bucket = Annotated[str, AfterValidator(_checked_bucket)]


class RunnerConfig(Settings):
    """Where trainings, trials and predictions run: on this machine, or on a cluster of Dask or Ray."""

    engine: Literal["local", "dask", "ray"] = Field(
        default="local",
        description="'local': this machine. 'dask', 'ray': the workers of a cluster that runs already, found at "
        "runner.address; needs the package prefect-dask or prefect-ray.",
    )
    address: str = Field(
        default="",
        description="Where the cluster listens, e.g. tcp://scheduler:8786 (Dask) or ray://head:10001 (Ray).",
    )

    @model_validator(mode="after")
    def _address_belongs_to_engine(self) -> Self:
        if self.engine == "local" and self.address:
            msg = (
                f"address: '{self.address}' is that of a cluster, and engine is 'local': add --set runner.engine=dask "
                "or --set runner.engine=ray"
            )
            raise ValueError(msg)
        if self.engine != "local":
            example = {"dask": "tcp://127.0.0.1:8786", "ray": "ray://127.0.0.1:10001"}[self.engine]
            try:
                complete = bool(urlsplit(self.address).hostname and urlsplit(self.address).port)
            except ValueError:
                complete = False
            if not complete:
                msg = (
                    f"address: {self.engine} needs the address of a running cluster with its port, got "
                    f"'{self.address}'; e.g. --set runner.address={example}"
                )
                raise ValueError(msg)
        return self
