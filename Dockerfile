# The operator's image: one static program and a CA bundle in an empty file system.
#   docker build --tag medley .
# `make image` makes the same without Docker.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY schema schema
COPY src src
# Not built here, but cargo wants every target of Cargo.toml and every member of the workspace to be there.
COPY benches benches
COPY tests/harness tests/harness
RUN cargo rustc --locked --release --package medley --bin medley -- -C target-feature=+crt-static -C strip=symbols \
 && ! readelf --wide --program-headers target/release/medley | grep INTERP

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/medley /medley
USER 65532:65532
ENTRYPOINT ["/medley"]
