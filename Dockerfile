FROM python:3.13-slim-bookworm AS build
WORKDIR /opt/invite-api
COPY . .
RUN python -m venv .venv \
    && .venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check -r requirements.txt

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home invite-api \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /opt/invite-api /opt/invite-api
ENV PATH=/opt/invite-api/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    INVITE_API_INSTANCE=/data
USER 10001:10001
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=4)"]
CMD ["invite-api", "serve", "--host", "0.0.0.0"]
