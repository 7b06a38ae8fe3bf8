# Our own emulators, for compose.yaml: the packages of the local stack; the code is mounted.
FROM python:3.13.3-slim-bookworm
WORKDIR /app
COPY requirements.txt requirements-local.txt ./
RUN pip install --no-cache-dir --only-binary=:all: -r requirements-local.txt
USER nobody
