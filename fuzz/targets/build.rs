//! Compiles the calls of libjpeg-turbo.

fn main() {
    println!("cargo::rerun-if-changed=libjpeg.c");
    cc::Build::new().file("libjpeg.c").compile("libjpeg_calls");
    println!("cargo::rustc-link-lib=jpeg");
}
