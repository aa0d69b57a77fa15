# The image of `tailwater`: built in one stage, run in another that holds the program, a shell and the roots of trust.
#
#   docker build --tag tailwater .
#   docker run --rm --volume "$PWD/pipelines:/etc/tailwater:ro" tailwater validate /etc/tailwater

FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
# zlib goes into the program as the other C libraries do: the second stage has none.
ENV LIBZ_SYS_STATIC=1
RUN cargo build --release --locked --package tailwater-cli \
    && strip --output-file=/tailwater target/release/tailwater

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="Tailwater" \
      org.opencontainers.image.description="Carries every change of a DynamoDB table downstream" \
      org.opencontainers.image.licenses="Apache-2.0"
# Without these no TLS client can verify anyone.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /tailwater /usr/local/bin/tailwater
# What it links to must be here: found out now and not at the first start.
RUN ["tailwater", "version"]
# Nobody's number, the one that distroless images use, so that Kubernetes' `runAsNonRoot` is content.
USER 65532:65532
WORKDIR /etc/tailwater
ENTRYPOINT ["tailwater"]
CMD ["--help"]
