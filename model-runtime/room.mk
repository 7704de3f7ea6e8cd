##@ model-runtime: operators and kernels

# Both need a nightly toolchain; Miri is a component of it (rustup component add --toolchain nightly
# miri).
.PHONY: asan miri neon
asan: need-cargo ## run the kernels' tests under AddressSanitizer (nightly)
	RUSTFLAGS=-Zsanitizer=address $(CARGO) +nightly test --release --target $$(rustc -vV | sed -n 's/^host: //p') \
		--target-dir target/asan -p model-runtime --no-default-features

miri: need-cargo ## run buffers, threads, decoding and the portable kernels of both networks under Miri (nightly, minutes)
	MIRIFLAGS="-Zmiri-deterministic-floats -Zmiri-ignore-leaks" \
		$(CARGO) +nightly miri test -p model-runtime --no-default-features --lib --test convolution --test int8 --test chain

# Every path that an emulated CPU of all features has: NEON with I8MM, with dot products and with
# neither, and portable code.
AARCH64 := aarch64-unknown-linux-gnu
neon: need-cargo ## run the kernels' tests for aarch64 in an emulator (minutes)
	@command -v aarch64-linux-gnu-gcc qemu-aarch64-static >/dev/null && rustup target list --installed | grep -q $(AARCH64) || \
		{ echo "first: rustup target add $(AARCH64); apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static" >&2; exit 1; }
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -cpu max -L /usr/aarch64-linux-gnu" \
		$(CARGO) test --release --target $(AARCH64) --target-dir target/neon -p model-runtime --no-default-features
