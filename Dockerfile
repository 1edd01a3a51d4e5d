# syntax=docker/dockerfile:1
# otelbridge's image: the wheel is built inside, engine and all; what runs has no compiler, no pip cache, no root.
# The tag names the Python that the tests run on. Put a digest behind it where images must be the same for ever.
ARG PYTHON=3.11.14-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# What rarely changes first: these layers stay cached while only our code changes.
COPY requirements-build.lock requirements.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /build \
    && /build/bin/pip install --require-hashes -r requirements-build.lock \
    && python -m venv /opt/otelbridge \
    && /opt/otelbridge/bin/pip install --require-hashes -r requirements.lock

COPY pyproject.toml hatch_build.py engine_build.py ui_build.py README.md LICENSE ./
COPY engine engine
COPY ui ui
COPY otelbridge otelbridge
# The build hook compiles the JavaScript engine and bundles the pages from pinned sources; its cache makes a second build of the same free.
RUN --mount=type=cache,target=/root/.cache/otelbridge \
    --mount=type=cache,target=/root/.cache/pip \
    /build/bin/python -m hatchling build --target wheel \
    && /opt/otelbridge/bin/pip install --no-deps --no-index dist/*.whl \
    # Bytecode now, because the root file system is read-only later; then pip itself goes.
    && /opt/otelbridge/bin/python -m compileall -q /opt/otelbridge/lib \
    && /opt/otelbridge/bin/python -m pip uninstall --yes pip

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="otelbridge" \
      org.opencontainers.image.licenses="Apache-2.0"
# A number and not a name: Kubernetes can check runAsNonRoot only with one. The folder gives a new volume its owner.
RUN groupadd --gid 10001 otelbridge \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/otelbridge --shell /usr/sbin/nologin otelbridge \
    && mkdir -p /var/lib/otelbridge && chown 10001:10001 /var/lib/otelbridge
COPY --from=build /opt/otelbridge /opt/otelbridge
ENV PATH=/opt/otelbridge/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OTELBRIDGE_DATA_DIR=/var/lib/otelbridge \
    OTELBRIDGE_SERVER_HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/otelbridge
VOLUME /var/lib/otelbridge
EXPOSE 8787
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8787/readyz', timeout=4)"]
# Exec form: the service gets SIGTERM itself and drains.
ENTRYPOINT ["otelbridge"]
CMD ["serve"]
