##@ model-runtime: operators and kernels

# Both need a nightly toolchain; Miri is a component of it (rustup component add --toolchain nightly
# miri).
.PHONY: asan miri
asan: need-cargo ## run the kernels' tests under AddressSanitizer (nightly)
	RUSTFLAGS=-Zsanitizer=address $(CARGO) +nightly test --release --target $$(rustc -vV | sed -n 's/^host: //p') \
		--target-dir target/asan -p model-runtime --no-default-features

miri: need-cargo ## run buffers, threads, decoding and the portable kernels under Miri (nightly, minutes)
	MIRIFLAGS="-Zmiri-deterministic-floats -Zmiri-ignore-leaks" \
		$(CARGO) +nightly miri test -p model-runtime --no-default-features --lib --test convolution
