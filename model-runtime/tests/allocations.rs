//! After the first inference, activations come from recycled buffers: kernels don't allocate, and
//! burn allocates only small blocks (reference counts, shapes).
#![cfg(feature = "burn")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Device, Distribution, Tensor, TensorData};
use model_runtime::kernels::Isa;
use model_runtime::kernels::chain::conv2d_chain;
use model_runtime::kernels::conv::{Conv, Source};
use model_runtime::kernels::convolve::conv2d;
use model_runtime::kernels::image::{Image, ImageMut};
use model_runtime::ops::{self, Activation, ConvOptions};
use model_runtime::pack::pack_conv;

/// Larger than any bookkeeping of a tensor, smaller than any activation.
const LARGE: usize = 2048;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static LARGE_ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        if layout.size() >= LARGE {
            LARGE_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: this function's own contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: this function's own contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test only: the counters are process-wide, and the tests of a file run concurrently.
#[test]
fn the_second_inference_allocates_nothing_large_and_its_kernels_nothing_at_all() {
    // Direct with a border, Winograd of both strides, 1 × 1: every path with scratch memory of its
    // own.
    for (in_channels, kernel, stride) in [(3, 6, 2), (32, 3, 1), (32, 3, 2), (32, 1, 1)] {
        let packed = pack_conv(
            &vec![0.1; 32 * in_channels * kernel * kernel],
            32,
            in_channels,
            [kernel; 2],
            [stride; 2],
            [32, 32],
        );
        let padding = (kernel - 1) / 2;
        let conv = Conv {
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            weight: &packed.values,
            weight_shape: packed.shape,
            bias: &[0.5; 32],
            silu: true,
        };
        let input = vec![0.25; 64 * 64 * in_channels];
        let size = (64 + 2 * padding - kernel) / stride + 1;
        let mut output = vec![0.0; size * size * 32];
        let mut run = || {
            let source = Source { image: Image::dense(&input, 64, 64, in_channels), upsampled: false };
            conv2d(Isa::current(), &[source], &conv, None, &mut ImageMut::dense(&mut output, size, size, 32));
        };
        run();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        run();
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "kernel {kernel}, stride {stride}");
    }

    let packed = [(16, 1, 6), (32, 16, 3)].map(|(out_channels, in_channels, side)| {
        let weight = vec![0.1; out_channels * in_channels * side * side];
        pack_conv(&weight, out_channels, in_channels, [side; 2], [2; 2], [32, 32])
    });
    let convs = [0, 1].map(|i| Conv {
        kernel: [[6; 2], [3; 2]][i],
        stride: [2; 2],
        padding: [[2; 2], [1; 2]][i],
        weight: &packed[i].values,
        weight_shape: packed[i].shape,
        bias: &[0.5; 32][..16 * (i + 1)],
        silu: true,
    });
    let input = vec![0.25; 64 * 64];
    let mut output = vec![0.0; 16 * 16 * 32];
    let mut run = || {
        let source = Source { image: Image::dense(&input, 64, 64, 1), upsampled: false };
        conv2d_chain(Isa::current(), &[source], &convs, &mut ImageMut::dense(&mut output, 16, 16, 32));
    };
    run();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    run();
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "a chain");

    let device = Device::default();
    let packed = pack_conv(&vec![0.01; 32 * 32 * 9], 32, 32, [3, 3], [1, 1], [32, 32]);
    let weight: Tensor<5> = Tensor::from_data(TensorData::new(packed.values, packed.shape), &device);
    let bias: Tensor<1> = Tensor::zeros([32], &device);
    let image: Tensor<4> = Tensor::random([1, 32, 64, 64], Distribution::Default, &device);
    let options = ConvOptions {
        out_channels: 32,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1, 1],
        activation: Activation::Silu,
    };
    let run = || {
        let mut x = image.clone();
        for _ in 0..5 {
            x = ops::conv2d([x.clone().into()], weight.clone(), bias.clone(), Some(x), options);
        }
        ops::sppf_pool(x, 5)
    };
    drop(run());
    let before = LARGE_ALLOCATIONS.load(Ordering::Relaxed);
    drop(run());
    assert_eq!(LARGE_ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
}
