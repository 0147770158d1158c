# For a release, with the compiler's image by its digest:
#
#     release/image registry.example/wrapper:0.1.0
#
# To try it, with what the tag is today: docker buildx build --tag wrapper . (BuildKit; Docker has it since version 23.)
#
# The image holds one static program and the hooks, and nothing to run an attack with: no shell, no libraries. The roots
# of the public web are part of the program. It writes nothing, so it runs with a read-only root.

# Debian and a compiler, and the only image that this one is made from. A tag can be another image tomorrow.
ARG COMPILER=docker.io/library/rust:1.95.0-bookworm

# The compiler runs on the machine that builds, whatever the image is for: no emulation.
FROM --platform=$BUILDPLATFORM $COMPILER AS build
# What rust-toolchain.toml asks for besides is for tests.
ENV RUSTUP_TOOLCHAIN=1.95.0
ARG TARGETARCH TARGETVARIANT
WORKDIR /wrapper
COPY . .
# Crates and what was compiled of them stay from build to build. The hooks are in the repository as built, so the
# WebAssembly toolchain is not needed.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/wrapper/target,id=wrapper-target-$TARGETARCH,sharing=locked \
    [ "$TARGETARCH$TARGETVARIANT" != armv6 ] && release/build "$TARGETARCH" && . release/platform.sh && platform "$TARGETARCH" && \
    cp "target/$triple/release/wrapper" /wrapper.static

FROM scratch
COPY --from=build /wrapper.static /wrapper
COPY --chmod=0444 hooks/dist/*.wasm /hooks/
# Any user will do; this is the one distroless images call nonroot.
USER 65532:65532
ENTRYPOINT ["/wrapper"]
