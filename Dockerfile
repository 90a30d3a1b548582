# One image for every node of a cluster: `docker build -t hwcls .`; cluster.yaml names it.
# BASE is a Debian image, with or without Python in /usr/local; downloads are checked against its CA bundle.
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS base
# Ray's launcher needs bash, rsync, ssh and a ~/.bashrc; torch.compile on a GPU needs a C compiler and Python's headers.
# Debian's packages are not pinned: a stable release serves only the newest of each, security fixes included.
# Uid 1000 is the first user's on most hosts: the files that `ray up` mounts from there can be read.
# Docker would create ~/.ray as root when it mounts the token into it. A login shell does not keep ENV PATH.
# fonts-droid-fallback: Chinese and Japanese class names in pictures.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends bash ca-certificates fonts-droid-fallback gcc libc6-dev openssh-client rsync \
    && if [ ! -x /usr/local/bin/python3 ]; then apt-get install -y --no-install-recommends python3-dev python3-venv; fi \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 --shell /bin/bash ray \
    && install -d -o ray -g ray -m 700 /home/ray/.ray \
    && echo "export PATH=/opt/hwcls/bin:\$PATH" > /etc/profile.d/hwcls.sh

FROM base AS tools
ARG PIP_CERT=/etc/ssl/certs/ca-certificates.crt
RUN python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir uv==0.13.9 \
    && /opt/uv/bin/uv venv --no-cache /opt/hwcls
ENV PATH=/opt/uv/bin:$PATH VIRTUAL_ENV=/opt/hwcls UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1
WORKDIR /src

# the slow layer depends on two files only: a change of code does not rebuild it or push it again
FROM tools AS dependencies
ARG SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
COPY pyproject.toml constraints.txt ./
RUN uv pip install -c constraints.txt --extra tensorboard --extra cluster --extra heif --extra weights -r pyproject.toml

FROM tools AS code
ARG SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY hwcls hwcls
RUN uv pip install --no-deps .

FROM base
COPY --from=dependencies /opt/hwcls /opt/hwcls
COPY --from=code /opt/hwcls /opt/hwcls
COPY --chown=ray:ray sweeps /home/ray/sweeps
# Ray's launcher reads HOME here; it starts containers with NVIDIA's runtime, which exposes the GPUs that the image asks for
ENV HOME=/home/ray PATH=/opt/hwcls/bin:$PATH PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000:1000
WORKDIR /home/ray
CMD ["bash"]
