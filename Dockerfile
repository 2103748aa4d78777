# syntax=docker/dockerfile:1
# The pipeline in an image: the worker by default; server and pages of the reports with other commands.
#
#   docker build --tag medcompare .
#   docker compose --file deploy/docker/compose.yaml up --detach
#
# What changes rarely comes first: an edit of our code leaves the gigabytes of torch where they are.
FROM python:3.12-slim-trixie

# The very libraries WeasyPrint opens, see .make/setup.sh; the fonts travel with matplotlib.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        libfontconfig1 \
        libharfbuzz-subset0 \
        libharfbuzz0b \
        libpango-1.0-0 \
        libpangoft2-1.0-0 \
    && rm -rf /var/lib/apt/lists/*

# The owner of what is written to the shared folders: --build-arg UID=$(id -u) for your own.
ARG UID=1000
RUN useradd --uid "${UID}" --create-home medcompare

WORKDIR /opt/medcompare
COPY pyproject.toml constraints.txt ./
# The exact versions of constraints.txt; the cache of downloads stays outside the image.
RUN --mount=type=cache,target=/var/cache/packages \
    export PIP_CACHE_DIR=/var/cache/packages/pip UV_CACHE_DIR=/var/cache/packages/uv \
    && pip install --disable-pip-version-check --root-user-action=ignore "$(grep '^uv==' constraints.txt)" \
    && uv pip install --system --compile-bytecode --link-mode=copy --constraints constraints.txt --requirements pyproject.toml

COPY README.md LICENSE prefect.yaml ./
COPY templates templates
COPY medcompare medcompare
COPY tasks tasks
COPY flows flows
# Volumes take over the owner of the folder they are mounted on.
RUN install --directory --owner=medcompare runs .medcompare

# Our code is found without being installed. No telemetry: the images are of patients.
ENV PYTHONPATH=/opt/medcompare \
    PYTHONUNBUFFERED=1 \
    PREFECT_HOME=/opt/medcompare/.medcompare/prefect \
    PREFECT_LOGGING_EXTRA_LOGGERS=medcompare \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_SERVER_UI_V2_ENABLED=false \
    DO_NOT_TRACK=1 \
    TORCH_HOME=/opt/medcompare/.medcompare/torch

USER medcompare
# Needs PREFECT_API_URL. What crashed is marked and missed nights are skipped before work begins; `exec`
# lets the worker hear that it is to stop. Its health: port 8080, see deploy/docker/compose.yaml.
CMD ["sh", "-c", "python -m medcompare recover && exec prefect worker start --pool medcompare --type process --with-healthcheck"]
