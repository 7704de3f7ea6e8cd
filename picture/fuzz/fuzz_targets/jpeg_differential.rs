//! A JPEG that both accept has the same pixels here and in libjpeg (mozjpeg's, in C without vector
//! instructions).
#![no_main]

use std::panic::AssertUnwindSafe;

use libfuzzer_sys::fuzz_target;
use mozjpeg_sys::*;
use picture::jpeg::{Jpeg, Planes};

const MAX_PIXELS: u32 = 1 << 14;

/// Intermediate values of the inverse DCT have 16 bits here, as in libjpeg-turbo's vector code, and
/// more in its C code. Levels that no encoder writes come out differently; below this mean
/// difference two pictures count as the same.
const TOLERANCE: f64 = 0.5;

fuzz_target!(|bytes: &[u8]| {
    let Ok(jpeg) = Jpeg::new(bytes) else { return };
    let (width, height) = jpeg.dimensions();
    if width * height > MAX_PIXELS {
        return;
    }
    let Ok(ours) = jpeg.decode() else { return };
    let Some(theirs) = libjpeg(bytes) else { return };
    let pixels = (width * height) as usize;
    let ours: Vec<u8> = match ours {
        Planes::Gray(samples) if theirs.len() == pixels => samples,
        Planes::Gray(samples) => samples.iter().flat_map(|level| [*level; 3]).collect(),
        Planes::Rgb(planes) => {
            (0..pixels).flat_map(|at| [planes[at], planes[at + pixels], planes[at + 2 * pixels]]).collect()
        }
    };
    assert_eq!(ours.len(), theirs.len(), "another number of samples");
    let off: u64 = ours.iter().zip(&theirs).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    let mean = off as f64 / theirs.len() as f64;
    assert!(mean < TOLERANCE, "mean difference of {mean} levels");
});

/// Gray or RGB pixels; nothing where libjpeg has any complaint, or the file is CMYK (whose
/// conversion is OpenCV's).
fn libjpeg(bytes: &[u8]) -> Option<Vec<u8>> {
    extern "C-unwind" fn error_exit(_: &mut jpeg_common_struct) {
        std::panic::resume_unwind(Box::new(()));
    }
    extern "C-unwind" fn emit_message(info: &mut jpeg_common_struct, level: std::ffi::c_int) {
        if level < 0 {
            // SAFETY: libjpeg calls this with the error manager that was set below.
            unsafe { (*info.err).num_warnings += 1 };
        }
    }
    // SAFETY: the calls are libjpeg's documented sequence (libjpeg.txt); errors unwind to the
    // closure's end, and the struct is destroyed whichever way it ends.
    unsafe {
        let mut errors: jpeg_error_mgr = std::mem::zeroed();
        let mut info: jpeg_decompress_struct = std::mem::zeroed();
        info.common.err = jpeg_std_error(&mut errors);
        errors.error_exit = Some(error_exit);
        errors.emit_message = Some(emit_message);
        let pixels = std::panic::catch_unwind(AssertUnwindSafe(|| {
            jpeg_create_decompress(&mut info);
            jpeg_mem_src(&mut info, bytes.as_ptr(), bytes.len() as _);
            jpeg_read_header(&mut info, 1);
            if info.num_components == 4 {
                return None;
            }
            info.out_color_space =
                if info.num_components == 1 { J_COLOR_SPACE::JCS_GRAYSCALE } else { J_COLOR_SPACE::JCS_RGB };
            jpeg_start_decompress(&mut info);
            let row = info.output_width as usize * info.output_components as usize;
            let mut pixels = vec![0; row * info.output_height as usize];
            while info.output_scanline < info.output_height {
                let mut line = pixels[row * info.output_scanline as usize..].as_mut_ptr();
                jpeg_read_scanlines(&mut info, &mut line, 1);
            }
            jpeg_finish_decompress(&mut info);
            Some(pixels)
        }));
        jpeg_destroy_decompress(&mut info);
        pixels.ok().flatten().filter(|_| errors.num_warnings == 0)
    }
}
