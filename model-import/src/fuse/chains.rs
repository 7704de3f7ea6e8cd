//! Chooses chains of convolutions that are computed together, a few rows at a time, because their
//! intermediate maps exceed the cache.

use std::collections::HashMap;

use model_runtime::kernels::chain::MAX_STAGES;

use super::{Conv, Fusion};

/// A map of this size doesn't stay in a core's second-level cache (512 KB to 2 MB on current
/// servers) until it is read. Chains over smaller ones gained nothing.
const MIN_BYTES_BETWEEN: usize = 1 << 20;

impl Fusion {
    /// All convolutions, grouped into chains.
    pub(super) fn take_chains(&mut self, shapes: &HashMap<String, [usize; 3]>) -> Vec<Vec<Conv>> {
        let followed: Vec<bool> = self.convs.iter().map(|conv| self.is_followed(conv, shapes)).collect();
        let mut chains: Vec<Vec<Conv>> = Vec::new();
        let mut open = HashMap::new();
        for (conv, followed) in std::mem::take(&mut self.convs).into_iter().zip(followed) {
            let value = conv.outputs[0].0.clone();
            let chain = match open.remove(&conv.inputs[0].value) {
                Some(chain) => chain,
                None => {
                    chains.push(Vec::new());
                    chains.len() - 1
                }
            };
            chains[chain].push(conv);
            if followed && chains[chain].len() < MAX_STAGES {
                open.insert(value, chain);
            }
        }
        chains
    }

    /// Whether this convolution's output is large and read by one other convolution only.
    fn is_followed(&self, conv: &Conv, shapes: &HashMap<String, [usize; 3]>) -> bool {
        let [(value, _)] = &conv.outputs[..] else { return false };
        let plain = |conv: &Conv| {
            conv.residual.is_none()
                && conv.inputs.iter().all(|input| !input.upsampled)
                && (0..2).all(|axis| conv.padding[axis] < conv.kernel()[axis])
        };
        let mut readers = self.convs.iter().filter(|other| other.reads(value));
        let next = readers.next().filter(|next| plain(next) && next.inputs.len() == 1);
        let bytes = shapes[value].iter().product::<usize>() * size_of::<f32>();
        plain(conv) && next.is_some() && self.readers(value).len() == 1 && bytes >= MIN_BYTES_BETWEEN
    }
}
