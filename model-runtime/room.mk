##@ model-runtime: operators and kernels

# Sanitizers and Miri are parts of nightly compilers only.
.PHONY: asan miri neon
asan: need-cargo ## run the kernels' tests under AddressSanitizer (nightly)
	@.ci/need.sh rustup nightly
	RUSTFLAGS=-Zsanitizer=address $(CARGO) +nightly test --release --target $$(rustc -vV | sed -n 's/^host: //p') \
		--target-dir target/asan -p model-runtime --no-default-features

miri: need-cargo ## run buffers, threads, decoding and the portable kernels of both networks under Miri (nightly, minutes)
	@.ci/need.sh rustup miri
	MIRIFLAGS="-Zmiri-deterministic-floats -Zmiri-ignore-leaks" \
		$(CARGO) +nightly miri test -p model-runtime --no-default-features --lib --test convolution --test int8 --test chain

# Every path that an emulated CPU of all features has: NEON with I8MM, with dot products and with
# neither, and portable code.
AARCH64 := aarch64-unknown-linux-gnu
neon: need-cargo ## run the kernels' tests for aarch64 in an emulator (minutes)
	@.ci/need.sh rustup aarch64-linux-gnu-gcc qemu-aarch64-static $(AARCH64)
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -cpu max -L /usr/aarch64-linux-gnu" \
		$(CARGO) test --release --target $(AARCH64) --target-dir target/neon -p model-runtime --no-default-features
