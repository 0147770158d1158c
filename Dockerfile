# syntax=docker/dockerfile:1

# The image holds one static program and the hooks, and nothing to run an attack with: no shell, no libraries.
FROM rust:1.95-bookworm AS build
WORKDIR /wrapper
COPY . .
# The hooks are in the repository as built, so the WebAssembly toolchain is not needed.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/wrapper/target \
    cargo build --release --locked -p wrapper && \
    cp "target/$(rustc --print host-tuple)/release/wrapper" /wrapper.static

FROM scratch
COPY --from=build /wrapper.static /wrapper
COPY hooks/dist/*.wasm /hooks/
# Any user will do; this is the one distroless images call nonroot.
USER 65532:65532
ENTRYPOINT ["/wrapper"]
