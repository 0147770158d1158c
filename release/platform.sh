# shellcheck shell=sh disable=SC2034 # sourced
# What Rust, Debian and qemu call a platform. Here it has the name that images give it (`TARGETARCH`).

platforms="amd64 arm64 riscv64 s390x arm"

# Sets triple (Rust's name), gnu (the prefix of its C compiler), cross (Debian's packages for that) and emulator.
platform() {
    case $1 in
    amd64) triple=x86_64-unknown-linux-gnu gnu=x86_64-linux-gnu emulator=qemu-x86_64-static ;;
    arm64) triple=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu emulator=qemu-aarch64-static ;;
    riscv64) triple=riscv64gc-unknown-linux-gnu gnu=riscv64-linux-gnu emulator=qemu-riscv64-static ;;
    s390x) triple=s390x-unknown-linux-gnu gnu=s390x-linux-gnu emulator=qemu-s390x-static ;;
    arm) triple=armv7-unknown-linux-gnueabihf gnu=arm-linux-gnueabihf emulator=qemu-arm-static ;;
    *)
        echo "no such platform: $1 (there are: $platforms)" >&2
        exit 2
        ;;
    esac
    case $1 in
    amd64) cross="gcc-x86-64-linux-gnu libc6-dev-amd64-cross" ;;
    arm) cross="gcc-$gnu libc6-dev-armhf-cross" ;;
    *) cross="gcc-$gnu libc6-dev-$1-cross" ;;
    esac
}
