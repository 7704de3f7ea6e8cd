//! How burn-onnx writes the fused operators: as calls of `model_runtime::ops`.

use burn_import::ModelGen;
use burn_import::ext::proc_macro2::TokenStream;
use burn_import::ext::quote::quote;
use burn_import::ext::{
    ArgType, CodegenContext, CustomNode, CustomOp, DType, ProcessError, TensorType, arg_to_ident,
};

use crate::fuse::{CHAIN, CONV, DOMAIN, SPLIT, SPPF_POOL, STEM, int8};

/// Registers every operator of [`DOMAIN`] with `generator`.
pub(crate) fn register(generator: &mut ModelGen) {
    for (operator, write) in [
        (CONV, convolution as Write),
        (STEM, stem),
        (CHAIN, chain),
        (SPPF_POOL, sppf_pool),
        (SPLIT, split_channels),
        (int8::CONV, int8_convolution),
        (int8::POOL, int8_sppf_pool),
        (int8::TAKE_APART, split_channels),
    ] {
        generator.register_custom_op(Operator { operator, write });
    }
}

type Write = fn(&CustomNode, &mut CodegenContext<'_, '_>) -> TokenStream;

struct Operator {
    operator: &'static str,
    write: Write,
}

impl CustomOp for Operator {
    fn op_type(&self) -> &str {
        self.operator
    }

    fn domain(&self) -> &str {
        DOMAIN
    }

    /// `shapes` holds channels, height and width of every output.
    fn infer_output_types(&self, node: &CustomNode) -> Result<Vec<ArgType>, ProcessError> {
        let of = if is_of_bytes(node) { DType::U8 } else { DType::F32 };
        let shape = |shape: &[usize]| TensorType::new_known(of, [&[1], shape].concat());
        Ok(sizes(node, "shapes").chunks(3).map(|chunk| ArgType::Tensor(shape(chunk))).collect())
    }

    fn forward(
        &self,
        node: &CustomNode,
        context: &mut CodegenContext<'_, '_>,
    ) -> Result<TokenStream, ProcessError> {
        Ok((self.write)(node, context))
    }
}

fn convolution(node: &CustomNode, context: &mut CodegenContext<'_, '_>) -> TokenStream {
    let upsampled = sizes(node, "upsampled");
    let (inputs, rest) = node.inputs.split_at(upsampled.len());
    let inputs: Vec<TokenStream> = (inputs.iter().zip(upsampled))
        .map(|(input, upsampled)| {
            let input = context.arg(input);
            match upsampled {
                0 => quote! { model_runtime::ops::ConvInput::from(#input) },
                _ => quote! { model_runtime::ops::ConvInput::upsampled(#input) },
            }
        })
        .collect();
    let (weight, bias) = (context.arg(&rest[0]), context.arg(&rest[1]));
    let residual = match rest.get(2) {
        Some(residual) => {
            let residual = context.arg(residual);
            quote! { Some(#residual) }
        }
        None => quote! { None },
    };
    let (output, options) = (arg_to_ident(&node.outputs[0]), options(node, 0));
    quote! { let #output = model_runtime::ops::conv2d([#(#inputs),*], #weight, #bias, #residual, #options); }
}

fn stem(node: &CustomNode, context: &mut CodegenContext<'_, '_>) -> TokenStream {
    let inputs: Vec<TokenStream> = node.inputs.iter().map(|input| context.arg(input)).collect();
    let (output, options) = (arg_to_ident(&node.outputs[0]), options(node, 0));
    quote! { let #output = model_runtime::ops::stem_conv2d(#(#inputs),*, #options); }
}

fn chain(node: &CustomNode, context: &mut CodegenContext<'_, '_>) -> TokenStream {
    let (inputs, constants) = node.inputs.split_at(sizes(node, "upsampled").len());
    let mut inputs: Vec<TokenStream> = inputs.iter().map(|input| context.arg(input)).collect();
    let mut constants = constants.iter().map(|constant| context.arg(constant));
    let mut next = || constants.next().unwrap_or_else(|| unreachable!("{CHAIN} has its constants"));
    let gray = sizes(node, "gray")[0] == 1;
    let mut image = quote! {};
    let stages: Vec<TokenStream> = (0..sizes(node, "silu").len())
        .map(|stage| {
            let mut weight = next();
            if gray && stage == 0 {
                let (input, gray_weight) = (&inputs[0], next());
                image = quote! { let image = #input; };
                weight = quote! { model_runtime::ops::stem_weight(&image, #weight, #gray_weight) };
                inputs[0] = quote! { image };
            }
            let (bias, options) = (next(), options(node, stage));
            quote! { model_runtime::ops::ChainStage { weight: #weight, bias: #bias, options: #options } }
        })
        .collect();
    let output = arg_to_ident(&node.outputs[0]);
    quote! {
        let #output = {
            #image
            let stages = [#(#stages),*];
            model_runtime::ops::conv2d_chain([#(#inputs),*], stages)
        };
    }
}

fn sppf_pool(node: &CustomNode, context: &mut CodegenContext<'_, '_>) -> TokenStream {
    let (input, output) = (context.arg(&node.inputs[0]), arg_to_ident(&node.outputs[0]));
    let kernel = sizes(node, "kernel")[0];
    quote! { let #output = model_runtime::ops::sppf_pool(#input, #kernel); }
}

/// Whether an operator's output is an 8-bit map: all integer operators except heads.
fn is_of_bytes(node: &CustomNode) -> bool {
    match node.op_type.as_str() {
        int8::CONV => sizes(node, "head")[0] == 0,
        operator => matches!(operator, int8::POOL | int8::TAKE_APART),
    }
}

/// Inputs as `fuse::int8` orders them: maps, weight, integers, scale, SiLU's tables, the gray
/// weight, the residual.
fn int8_convolution(node: &CustomNode, context: &mut CodegenContext<'_, '_>) -> TokenStream {
    let upsampled = sizes(node, "upsampled");
    let (inputs, rest) = node.inputs.split_at(upsampled.len());
    let inputs: Vec<TokenStream> = (inputs.iter().zip(upsampled))
        .map(|(input, upsampled)| {
            let input = context.arg(input);
            match upsampled {
                0 => quote! { model_runtime::ops::int8::Input::from(#input) },
                _ => quote! { model_runtime::ops::int8::Input::upsampled(#input) },
            }
        })
        .collect();
    let mut rest = rest.iter().map(|input| context.arg(input));
    let mut next = || rest.next().unwrap_or_else(|| unreachable!("{} has its constants", int8::CONV));
    let (weight, integers, scale) = (next(), next(), next());
    let mut next_if = |attribute: &str| match sizes(node, attribute)[0] {
        0 => quote! { None },
        _ => {
            let tensor = next();
            quote! { Some(#tensor) }
        }
    };
    let (silu, gray_weight) = (next_if("silu"), next_if("gray"));
    let residual = match sizes(node, "residual")[..] {
        [1, multiplier, zero_point] => {
            let (tensor, multiplier, zero_point) = (next(), multiplier as i16, zero_point as u8);
            quote! {
                Some(model_runtime::ops::int8::Residual {
                    tensor: #tensor,
                    multiplier: #multiplier,
                    zero_point: #zero_point,
                })
            }
        }
        _ => quote! { None },
    };
    let pair = |name: &str| {
        let [vertical, horizontal] = sizes(node, name)[..] else { unreachable!("{name} is a pair") };
        quote! { [#vertical, #horizontal] }
    };
    let out_channels = sizes(node, "out_channels")[0];
    let (kernel, stride, padding) = (pair("kernel"), pair("stride"), pair("padding"));
    let input_zero_point = sizes(node, "input_zero_point")[0] as u8;
    let output = arg_to_ident(&node.outputs[0]);
    let call = match sizes(node, "head")[0] {
        0 => quote! { model_runtime::ops::int8::conv2d([#(#inputs),*], tensors, #residual, options) },
        _ => quote! { model_runtime::ops::int8::conv2d_floats([#(#inputs),*], tensors, options) },
    };
    quote! {
        let #output = {
            let tensors = model_runtime::ops::int8::ConvTensors {
                weight: #weight,
                gray_weight: #gray_weight,
                integers: #integers,
                scale: #scale,
                silu: #silu,
                table: None,
            };
            let options = model_runtime::ops::int8::ConvOptions {
                out_channels: #out_channels,
                kernel: #kernel,
                stride: #stride,
                padding: #padding,
                input_zero_point: #input_zero_point,
            };
            #call
        };
    }
}

fn int8_sppf_pool(node: &CustomNode, context: &mut CodegenContext<'_, '_>) -> TokenStream {
    let (input, output) = (context.arg(&node.inputs[0]), arg_to_ident(&node.outputs[0]));
    let kernel = sizes(node, "kernel")[0];
    quote! { let #output = model_runtime::ops::int8::sppf_pool(#input, #kernel); }
}

/// Views: nothing is copied.
fn split_channels(node: &CustomNode, context: &mut CodegenContext<'_, '_>) -> TokenStream {
    let input = context.arg(&node.inputs[0]);
    let outputs = node.outputs.iter().map(arg_to_ident);
    let mut start = 0;
    let mut parts = Vec::new();
    for shape in sizes(node, "shapes").chunks(3) {
        let channels = shape[0];
        parts.push(quote! { whole.clone().narrow(1, #start, #channels) });
        start += channels;
    }
    quote! {
        let (#(#outputs),*) = {
            let whole = #input;
            (#(#parts),*)
        };
    }
}

/// The `stage`th convolution of a chain; a single convolution is stage 0.
fn options(node: &CustomNode, stage: usize) -> TokenStream {
    let pair = |name: &str| {
        let [vertical, horizontal] = sizes(node, name)[2 * stage..][..2] else {
            unreachable!("{name} is a pair")
        };
        quote! { [#vertical, #horizontal] }
    };
    let out_channels = sizes(node, "out_channels")[stage];
    let (kernel, stride, padding) = (pair("kernel"), pair("stride"), pair("padding"));
    let activation = match sizes(node, "silu")[stage] {
        0 => quote! { model_runtime::ops::Activation::None },
        _ => quote! { model_runtime::ops::Activation::Silu },
    };
    quote! {
        model_runtime::ops::ConvOptions {
            out_channels: #out_channels,
            kernel: #kernel,
            stride: #stride,
            padding: #padding,
            activation: #activation,
        }
    }
}

/// An attribute that [`crate::fuse`] wrote.
fn sizes(node: &CustomNode, name: &str) -> Vec<usize> {
    let values = node.attrs.get_i64s(name).unwrap_or_else(|| unreachable!("{} has {name}", node.op_type));
    values.iter().map(|&value| value as usize).collect()
}
