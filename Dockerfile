# hwcls and all it needs, for `ray up` and for one machine: docker run -it hwcls hwcls sweep sweeps/quickstart.yaml
# The layer of torch and its kin depends on pyproject.toml and constraints.txt alone: a change of code leaves it as it is.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS dependencies
# hadolint ignore=DL3008
RUN command -v python3 >/dev/null \
    || (apt-get update && apt-get install -y --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*)
RUN python3 -m venv /opt/hwcls
WORKDIR /build
COPY pyproject.toml constraints.txt README.md ./
# an empty package stands in for hwcls, so that its requirements are read from where they stand
RUN mkdir hwcls && echo '__version__ = "0"' > hwcls/__init__.py \
    && /opt/hwcls/bin/pip install --no-cache-dir -c constraints.txt ".[cluster,tensorboard]" \
    && /opt/hwcls/bin/pip uninstall -y hwcls

FROM ${BASE}
# what Ray's cluster launcher calls in a container; Debian's python3 where the base brings no Python of its own
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends bash rsync openssh-client procps \
    && (command -v python3 >/dev/null || apt-get install -y --no-install-recommends python3) \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 --shell /bin/bash ray \
    && echo 'export PATH=/opt/hwcls/bin:$PATH' > /etc/profile.d/hwcls.sh
ENV PATH=/opt/hwcls/bin:$PATH PYTHONUNBUFFERED=1
COPY --from=dependencies /opt/hwcls /opt/hwcls
WORKDIR /home/ray
COPY pyproject.toml README.md /opt/src/
COPY hwcls /opt/src/hwcls
RUN pip install --no-cache-dir --no-deps /opt/src && rm -rf /opt/src/build /opt/src/*.egg-info
COPY --chown=ray:ray sweeps sweeps
USER ray
CMD ["bash"]
