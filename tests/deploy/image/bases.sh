#!/usr/bin/env bash
# Makes stand-ins for the image's base images from Debian's packages and this machine's Rust, for machines
# that reach no registry: a folder for each, which the caller makes an image of.
#   bases.sh FOLDER
set -euo pipefail

folder=$1
builder=$folder/builder
runtime=$folder/runtime

if [[ ! -e $folder/builder.done ]]; then
    rm -rf "$builder"
    debootstrap --variant=minbase --include=binutils,ca-certificates,gcc,libc6-dev,make bookworm "$builder" >"$folder/debootstrap.log" ||
        { tail -5 "$folder/debootstrap.log" >&2; exit 1; }
    rm -rf "$builder"/var/cache/apt/archives/*.deb "$builder"/usr/share/{doc,man,locale}
    # As the official image has it: a toolchain on the PATH, and a CARGO_HOME.
    rust=$(rustc --print sysroot)
    mkdir -p "$builder/usr/local/rust" "$builder/usr/local/cargo"
    tar -C "$rust" --exclude=share --exclude='*.rlib.orig' -cf - bin lib | tar -C "$builder/usr/local/rust" -xf -
    touch "$folder/builder.done"
fi

if [[ ! -e $folder/runtime.done ]]; then
    rm -rf "$runtime" "$folder/packages"
    mkdir -p "$runtime/tmp" "$folder/packages"
    chmod 1777 "$runtime/tmp"
    (
        cd "$folder/packages"
        apt-get download -q libc6 libgcc-s1 ca-certificates >/dev/null
        for package in *.deb; do
            dpkg-deb --extract "$package" "$runtime"
        done
    )
    rm -rf "$runtime"/usr/share/{doc,man,locale,lintian}
    mkdir -p "$runtime/etc/ssl/certs"
    cat "$runtime"/usr/share/ca-certificates/mozilla/*.crt >"$runtime/etc/ssl/certs/ca-certificates.crt"
    echo 'root:x:0:0:root:/root:/sbin/nologin' >"$runtime/etc/passwd"
    echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >>"$runtime/etc/passwd"
    echo 'nonroot:x:65532:' >"$runtime/etc/group"
    touch "$folder/runtime.done"
fi
